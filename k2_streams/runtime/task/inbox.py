"""What was fetched for a task and is not processed yet: bounded by number and by size."""

from collections import deque
from typing import NamedTuple

from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.limits import Limits


class SizedFetch(NamedTuple):
    """A fetch, and what it takes in memory."""

    fetched: Fetched
    size_bytes: int


class Inbox:
    """Fetches of one partition in their order. It never refuses: who fills it asks `is_full`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[SizedFetch] = deque()
        self.records = 0
        self.size_bytes = 0

    def __bool__(self) -> bool:
        """Whether anything waits, if only the end of a transaction."""
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether the partition is to be paused."""
        limits = self._limits
        return self.records > limits.inbox_records or self.size_bytes > limits.inbox_bytes

    @property
    def has_room(self) -> bool:
        """Whether a paused partition is to be resumed: half of what may wait has gone."""
        limits = self._limits
        return (
            self.records < limits.inbox_records // 2 and self.size_bytes < limits.inbox_bytes // 2
        )

    def add(self, fetched: Fetched) -> None:
        """Behind all others."""
        self._waiting.append(self._counted(fetched))

    def put_back(self, fetched: Fetched) -> None:
        """In front of all others: what is left of the one that was taken last."""
        self._waiting.appendleft(self._counted(fetched))

    def take(self) -> SizedFetch:
        """The first one; there must be one."""
        first = self._waiting.popleft()
        self.records -= len(first.fetched.records)
        self.size_bytes -= first.size_bytes
        return first

    def clear(self) -> None:
        """Drop all."""
        self._waiting.clear()
        self.records = self.size_bytes = 0

    def _counted(self, fetched: Fetched) -> SizedFetch:
        waiting = SizedFetch(fetched, fetched.size_bytes)
        self.records += len(fetched.records)
        self.size_bytes += waiting.size_bytes
        return waiting
