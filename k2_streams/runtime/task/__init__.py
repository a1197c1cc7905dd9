"""One task per source partition: from take-over to close."""
