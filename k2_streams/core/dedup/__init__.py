"""Trades that an id identifies: which are repeats."""
