"""A subscription: frames of rows from a place in the log on, none left out and none given twice.

History, hand-over and live are one loop: read what is left, give it, read what has come meanwhile.
Whoever takes rows slowly falls behind the tail and is served from the lake, and whoever is quick
never sees a file. What was read and not given is only a copy: it can be dropped at any time.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa

from k2_streams.clock import Clock
from k2_streams.core.records.events import type_of
from k2_streams.core.records.stream import LOG_PLACE, Stream
from k2_streams.core.sequence.scopes import exchange_of, is_connection, symbol_of
from k2_streams.core.subscription.legs import Leg
from k2_streams.core.subscription.position import Ints, LogPosition, Places
from k2_streams.core.subscription.replay_pace import ReplayPace
from k2_streams.core.subscription.tally import Tally
from k2_streams.query.answer import NodeState
from k2_streams.query.errors import QueryError, TooMuchError
from k2_streams.query.gaps import GapEvent, GapsView
from k2_streams.query.proof import gaps_of, is_whole
from k2_streams.query.result import copied, key_of_last
from k2_streams.query.subscription.frames import (
    EndFrame,
    Frame,
    FrameSizes,
    GapFrame,
    ProgressFrame,
    RowsFrame,
)
from k2_streams.query.subscription.reader import ChunkReader, RowsChunk, Wants, lower
from k2_streams.query.subscription.request import StreamRequest
from k2_streams.query.tail.store import Tail
from k2_streams.query.token import NOT_KNOWN, Key, StreamToken, Token
from k2_streams.query.waiting import Waiting

#: Between two frames that say how far it has come; also how soon a client that has gone is noticed.
PROGRESS_EVERY_S = 1.0
#: After an error that may pass (the catalog is away, every turn is taken).
RETRY_AFTER_S = 1.0
#: A statement that has too little memory for so many rows has too little for any.
LEAST_READ = 1_024
#: Rows are given so much before they are due, so that not each has a frame of its own.
PACE_GRAIN_S = 0.002
_NO_PLACES = Places(*(np.zeros(0, np.int64) for _ in LOG_PLACE))


class RowRoom(Protocol):
    """The memory that a subscription may use for rows that it has read and not given yet."""

    def take(self, *, is_paced: bool) -> int:
        """Take room for rows; returns for how many."""
        ...

    def holds(self, size_bytes: int) -> None:
        """The rows that were read take so much."""
        ...

    def give_back(self) -> None:
        """Nothing is held any more."""
        ...

    @property
    def is_ample(self) -> bool:
        """Whether several frames may be given at once."""
        ...


@dataclass(frozen=True, slots=True)
class Start:
    """Where a subscription begins.

    Attributes:
        topic_id: of the log.
        position: see `LogPosition`; in order of event time where the rows begin.
        after: in order of event time the last row given; None: none.
        floor: no row that is left has a smaller value in the order's first column.
        tally: of what was given before.
    """

    topic_id: str
    position: LogPosition
    after: Key | None = None
    floor: int = 0
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True)
class SubscriptionLog:
    """A log, as far as its subscriptions know it."""

    stream: Stream
    tail: Tail
    gaps: GapsView | None  # None: none belong to its rows
    state: Callable[[], NodeState]
    clock: Clock


class Subscription:
    """See the module. `frames` is called once.

    Args:
        source: whose rows.
        chunks: reads them.
        waiting: for the tail to grow.
        request: what was asked.
        wants: the same, as far as it never changes.
        start: where it begins.
    """

    def __init__(
        self,
        source: SubscriptionLog,
        chunks: ChunkReader,
        waiting: Waiting,
        request: StreamRequest,
        wants: Wants,
        start: Start,
    ) -> None:
        #: Times that rows were read from the lake after some from the tail.
        self.fallbacks = 0
        #: The last rows were given so long after they were due; None: they are not paced.
        self.paced_late_s: float | None = None
        self._log = source
        self._chunks = chunks
        self._waiting = waiting
        self._request = request
        self._asked = request.asked()
        self._wants = wants
        self._topic_id = start.topic_id
        self._position = start.position
        self._after = start.after
        self._tally = start.tally
        self._leg = Leg({}, start.floor, start.floor)
        self._chunk: RowsChunk | None = None
        self._places = _NO_PLACES  # of the chunk's rows
        self._given = 0  # of them
        self._most_read = sys.maxsize
        self._room: RowRoom | None = None
        self._pace: ReplayPace | None = None
        self._is_over = False
        self._was_in_tail = False
        self._gaps_seen = 0 if source.gaps is None else source.gaps.changes.count
        self._gaps_missed = 0
        self._waits_for: str | None = None
        self._newest: dict[int, int] = {}
        self._deferred = NOT_KNOWN
        self._progress_at_s = 0.0
        self._rows_at_s = 0.0

    def release(self) -> None:
        """Drop what was read and not given: its reader takes nothing. It is read again later."""
        self._chunk, self._places, self._given = None, _NO_PLACES, 0
        if self._room is not None:
            self._room.give_back()

    async def frames(self, room: RowRoom, sizes: FrameSizes) -> AsyncGenerator[Frame, None]:
        """The frames of these sizes; without an end, if none was asked for.

        An error that may pass is told in the frames of progress, and what failed is tried again.
        """
        self._room = room
        try:
            yield self._progress()
            while not self._is_over:
                for change in self._gap_changes():
                    yield change
                rows = await self._next(room, sizes)
                if rows is not None:
                    yield rows
                if self._is_progress_due():
                    yield self._progress()
            yield self._end()
        finally:
            self.release()

    async def _next(self, room: RowRoom, sizes: FrameSizes) -> RowsFrame | None:
        """The next rows; None: there are none yet, or it is not their time, after a wait."""
        version = self._log.tail.version
        if self._chunk is None:
            self._waits_for = None
            try:
                await self._read(room)
            except QueryError as error:
                self.release()
                self._waits_for = str(error)
                await asyncio.sleep(RETRY_AFTER_S)
                return None
        if self._chunk is None:
            if not self._is_over and self._is_at_tip():
                await self._waiting.changed(version, PROGRESS_EVERY_S)
            return None
        at_once = sizes.at_once if room.is_ample else 1
        wait_s, count = self._due(self._chunk, sizes.rows, at_once)
        if wait_s > 0:
            await asyncio.sleep(min(wait_s, PROGRESS_EVERY_S))
            return None
        return self._rows(self._chunk, count, sizes.rows)

    def _is_at_tip(self) -> bool:
        """Whether all is given that this node has and that can be given next."""
        position, end = self._position, self._wants.end
        if position.partial is not None:  # the rest of that record comes first
            partition = position.partial.partition
            return self._newest.get(partition, 0) <= position.next[partition]
        known = self._newest if end is None else lower(self._newest, end.next)
        return self._request.order == "log" and position.covers(known)

    # -- reading ---------------------------------------------------------------------------------

    async def _read(self, room: RowRoom) -> None:
        """Take the next chunk in, if there are rows; what has none is passed at once."""
        chunk = await self._read_chunk(room)
        self._leg, self._newest = chunk.leg, dict(chunk.newest)
        self._deferred = chunk.deferred
        if chunk.reads_lake and self._was_in_tail:
            self.fallbacks += 1
        self._was_in_tail = not chunk.reads_lake
        self._chunk, self._places, self._given = chunk, _places_of(chunk.rows), 0
        room.holds(chunk.rows.nbytes)
        if not chunk.rows.num_rows:
            self._finish(chunk)

    async def _read_chunk(self, room: RowRoom) -> RowsChunk:
        """The next chunk: of fewer rows, from now on, where statements have too little memory."""
        is_paced = self._request.speed is not None
        wants = self._wants if self._after is None else self._wants.behind(self._after)
        while True:
            at_most = min(room.take(is_paced=is_paced), self._most_read)
            try:
                return await self._chunks.read(wants, self._position, self._leg, at_most)
            except TooMuchError:
                if at_most <= LEAST_READ:
                    raise
                self._most_read = max(at_most // 2, LEAST_READ)

    def _finish(self, chunk: RowsChunk) -> None:
        """All rows of the chunk are given."""
        self.release()
        if chunk.is_full:
            return  # the last row says where it goes on
        if chunk.until is not None:
            self._leg = self._leg.at(chunk.until)
            return
        if self._request.order == "event":
            self._is_over = True
            return
        self._position = self._position.reached(self._leg.goal)
        end = self._wants.end
        self._is_over = end is not None and self._position.covers(end.next)

    # -- giving ----------------------------------------------------------------------------------

    def _due(self, chunk: RowsChunk, frame_rows: int, at_once: int) -> tuple[float, int]:
        """How long to wait until rows are given, and how many then."""
        now_s = self._log.clock.monotonic()
        rows = chunk.rows.slice(self._given, frame_rows * at_once)
        if rows.num_rows < frame_rows:
            batch_s = self._rows_at_s + self._request.batch_ms / 1e3 - now_s
            if self._rows_at_s and batch_s > 0:
                return batch_s, 0
        if self._request.speed is None:
            return 0.0, rows.num_rows
        times_ns = self._times_ns(rows)
        if self._pace is None:
            self._pace = ReplayPace.begun(self._request.speed, int(times_ns[0]), now_s)
        due_s = self._pace.due_s(times_ns)
        count = int(np.searchsorted(due_s, now_s + PACE_GRAIN_S, side="right"))
        if not count:
            return float(due_s[0]) - now_s, 0
        self.paced_late_s = max(0.0, now_s - float(due_s[0]))
        return 0.0, count

    def _times_ns(self, rows: pa.Table) -> Ints:
        """The times that the pace goes by."""
        if self._request.clock == "event":
            times: Ints = rows.column(self._log.stream.time).to_numpy()
            return times
        accepted_us: Ints = rows.column("accepted_time").cast(pa.int64()).to_numpy()
        return accepted_us * 1_000

    def _rows(self, chunk: RowsChunk, count: int, frame_rows: int) -> RowsFrame:
        """Give the next rows of the chunk."""
        # The chunk's room may be given back before the rows are.
        rows = copied(chunk.rows, self._given, count)
        cuts = []
        for start in range(0, count, frame_rows):
            part = rows.slice(start, frame_rows)
            self._advance(chunk, part)
            cuts.append((start + part.num_rows, self._token()))
        self._rows_at_s = self._log.clock.monotonic()
        *earlier, (_, token) = cuts
        return RowsFrame(token, rows, tuple(earlier))

    def _advance(self, chunk: RowsChunk, rows: pa.Table) -> None:
        """The next rows of the chunk are given."""
        places = self._places.slice(self._given, self._given + rows.num_rows)
        self._tally = self._tally.with_rows(places)
        if self._pace is not None:
            self._pace = self._pace.after(self._times_ns(rows))
        if self._request.order == "event":
            self._after = key_of_last(self._log.stream, rows)
            self._leg = self._leg.at(self._after.time_ns)
        else:
            self._position = self._position.after(places)
            last_us = rows.column("accepted_time")[-1].value
            self._leg = self._leg.at(last_us)
        self._given += rows.num_rows
        if self._given == chunk.rows.num_rows:
            self._finish(chunk)

    # -- the other frames ------------------------------------------------------------------------

    def _token(self) -> StreamToken:
        position, end = self._position, self._wants.end
        partial = position.partial
        return StreamToken(
            token=Token(
                self._topic_id,
                dict(position.next),
                self._log.clock.time_ns(),
                self._deferred_here(),
            ),
            end=None if end is None else end.next,
            partial=None if partial is None else (partial.partition, partial.row),
            after=self._after,
            floor=self._leg.floor_of_rest,
            rows=self._tally.rows,
            checksum=self._tally.checksum,
            asked=self._asked,
            start_ns=self._wants.selection.start_ns,
        )

    def _deferred_here(self) -> int:
        """Of a token here: source records that were deferred then."""
        if self._position.covers(self._newest) and self._newest:
            return self._deferred
        return NOT_KNOWN if self._log.state().has_deferred else 0

    def _is_progress_due(self) -> bool:
        return self._log.clock.monotonic() - self._progress_at_s >= PROGRESS_EVERY_S

    def _progress(self) -> ProgressFrame:
        self._progress_at_s = self._log.clock.monotonic()
        token, position = self._token(), self._position
        is_exact = position.partial is None and self._request.order == "log"
        known = {**self._newest, **self._log.tail.ends}
        return ProgressFrame(
            token=token.encode(),
            as_of=token.token.encode() if is_exact else None,
            offsets=dict(position.next),
            lag={p: max(end - position.next.get(p, 0), 0) for p, end in sorted(known.items())},
            level=self._log.state().level,
            rows=self._tally.rows,
            gaps_missed=self._gaps_missed,
            waits_for=self._waits_for,
        )

    def _gap_changes(self) -> list[GapFrame]:
        """Changes of gaps of the selection that became known since the last look."""
        gaps = self._log.gaps
        if gaps is None or gaps.changes.count == self._gaps_seen:
            return []
        changes = gaps.changes.since(self._gaps_seen)
        self._gaps_missed += gaps.changes.count - self._gaps_seen - len(changes)
        self._gaps_seen = gaps.changes.count
        token = self._token().encode()
        return [_gap_frame(token, each) for each in changes if self._is_about(each.scope)]

    def _is_about(self, scope: str) -> bool:
        """Whether rows of the selection can be missing in a scope."""
        symbols, exchanges = self._request.symbols, self._request.from_exchanges
        named = not symbols or is_connection(scope) or symbol_of(scope) in symbols
        return named and (not exchanges or exchange_of(scope) in exchanges)

    def _end(self) -> EndFrame:
        token, end = self._token(), self._wants.end
        assert end is not None  # noqa: S101 - it ends there
        gaps, selection = self._log.gaps, self._wants.selection
        found = gaps_of(gaps, selection, end.next)
        return EndFrame(
            token=token.encode(),
            as_of=end.encode(),
            rows=self._tally.rows,
            checksum=self._tally.text,
            gaps=found.listed,
            gaps_omitted=found.omitted,
            gaps_complete=found.are_complete,
            complete=is_whole(gaps, found, selection, end),
        )


def _places_of(rows: pa.Table) -> Places:
    return Places(*(rows.column(name).to_numpy().astype(np.int64) for name in LOG_PLACE))


def _gap_frame(token: str, event: GapEvent) -> GapFrame:
    return GapFrame(
        token=token,
        type=type_of(event),
        scope=event.scope,
        session=event.session,
        first=event.first,
        last=event.last,
        exchange_time_ns=event.exchange_time_ns,
        accepted_time_us=event.accepted_time_us,
    )
