"""Redrive: dead letters are sent to their raw topic again, each once."""
