"""Questions and their answers: the tail and the lake as one, cut by offset."""
