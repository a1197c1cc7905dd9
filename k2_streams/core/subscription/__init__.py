"""A subscription's decisions: how far it has come, what it reads next, when a row is due."""
