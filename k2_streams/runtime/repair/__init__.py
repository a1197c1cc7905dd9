"""Repair: what is missing is asked of a source, and sent to the raw topic as one more line."""
