"""The settings of a worker, from the environment."""
