"""The canonical JSON record, decoded to columns."""
