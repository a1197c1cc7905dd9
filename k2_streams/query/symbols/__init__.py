"""What is known of each symbol, at a read point."""
