"""Reads the next rows of a subscription, at a read point of its own each time.

1. Take a read point: the tail's view and the snapshot, as any answer does.
2. See which offsets are left up to the goal, and where they are (`core.subscription.sources`).
3. Of the files and batches that may hold them take the first ones (`file_spans`).
4. Read them in one statement. What is read next follows from what was given, not from what was
   read: rows that nobody took are read again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from k2_streams.core.subscription.file_spans import next_files
from k2_streams.core.subscription.legs import Leg
from k2_streams.core.subscription.position import LogPosition
from k2_streams.core.subscription.sources import Sources, sources_of
from k2_streams.query.attempts import ReadAttempts
from k2_streams.query.engine import Engine
from k2_streams.query.read_point import ReadPoint, Wanted, known_through_ns
from k2_streams.query.reading import Reader
from k2_streams.query.selection import Selection
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.subscription.portion import (
    GivenRows,
    Portion,
    first_batches,
    spans_of,
)
from k2_streams.query.subscription.request import RowOrder
from k2_streams.query.tail.store import TailView
from k2_streams.query.token import MAX_INT64, Key, Token


@dataclass(frozen=True, slots=True)
class RowsChunk:
    """Rows that were read, and what it means when all of them are given.

    Attributes:
        rows: in order; may be none.
        is_full: whether there may be more of the portion than these.
        until: every row before this value of the order's first column is then given; None: every
            row of the leg is.
        leg: of which it is a part.
        deferred: source records that were deferred at the leg's goal, if it was the newest then.
        newest: per partition the offset that both parts together reached.
        reads_lake: whether some of the offsets were read from files.
    """

    rows: pa.Table
    is_full: bool
    until: int | None
    leg: Leg
    deferred: int
    newest: Mapping[int, int]
    reads_lake: bool


@dataclass(frozen=True, slots=True)
class Wants:
    """What a subscription is about, as far as it never changes.

    Attributes:
        selection: which rows.
        order: in which order.
        end: per partition, where it ends; None: nowhere.
    """

    selection: Selection
    order: RowOrder
    end: Token | None

    def behind(self, last: Key) -> "Wants":
        """In order of event time: what is left behind a row."""
        return replace(self, selection=replace(self.selection, after=last))


class ChunkReader:
    """Reads a log's chunks. For one event loop.

    Args:
        attempts: asks at read points.
        reader: reads both parts.
        engine: gives turns.
    """

    def __init__(self, attempts: ReadAttempts, reader: Reader, engine: Engine) -> None:
        self._attempts = attempts
        self._reader = reader
        self._engine = engine

    async def read(self, wants: Wants, position: LogPosition, leg: Leg, at_most: int) -> RowsChunk:
        """The next rows; none where nobody here has more.

        Args:
            wants: what is wanted.
            position: every row below it is given.
            leg: on the way; where its goal is reached the next one begins.
            at_most: rows that may be read.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        # In order of event time a row of the newest offset may come first: all must be here.
        wanted = Wanted(wants.end if wants.order == "event" else None)

        async def at(read_point: ReadPoint) -> RowsChunk:
            return await self._read(read_point, wants, position, leg, at_most)

        return await self._attempts.ask(wanted, Stopwatch(), at)

    async def _read(
        self,
        read_point: ReadPoint,
        wants: Wants,
        position: LogPosition,
        leg: Leg,
        at_most: int,
    ) -> RowsChunk:
        newest = read_point.cut.next
        if position.covers(leg.goal):
            leg = _next_leg(read_point, wants, position, leg)
        tail = read_point.view.ranges
        sources = sources_of(position.next, leg.goal, read_point.held, tail)
        rows, until = await self._rows(read_point, sources, wants, position, leg, at_most)
        return RowsChunk(
            rows,
            rows.num_rows == at_most,
            until,
            leg,
            read_point.deferred,
            newest,
            reads_lake=bool(sources.lake),
        )

    async def _rows(
        self,
        read_point: ReadPoint,
        sources: Sources,
        wants: Wants,
        position: LogPosition,
        leg: Leg,
        at_most: int,
    ) -> tuple[pa.Table, int | None]:
        """Rows, and the value before which they are all."""
        if not sources:
            return self._reader.none, None
        is_log = wants.order == "log"
        selection = wants.selection
        files: tuple[str, ...] = ()
        until: int | None = None
        if sources.lake:
            planned = await self._reader.planned(read_point, selection)
            spans = spans_of(planned, wants.order)
            files, until = next_files(spans, leg.floor, at_most)
        batches = list(read_point.view.batches(sources.tail))
        if is_log:
            batches, until = first_batches(batches, until, at_most)
        else:
            bounds = [end for end in (selection.end_ns, until) if end is not None]
            selection = replace(selection, end_ns=min(bounds, default=None), at_most=at_most)
        portion = Portion(
            sources, selection, wants.order, until, _given(position), files, batches, at_most
        )
        async with self._engine.turn(at_most, at_most, reads_lake=bool(files)):
            rows = await self._reader.portion(read_point, portion)
        return rows, until


def _next_leg(read_point: ReadPoint, wants: Wants, position: LogPosition, leg: Leg) -> Leg:
    """Where all of a leg is given: the one that follows it."""
    newest, partial = read_point.cut.next, position.partial
    if partial is not None:
        # Resumed within a record: its rest comes first. A row of another record means that all of
        # this one is given (`LogPosition.after`), and one accepted before may have come meanwhile.
        behind = {**position.next, partial.partition: position.next[partial.partition] + 1}
        return leg.following(lower(newest, behind), leg.beyond)
    goal = newest if wants.end is None else lower(newest, wants.end.next)
    of_rest = _known_through_us(read_point.view) if wants.order == "log" else MAX_INT64
    return leg.following(goal, of_rest)


def lower(ends: Mapping[int, int], others: Mapping[int, int]) -> dict[int, int]:
    """Per partition of `others` the lower of the two."""
    return {partition: min(end, ends.get(partition, 0)) for partition, end in others.items()}


def _known_through_us(view: TailView) -> int:
    """No row that this node has not read was accepted before."""
    return max(0, min(map(known_through_ns, view.partitions.values()), default=0) // 1_000)


def _given(position: LogPosition) -> GivenRows | None:
    partial = position.partial
    if partial is None:
        return None
    return GivenRows(partial.partition, position.next[partial.partition], partial.row)
