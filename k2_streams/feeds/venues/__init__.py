"""One file per venue: its native messages, decoded. No venue imports another."""
