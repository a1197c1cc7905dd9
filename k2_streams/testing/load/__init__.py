"""The load generator: synthetic and recorded messages, with known faults, at a given pace."""
