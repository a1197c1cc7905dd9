"""The query side of a worker: the tail and its quota."""
