"""Trades with the quotes that stood then: two relations, each at a read point of its own."""
