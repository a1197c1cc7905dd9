"""The only place that reads the world's time.

Everything else takes a `Clock`, so that a test or a simulation decides what time it is.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Two times: the calendar's, and one that never goes back."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow; their origin means nothing."""
        ...


class SystemClock:
    """The machine's own clock."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds that only grow; their origin means nothing."""
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()
