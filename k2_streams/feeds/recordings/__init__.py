"""Files of recorded messages, read as records."""
