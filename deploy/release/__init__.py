"""A release: distributions built, each installed into an empty environment, tried and listed."""
