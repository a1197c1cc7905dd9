"""The stories that the demos tell."""
