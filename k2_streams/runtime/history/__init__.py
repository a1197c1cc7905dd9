"""A task that begins in the lake: history in the order of the log, then the log itself."""
