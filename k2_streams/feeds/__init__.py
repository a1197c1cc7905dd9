"""Venues' native bytes to canonical trades: one file a feed, and what the feeds share."""
