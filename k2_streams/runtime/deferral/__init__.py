"""Records stored unprocessed under load, and processed later in order."""
