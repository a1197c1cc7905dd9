"""Pure decisions: no I/O, no clock, no randomness. Everything here can be replayed."""
