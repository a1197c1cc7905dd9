"""Timers in event time: rows of a table, with an index by time in memory.

A timer fires in front of the first row behind the one that set it whose running maximum of event
time reaches it. That follows from the rows and their order alone.
"""

import heapq

from k2_streams.topology.overlay import KeyedRows

_SEPARATOR = "\0"
#: Index entries of timers that are gone are dropped once they are more than the others and these.
_SLACK = 64


class Timers:
    """Of one agent in one partition. Changes can be taken back to a savepoint until `commit`.

    Args:
        agent: the agent's name, which no key of another one begins with.
        rows: of the table `timers`.
    """

    def __init__(self, agent: str, rows: KeyedRows) -> None:
        self._prefix = agent + _SEPARATOR
        self._rows = rows
        self._times: dict[str, int] = {
            key.removeprefix(self._prefix): int.from_bytes(value, signed=True)
            for key, value in rows.items(self._prefix)
        }
        self._heap = [(time_ns, key) for key, time_ns in self._times.items()]
        heapq.heapify(self._heap)
        self._journal: list[tuple[str, int | None]] = []  # what was there before each change

    def __len__(self) -> int:
        """Pending timers."""
        return len(self._times)

    def get(self, key: str) -> int | None:
        """The time of a pending timer."""
        return self._times.get(key)

    def set(self, key: str, time_ns: int) -> None:
        """Set a timer; one of the same key is replaced."""
        self._journal.append((key, self._times.get(key)))
        self._put(key, time_ns)

    def delete(self, key: str) -> None:
        """Delete a timer, if there is one."""
        if key in self._times:
            self._journal.append((key, self._times.pop(key)))

    def earliest(self) -> tuple[int, str] | None:
        """The pending timer that is due first: its time and its key; of one time the first key."""
        heap = self._heap
        while heap and self._times.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def savepoint(self) -> int:
        """What `rollback` goes back to."""
        return len(self._journal)

    def rollback(self, savepoint: int) -> None:
        """Take back what was changed since."""
        while len(self._journal) > savepoint:
            key, before = self._journal.pop()
            if before is None:
                self._times.pop(key, None)
            else:
                self._put(key, before)

    def commit(self) -> None:
        """Take all changes into the table."""
        for key in dict.fromkeys(key for key, _ in self._journal):
            time_ns = self._times.get(key)
            if time_ns is None:
                self._rows.delete(self._prefix + key)
            else:
                self._rows.put(self._prefix + key, time_ns.to_bytes(8, signed=True))
        self._journal = []

    def _put(self, key: str, time_ns: int) -> None:
        self._times[key] = time_ns
        heapq.heappush(self._heap, (time_ns, key))
        if len(self._heap) > 2 * len(self._times) + _SLACK:
            self._heap = [(when, one) for one, when in self._times.items()]
            heapq.heapify(self._heap)
