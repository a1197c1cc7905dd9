"""Rows of the log that the lake does not contain yet."""
