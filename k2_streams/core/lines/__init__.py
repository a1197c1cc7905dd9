"""Redundant lines of one feed: which copy counts, and what each line lacks."""
