"""How incidents begin, and what of their end lies outside of K2."""
