"""Where a question is answered: its read point, what is known of gaps there, and its turn.

Rows, bars, joins, symbols, gaps and coverage are asked for alike:

1. resolve a tag to its token,
2. wait, without a turn, for what this node has not read yet,
3. take a turn, by how many rows may be looked at,
4. find the read point, and what was known by then where a time is named,
5. answer there; again on a new read point if its parts went away meanwhile.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.query.keys import Keys, KeyValue, wanted_of
from k2_streams.query.attempts import ReadAttempts
from k2_streams.query.engine import Engine
from k2_streams.query.errors import InvalidParameter, UnknownSymbolError
from k2_streams.query.gaps import KnownGaps
from k2_streams.query.known_at import KnownAt, KnownRows
from k2_streams.query.queried_log import QueriedLog
from k2_streams.query.read_point import ReadPoint, ReadPoints, Wanted
from k2_streams.query.reading import Reader
from k2_streams.query.request import LAST, RowsRequest
from k2_streams.query.resolved import ResolvedRequest
from k2_streams.query.selection import Selection
from k2_streams.query.snapshots import tagged_token
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.token import NOT_KNOWN, TagName, Token

_T = TypeVar("_T")

#: Symbols remembered as known, so that an empty answer needs no second look.
MAX_KNOWN = 100_000


class PinnedRows(NamedTuple):
    """What was wanted by name: rows of a token, or those known at a time with the gaps then."""

    token: Token | None  # None: all rows there are
    gaps: KnownGaps | None

    def token_at(self, read_point: ReadPoint, now_ns: int) -> Token:
        """The rows' token; of all rows at a read point that was found without one."""
        if self.token is not None:
            return self.token
        return Token(read_point.topic_id, read_point.cut.next, now_ns, read_point.deferred)


