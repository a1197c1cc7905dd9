"""What keeps the tables small: compaction, expiry, deletion of files, tags."""
