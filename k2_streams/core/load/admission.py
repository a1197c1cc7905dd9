"""Which queries run now, which wait, and which are refused at once because they would time out.

A lane runs so many queries at a time, the one with the least work first. What a unit of work takes
is learned from the queries that have run, so a machine that is slower, or busier, admits less. A
query is refused if those before it take longer than it may wait: nothing has been done for it then,
while the work of a query that is interrupted at its deadline is lost.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")

#: What an answered row costs in units of work; a scanned one that is not answered costs a part.
_SCANNED_PER_UNIT = 100
#: What a query costs that finds nothing.
_BASE_UNITS = 200
#: From so much work on a query is heavy: about a fifth of the longest answer.
HEAVY_UNITS = 20_000
#: How much of a unit's time is the newest query's.
_LEARNING = 0.3
#: A unit takes no less: a few lucky queries must not open the door to hundreds.
_LEAST_UNIT_S = 1e-7


def units_of(rows: int, scanned: int) -> int:
    """The work of a query that answers at most `rows` of at most `scanned` rows."""
    return _BASE_UNITS + min(rows, scanned) + scanned // _SCANNED_PER_UNIT


@dataclass(frozen=True, slots=True)
class Refused:
    """There is too much work before it.

    Attributes:
        wait_s: how long it would have to wait, as far as is known.
        retry_after_s: when so much of that is done that it may be admitted.
    """

    wait_s: float
    retry_after_s: float


class Lane(Generic[Key]):
    """A queue of queries and those that run. It holds no clock; each step is told the time.

    Args:
        slots: queries that run at a time.
        patience_s: the longest that a query may have to wait.
        max_waiting: queries that may wait.
        unit_s: what a unit of work takes, until it is learned.
    """

    def __init__(self, slots: int, *, patience_s: float, max_waiting: int, unit_s: float) -> None:
        self._slots = slots
        self._patience_s = patience_s
        self._max_waiting = max_waiting
        self.unit_s = unit_s
        self._running: dict[Key, tuple[int, float]] = {}  # units, and when it began
        self._waiting: dict[Key, int] = {}  # units, in the order of their coming

    @property
    def running(self) -> int:
        """Queries that run."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Queries that wait."""
        return len(self._waiting)

    def offer(self, key: Key, units: int, now_s: float) -> Refused | bool:
        """True: it runs now. False: it waits for `leave` to name it."""
        if len(self._running) < self._slots:
            self._running[key] = (units, now_s)
            return True
        wait_s = self.wait_s(units, now_s)
        if wait_s > self._patience_s or len(self._waiting) >= self._max_waiting:
            return Refused(wait_s, max(1.0, wait_s - self._patience_s))
        self._waiting[key] = units
        return False

    def wait_s(self, units: int, now_s: float) -> float:
        """How long a query of so much work would wait for those that go before it."""
        left_s = sum(
            max(0.0, running * self.unit_s - (now_s - began_s))
            for running, began_s in self._running.values()
        )
        before = sum(waiting for waiting in self._waiting.values() if waiting <= units)
        return (left_s + before * self.unit_s) / self._slots

    def leave(self, key: Key, now_s: float, *, learn: bool = True) -> Key | None:
        """A query that ran, or that waits no longer; the next one that runs now, if there is one.

        Args:
            key: the query's.
            now_s: the time (monotonic).
            learn: it was worked to its end, so that its time says what work takes.
        """
        if key not in self._running:
            self._waiting.pop(key, None)
            return None
        units, began_s = self._running.pop(key)
        if learn:
            took_s = max(_LEAST_UNIT_S, (now_s - began_s) / units)
            self.unit_s += _LEARNING * (took_s - self.unit_s)
        if not self._waiting:
            return None
        following = min(self._waiting, key=self._waiting.__getitem__)
        self._running[following] = (self._waiting.pop(following), now_s)
        return following


def is_heavy(units: int) -> bool:
    """Whether a query waits in the lane of heavy ones, so that others pass it."""
    return units >= HEAVY_UNITS
