"""The image: its Dockerfile, the locks that it is built from, and its steps run without Docker."""
