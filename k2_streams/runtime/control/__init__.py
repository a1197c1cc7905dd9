"""What watches a worker: status, watchdog, supervisor, load monitor."""
