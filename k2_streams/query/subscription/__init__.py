"""Rows from a place in a log on, and those to come: history, hand-over and live as one."""