class Questions:
    """Finds where each question about a log is answered. For one event loop.

    Args:
        log: the questions are about.
        reader: of its rows.
        engine: gives turns.
        read_points: of it.
    """

    def __init__(
        self, log: QueriedLog, reader: Reader, engine: Engine, read_points: ReadPoints
    ) -> None:
        self.log = log
        self.reader = reader
        self.engine = engine
        self.attempts = ReadAttempts(read_points)
        self.known_at = KnownAt(reader)
        self._read_points = read_points
        self._known: set[tuple[KeyValue, Keys]] = set()

    async def ask(
        self, request: RowsRequest, answered: Callable[[ResolvedRequest], Awaitable[_T]]
    ) -> _T:
        """What `answered` makes of a request at a read point; it may be called again, on another.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        self.check_keys(request.selected)
        watch = Stopwatch(self.log.clock)
        as_of = await self.token_of(request.as_of)
        wanted = Wanted(as_of, request.min_offsets, request.wait_ms, request.gaps_known_ns)
        now_ns = self.now_ns(wanted)

        async def at(read_point: ReadPoint, then: PinnedRows) -> _T:
            selection = await self._resolve(read_point, request, now_ns)
            token = then.token_at(read_point, now_ns)
            return await answered(
                ResolvedRequest(
                    read_point, request, selection, token, then.gaps, self.log.state(), watch
                )
            )

        await self.wait(wanted, watch)
        rows, scanned, reads_lake = await self._extent(request, now_ns)
        async with self.engine.turn(rows, scanned, reads_lake=reads_lake):
            return await self.answered(wanted, watch, at)

    # -- its parts, for questions that are no requests of rows -----------------------------------

    async def token_of(self, as_of: Token | TagName | None) -> Token | None:
        """Of a tag the token of what its snapshot holds.

        Raises:
            InvalidParameter: there is no such tag, or its snapshot does not say what it holds.
            LakeUnavailable: the catalog does not answer.
        """
        if not isinstance(as_of, TagName):
            return as_of
        return await tagged_token(self.log, as_of)

    def now_ns(self, wanted: Wanted) -> int:
        """The time at which a window ends that has no end."""
        if wanted.at is not None:
            return wanted.at.at_ns
        return self.log.clock.time_ns() if wanted.known_ns is None else wanted.known_ns

    async def wait(self, wanted: Wanted, watch: Stopwatch) -> None:
        """Wait without a turn for what this node has not read yet."""
        if wanted.wait_ms:
            with watch.stage("read_point"):
                await self._read_points.find(wanted)

    async def pinned(self, wanted: Wanted, watch: Stopwatch) -> PinnedRows:
        """The rows that are wanted, if they were named, and the gaps to show with them."""
        known_ns, gaps = wanted.known_ns, self.log.gaps
        if known_ns is None:
            return PinnedRows(wanted.at, gaps)

        async def find(read_point: ReadPoint) -> KnownRows:
            deferred = NOT_KNOWN if self.log.state().has_deferred else 0
            return await self.known_at.find(read_point, known_ns, deferred)

        known = await self.attempts.ask(Wanted(known_ns=known_ns), watch, find)
        then = None if gaps is None else gaps.at(known_ns // 1_000, known.ends)
        return PinnedRows(wanted.at or known.token, then)

    async def answered(
        self,
        wanted: Wanted,
        watch: Stopwatch,
        ask: Callable[[ReadPoint, PinnedRows], Awaitable[_T]],
    ) -> _T:
        """Ask about the rows that are wanted: those of a token, those known at a time, or all."""
        then = await self.pinned(wanted, watch)
        if then.token is not None:
            wanted = Wanted(then.token, wait_ms=wanted.wait_ms)
        return await self.attempts.ask(wanted, watch, lambda read_point: ask(read_point, then))

    # -- checks ----------------------------------------------------------------------------------

    def check_keys(self, keys: Keys) -> None:
        """Refuse columns that are not of the log's key.

        Raises:
            InvalidParameter: there is one.
        """
        stream = self.log.stream
        for column, _ in keys:
            if column not in stream.key:
                raise InvalidParameter(
                    column, f"{stream.name} is selected by {' and '.join(stream.key)}"
                )

    async def check_known(self, asked: ResolvedRequest, rows: pa.Table) -> None:
        """Refuse symbols of which no row was accepted, as far as the read point reaches.

        Of a stream with another key: values of its narrowest column.

        Args:
            asked: which symbols.
            rows: those that have a row here (in the column of that name) are known.

        Raises:
            UnknownSymbolError: there is one.
        """
        read_point, request = asked.read_point, asked.request
        column = self.log.stream.name_column
        names = wanted_of(request.selected, column)
        others = tuple(one for one in request.selected if one[0] != column)
        shown = pc.unique(rows.column(column)).to_pylist() if names else ()
        missing = [
            name
            for name in names
            if name not in shown and (request.pinned or (name, others) not in self._known)
        ]
        if not missing:
            return
        found = await self.reader.known(read_point, missing, others)
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        self._known |= {(name, others) for name in found}
        if len(found) < len(missing):
            unknown = tuple(str(name) for name in missing if name not in found)
            raise UnknownSymbolError(unknown, column)

    # -- ranges ----------------------------------------------------------------------------------

    async def _extent(self, request: RowsRequest, now_ns: int) -> tuple[int, int, bool]:
        """Rows that are answered at most, rows that may be looked at, and whether in the lake.

        A range that is not known before the newest row is counts as if it had no bounds.
        """
        head = self.log.lake.head
        start_ns, end_ns = _range_of(request, now_ns)
        selection = replace(_selection_of(request), start_ns=start_ns, end_ns=end_ns)
        in_lake = 0 if head is None else await self.log.lake.rows_in(head, selection)
        return request.limit, in_lake + self.log.tail.rows, in_lake > 0

    async def _resolve(self, read_point: ReadPoint, request: RowsRequest, now_ns: int) -> Selection:
        """What is wanted, its range as two times."""
        selection = _selection_of(request)
        if request.view == "corrected":
            if not self.log.stream.is_corrected:
                raise InvalidParameter("view", f"{self.log.stream.name} are not corrected")
            selection = await self.reader.corrected(read_point, selection)
        start_ns, end_ns = request.start_ns, request.end_ns
        if end_ns == LAST:
            newest_ns = await self.reader.newest_ns(read_point, selection)
            end_ns = 0 if newest_ns is None else newest_ns + 1
        assert not isinstance(end_ns, str)  # noqa: S101 - LAST is the only word
        if request.window_ns is not None:
            end_ns = now_ns if end_ns is None else end_ns
            start_ns = max(0, end_ns - request.window_ns)
        return replace(selection, start_ns=start_ns, end_ns=end_ns)


def _selection_of(request: RowsRequest) -> Selection:
    """What is wanted, at any time."""
    return Selection(
        request.selected,
        after=None if request.cursor is None else request.cursor.after,
        descending=request.descending,
    )


def _range_of(request: RowsRequest, now_ns: int) -> tuple[int | None, int | None]:
    """The range of a request as far as it is known before its newest row is."""
    if request.end_ns == LAST:
        return request.start_ns, None
    assert not isinstance(request.end_ns, str)  # noqa: S101 - LAST is the only word
    if request.window_ns is None:
        return request.start_ns, request.end_ns
    end_ns = now_ns if request.end_ns is None else request.end_ns
    return max(0, end_ns - request.window_ns), end_ns
