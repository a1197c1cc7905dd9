"""What a `StreamDriver` fails with."""


class DriverError(Exception):
    """The app or a worker failed; the text says what, and why."""
