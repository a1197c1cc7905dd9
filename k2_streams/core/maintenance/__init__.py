"""Decisions about the files of a table: which to compact, which to keep, which may be deleted."""
