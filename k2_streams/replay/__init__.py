"""Rows of a log given again: as lines, as Arrow, or to a topic, and checked at the end."""
