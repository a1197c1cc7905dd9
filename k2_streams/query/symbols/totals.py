"""Totals by symbol, kept up: a whole scan once, then only what was appended since."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from k2_streams.core.query.keys import KeyValue
from k2_streams.core.records.stream import LOG_PLACE, Stream
from k2_streams.core.records.vector import Range
from k2_streams.query.read_point import ReadPoint


class Newest(NamedTuple):
    """The newest row of a symbol; compares as the order of every answer."""

    time_ns: int
    log_partition: int
    log_offset: int
    log_row: int
    values: dict[str, Any]  # of `newest_columns`

    @property
    def key(self) -> tuple[int, int, int, int]:
        """Its place in the order."""
        return self[:4]


class Total(NamedTuple):
    """Of one key: of trades an exchange and symbol."""

    rows: int
    first_time_ns: int
    newest: Newest

    def plus(self, other: "Total") -> "Total":
        """Of both sets of rows, which share none."""
        return Total(
            self.rows + other.rows,
            min(self.first_time_ns, other.first_time_ns),
            max(self.newest, other.newest, key=lambda newest: newest.key),
        )


#: By the values of the key columns.
Totals = dict[tuple[KeyValue, ...], Total]


class Slice(NamedTuple):
    """Rows to add up: of the lake those in [lake_from, lake_limits), of the tail these ranges."""

    lake: bool
    lake_from: dict[int, int]
    tail: dict[int, Range]


class SymbolTotals:
    """The newest totals, and what it takes to go on from there. For one event loop.

    Args:
        add_up: the totals of a slice of a read point.
    """

    def __init__(self, add_up: Callable[[ReadPoint, Slice], Awaitable[Totals]]) -> None:
        self._add_up = add_up
        self._next: dict[int, int] = {}
        self._topic_id = ""
        self._totals: Totals = {}
        self._lock = asyncio.Lock()

    def __len__(self) -> int:
        """Symbols that are known."""
        return len(self._totals)

    def reaches_from(self, wanted: Mapping[int, int] | None) -> bool:
        """Whether totals up to `wanted` (None: the newest) need less than a whole scan."""
        return bool(self._next) and (wanted is None or _reaches(wanted, self._next))

    async def at(self, read_point: ReadPoint) -> Totals:
        """The totals of exactly the rows of a read point; not to be changed.

        An asker who goes away leaves the scan running: the next one wants it too.
        """
        task = asyncio.ensure_future(self._at(read_point))
        task.add_done_callback(_seen)
        return await asyncio.shield(task)

    async def _at(self, read_point: ReadPoint) -> Totals:
        async with self._lock:
            wanted = read_point.cut.next
            base, totals = self._next, self._totals
            if read_point.topic_id != self._topic_id or not _reaches(wanted, base):
                base, totals = {}, {}
            if wanted == base:
                return totals
            added = await self._add_up(read_point, slice_from(read_point, base))
            totals = merged(totals, added)
            if read_point.topic_id != self._topic_id or _reaches(wanted, self._next):
                self._next, self._totals, self._topic_id = wanted, totals, read_point.topic_id
            return totals


def merged(totals: Totals, added: Totals) -> Totals:
    """Of both sets of rows, which share none."""
    both = dict(totals)
    for key, total in added.items():
        both[key] = both[key].plus(total) if key in both else total
    return both


def slice_from(read_point: ReadPoint, base: Mapping[int, int]) -> Slice:
    """The rows of a read point at or above `base`: from the tail alone if it still has them."""
    view, cut = read_point.view, read_point.cut
    ranges = view.ranges
    tail = {
        number: Range(base.get(number, 0), part.next)
        for number, part in cut.partitions.items()
        if base.get(number, 0) < part.next
    }
    if all(
        number in ranges and ranges[number].start <= part.start and part.end <= ranges[number].end
        for number, part in tail.items()
    ):
        return Slice(lake=False, lake_from={}, tail=tail)
    above = {
        number: Range(max(part.tail.start, base.get(number, 0)), part.tail.end)
        for number, part in cut.partitions.items()
    }
    return Slice(lake=True, lake_from=dict(base), tail=above)


def newest_columns(stream: Stream) -> tuple[str, ...]:
    """The columns that a symbol shows of its newest row."""
    return (*stream.last, *stream.identity)


def totals_of(stream: Stream, rows: list[dict[str, Any]]) -> Totals:
    """The engine's groups as totals."""
    return {
        tuple(row[name] for name in stream.key): Total(
            row["row_count"],
            row["first_time_ns"],
            _newest(row["last_time_ns"], row["newest"]),
        )
        for row in rows
    }


def _newest(time_ns: int, row: dict[str, Any]) -> Newest:
    partition, offset, place = (row.pop(name) for name in LOG_PLACE)
    return Newest(time_ns, partition, offset, place, row)


def _seen(task: "asyncio.Future[Totals]") -> None:
    """Take note of an error that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _reaches(wanted: Mapping[int, int], base: Mapping[int, int]) -> bool:
    return all(wanted.get(number, 0) >= offset for number, offset in base.items())
