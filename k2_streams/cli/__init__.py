"""The `k2` commands."""
