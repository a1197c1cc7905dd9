"""The hybrid query: the tail and the lake as one answer, cut by offset.

`read_point` says where an answer stands and why no row is in both parts or in neither; here the two
parts are read, in one statement, and the proof is put together.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from k2_streams.clock import Clock
from k2_streams.core.enrich.notional import Notional, of_ones
from k2_streams.core.ledger.streams import has_gap_events
from k2_streams.core.query.bars.conditions import ConditionRules
from k2_streams.core.query.keys import Keys, KeyValue, wanted_of
from k2_streams.core.records.stream import Stream
from k2_streams.lake.breaker import Guard
from k2_streams.lake.snapshots import SnapshotInfo
from k2_streams.query import proof
from k2_streams.query.answer import (
    Answer,
    GapsAnswer,
    GapsMeta,
    NodeState,
    SnapshotRow,
    SymbolsAnswer,
    SymbolsMeta,
    symbol_row,
)
from k2_streams.query.asof.query import QuotesJoin
from k2_streams.query.asof.request import Joined, JoinRequest
from k2_streams.query.attempts import ReadAttempts
from k2_streams.query.bars.answer import BarsAnswer
from k2_streams.query.bars.query import BarsQuery
from k2_streams.query.bars.request import BarsRequest
from k2_streams.query.engine import Engine
from k2_streams.query.errors import (
    InvalidParameter,
    RetryLaterError,
    UnknownSymbolError,
)
from k2_streams.query.gaps import GapsView, KnownGaps, NothingMissing
from k2_streams.query.known_at import KnownAt, KnownRows
from k2_streams.query.lake_view import LakeView
from k2_streams.query.ledger.coverage import CoverageAnswer, CoverageQuery, CoverageRequest
from k2_streams.query.ledger.gaps import GapsQuery
from k2_streams.query.read_point import ReadPoint, ReadPoints, Wanted
from k2_streams.query.reading import Reader
from k2_streams.query.request import (
    LAST,
    GapsRequest,
    RowsRequest,
    SnapshotsRequest,
    SymbolsRequest,
)
from k2_streams.query.resolved import ResolvedRequest
from k2_streams.query.selection import Selection
from k2_streams.query.settled import may_be_settled
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.subscription.opening import Subscriptions
from k2_streams.query.subscription.request import StreamRequest
from k2_streams.query.subscription.subscription import Subscription, SubscriptionLog
from k2_streams.query.symbols import SymbolTotals, Total
from k2_streams.query.tail.store import Tail
from k2_streams.query.token import NOT_KNOWN, TagName, Token

log = structlog.get_logger(__name__)
_T = TypeVar("_T")

#: How often the lake's head is looked up: a commit comes every 10 s, and the tail's memory and the
#: catalog's load are all that depends on it. Answers do not: the tail has what the head lacks.
REFRESH_EVERY_S = 5.0
#: Symbols remembered as known, so that an empty answer needs no second look.
MAX_KNOWN = 100_000


class PinnedRows(NamedTuple):
    """What was wanted by name: rows of a token, or those known at a time with the gaps then."""

    token: Token | None  # None: all rows there are
    gaps: KnownGaps | None


class HybridQuery:
    """Answers over everything that was ever accepted. For one event loop.

    Args:
        tail: of this node; its reader appends to it.
        lake: of this node.
        engine: reads both parts.
        gaps: of this node; its reader feeds it. None: no sequence events belong to these rows, and
            no answer says that its gaps are complete.
        clock: the server's time, where a window has no end.
        stream: what the answers are about.
        state: how the pipeline stands now; every answer says it.
        notional: computes it where a row was made without.
        reads: of an object store, if the files are in one.
        partitions: of the raw topic; None: not known, then none is refused.
        rules: by which trades count in bars; None: there are none.
        findings: what the sequence events say, where the rows are these events themselves.
        gap_events: answers about the events of these rows; None: no ledger is kept.
    """

    def __init__(  # noqa: PLR0913 - called once, where everything is wired
        self,
        tail: Tail,
        lake: LakeView,
        engine: Engine,
        gaps: GapsView | NothingMissing | None,
        *,
        clock: Clock,
        stream: Stream,
        state: Callable[[], NodeState] = NodeState,
        notional: Notional = of_ones,
        reads: Guard | None = None,
        partitions: int | None = None,
        rules: ConditionRules | None = None,
        findings: GapsView | None = None,
        gap_events: "HybridQuery | None" = None,
    ) -> None:
        self.stream = stream
        self._tail = tail
        self._lake = lake
        self._engine = engine
        self._gaps = gaps
        self._clock = clock
        self._state = state
        self._read_points = ReadPoints(tail, lake, clock, partitions)
        self._reader = self.reader = Reader(stream, lake, engine, notional, reads)
        self._bars = BarsQuery(self, self._reader, notional, rules)
        self._quotes = QuotesJoin(self, self._reader)
        self._gap_rows: GapsQuery | None = None
        self._coverage: CoverageQuery | None = None
        if findings is not None and has_gap_events(stream):
            self._gap_rows = GapsQuery(self, findings, engine, clock)
        if findings is not None and gap_events is not None:
            self._coverage = CoverageQuery(self, gap_events, findings)
        self._totals = SymbolTotals(self._reader.totals)
        self._known_at = KnownAt(self._reader)
        self._attempts = ReadAttempts(self._read_points)
        self._subscriptions = Subscriptions(
            SubscriptionLog(
                stream, tail, gaps if isinstance(gaps, GapsView) else None, state, clock
            ),
            self._attempts,
            self._reader,
            self._known_at,
            engine,
        )
        self._wanted = asyncio.Event()
        self._known: set[tuple[KeyValue, Keys]] = set()

    async def rows(self, request: RowsRequest) -> Answer:
        """Rows of both parts, in order, with their proof.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        return await self.ask(request, self._rows)

    async def _rows(self, asked: ResolvedRequest) -> Answer:
        read_point, request, token = asked.read_point, asked.request, asked.token
        selection = replace(asked.selection, at_most=request.limit + 1)
        rows = await self._reader.rows(read_point, selection, asked.watch)
        if request.cursor is None and request.checks_names:
            await self.check_known(asked, rows)
        answer = proof.answer(
            self.stream,
            rows,
            read_point=read_point,
            request=request,
            selection=selection,
            token=token,
            gaps=asked.gaps,
            state=asked.state,
            watch=asked.watch,
        )
        # A tag can be deleted, and its name given to another snapshot.
        may_settle = answer.meta.complete and not isinstance(request.as_of, TagName)
        if may_settle and await self._is_settled(read_point, token, selection):
            return replace(answer, meta=msgspec.structs.replace(answer.meta, settled=True))
        return answer

    async def bars(self, request: BarsRequest) -> BarsAnswer:
        """Bars of both parts' trades, with their proof.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        return await self._bars.answer(request)

    async def quotes_of(self, trades: pa.Table, request: JoinRequest) -> Joined:
        """What a join adds to trades, in their order; the rows of this query are the quotes.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        return await self._quotes.joined(trades, request)

    async def subscribe(self, request: StreamRequest) -> Subscription:
        """Rows from a place in the log on, and those to come.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        self._check_keys(request.selected)
        return await self._subscriptions.open(request)

    async def ask(
        self, request: RowsRequest, answered: Callable[[ResolvedRequest], Awaitable[_T]]
    ) -> _T:
        """What `answered` makes of a request at a read point; it may be called again, on another.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        self._check_keys(request.selected)
        watch = Stopwatch(self._clock)
        as_of = await self._token_of(request.as_of)
        wanted = Wanted(as_of, request.min_offsets, request.wait_ms, request.gaps_known_ns)
        now_ns = self._now_ns(wanted)

        async def at(read_point: ReadPoint, then: PinnedRows) -> _T:
            selection = await self._resolve(read_point, request, now_ns)
            return await answered(
                ResolvedRequest(
                    read_point,
                    request,
                    selection,
                    then.token or _token(read_point, now_ns),
                    then.gaps,
                    self._state(),
                    watch,
                )
            )

        await self._wait(wanted, watch)
        rows, scanned, reads_lake = await self._extent(request, now_ns)
        async with self._engine.turn(rows, scanned, reads_lake=reads_lake):
            return await self._answered(wanted, watch, at)

    async def _extent(self, request: RowsRequest, now_ns: int) -> tuple[int, int, bool]:
        """Rows that are answered at most, rows that may be looked at, and whether in the lake.

        A range that is not known before the newest row is counts as if it had no bounds.
        """
        head = self._lake.head
        start_ns, end_ns = _range_of(request, now_ns)
        selection = Selection(
            request.selected,
            start_ns=start_ns,
            end_ns=end_ns,
            after=None if request.cursor is None else request.cursor.after,
            descending=request.descending,
        )
        in_lake = 0 if head is None else await self._lake.rows_in(head, selection)
        return request.limit, in_lake + self._tail.rows, in_lake > 0

    async def symbols(self, request: SymbolsRequest) -> SymbolsAnswer:
        """What is known of each symbol.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        self._check_keys(request.selected)
        watch = Stopwatch(self._clock)
        as_of = await self._token_of(request.as_of)
        wanted = Wanted(as_of, request.min_offsets, request.wait_ms, request.known_at_ns)
        now_ns = self._now_ns(wanted)

        async def ask(read_point: ReadPoint, then: PinnedRows) -> SymbolsAnswer:
            totals = await self._totals.at(read_point)
            places = [(self.stream.key.index(name), wanted) for name, wanted in request.selected]
            rows = [
                self._symbol_row(key, totals[key], then.gaps)
                for key in sorted(totals)
                if all(key[at] in wanted for at, wanted in places)
            ]
            names = wanted_of(request.selected, self.stream.name_column)
            # Whether a symbol is known on an exchange that the caller may not read is no answer.
            at = self.stream.key.index("exchange") if request.permitted else 0
            seen = {
                key[-1] for key in totals if not request.permitted or key[at] in request.permitted
            }
            missing = set(names) - seen
            if missing:
                raise UnknownSymbolError(tuple(sorted(map(str, missing))), self.stream.name_column)
            offsets = read_point.cut.next
            token = then.token or _token(read_point, now_ns)
            gaps, gaps_complete, is_missing = then.gaps, False, False
            if gaps is not None:
                gaps_complete = gaps.covers(offsets) and gaps.forgotten == 0
                is_missing = gaps.lacks(symbols=request.symbols, exchanges=request.from_exchanges)
            meta = SymbolsMeta(
                token=token.encode(),
                offsets=offsets,
                snapshot=read_point.head.snapshot_id,
                symbols=len(rows),
                known_at_ns=request.known_at_ns,
                gaps_complete=gaps_complete,
                complete=gaps_complete and not is_missing and token.deferred == 0,
                deferred=token.deferred,
                elapsed_ms=watch.elapsed_ms,
            )
            return SymbolsAnswer(rows, meta)

        await self._wait(wanted, watch)
        scanned, reads_lake = self._symbols_extent(wanted)
        async with self._engine.turn(len(self._totals), scanned, reads_lake=reads_lake):
            return await self._answered(wanted, watch, ask)

    async def _token_of(self, as_of: Token | TagName | None) -> Token | None:
        """Of a tag the token of what its snapshot holds.

        Raises:
            InvalidParameter: there is no such tag, or its snapshot does not say what it holds.
            LakeUnavailable: the catalog does not answer.
        """
        if not isinstance(as_of, TagName):
            return as_of
        info = await self._lake.tagged(as_of.name)
        if info is None:
            raise InvalidParameter("as_of", f"{self.stream.name} has no tag {as_of.name!r}")
        token = self._token_of_snapshot(info)
        if token is None:
            raise InvalidParameter(
                "as_of", f"another engine made the snapshot of tag {as_of.name!r}: read it there"
            )
        return token

    def _token_of_snapshot(self, info: SnapshotInfo) -> Token | None:
        """Of exactly what a snapshot holds; None: it does not say so."""
        offsets = None if info.vector is None else info.vector.topics.get(self._tail.topic)
        if offsets is None:
            return None
        at_ns = info.timestamp_ms * 1_000_000
        return Token(offsets.id, offsets.next, at_ns, sum(offsets.deferred.values()))

    async def _wait(self, wanted: Wanted, watch: Stopwatch) -> None:
        """Wait without a turn for what this node has not read yet."""
        if wanted.wait_ms:
            with watch.stage("read_point"):
                await self._read_points.find(wanted)

    def _symbols_extent(self, wanted: Wanted) -> tuple[int, bool]:
        """Rows that may be looked at, and whether in the lake: all of them, or the newest alone."""
        is_earlier = wanted.known_ns is not None
        if not is_earlier and self._totals.reaches_from(
            None if wanted.at is None else wanted.at.next
        ):
            return self._tail.rows, False
        in_lake = 0 if self._lake.head is None else self._lake.head.rows
        return in_lake + self._tail.rows, in_lake > 0

    async def gaps(self, request: GapsRequest) -> GapsAnswer:
        """Gaps as this node knows them, or knew them at a time.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        if self._gap_rows is not None:
            return await self._gap_rows.answer(request)
        if request.as_of is not None:
            raise InvalidParameter("as_of", "gaps have no token where no ledger is kept")
        if not isinstance(self._gaps, GapsView):
            return GapsAnswer((), GapsMeta(gaps=0, omitted=0, positions={}, complete=False))
        now_ns = self._clock.time_ns()
        wanted = Wanted(known_ns=request.known_at_ns)
        reads_lake = request.known_at_ns is not None
        async with self._engine.turn(request.limit, request.limit, reads_lake=reads_lake):
            then = await self._pinned(wanted, Stopwatch(self._clock))
            assert then.gaps is not None  # noqa: S101 - there are some
            found, omitted = request.find_in(then.gaps, now_ns)
        token = then.token
        if token is None:
            complete = self._gaps.is_complete
        else:
            complete = then.gaps.forgotten == 0 and then.gaps.covers(token.next)
        meta = GapsMeta(
            gaps=len(found),
            omitted=omitted,
            positions=self._gaps.positions,
            complete=complete,
            token=None if token is None else token.encode(),
            known_at_ns=request.known_at_ns,
        )
        return GapsAnswer(found, meta)

    async def coverage(self, request: CoverageRequest) -> CoverageAnswer:
        """How many numbers there are, of how many.

        Raises:
            LookupError: no ledger is kept, so that no endpoint asks for it.
            QueryError: see its kinds in `query.errors`.
        """
        if self._coverage is None:
            raise LookupError(f"no ledger of {self.stream.name} is kept")
        return await self._coverage.answer(request)

    async def snapshots(self, request: SnapshotsRequest) -> list[SnapshotRow]:
        """The main branch's snapshots, newest first, each with the token of exactly what it holds.

        Raises:
            BusyError: the queries before it take too long.
            LakeUnavailable: the catalog does not answer.
        """
        rows = []
        async with self._engine.turn(request.limit, request.limit, reads_lake=True):
            snapshots = await self._lake.snapshots()
        for info in snapshots[::-1][: request.limit]:
            token = self._token_of_snapshot(info)
            rows.append(
                SnapshotRow(
                    id=info.id,
                    parent=info.parent,
                    timestamp_ms=info.timestamp_ms,
                    operation=info.operation,
                    rows_total=info.rows_total,
                    rows_added=info.rows_added,
                    files=info.files,
                    offsets={} if token is None else token.next,
                    commit_id=info.commit_id,
                    token=None if token is None else token.encode(),
                    refs=list(info.refs),
                )
            )
        return rows

    async def refresh(self) -> None:
        """Load the lake's newest snapshot and let the tail go of what it holds.

        Raises:
            LakeUnavailable: the catalog does not answer; queries go on with the last snapshot.
        """
        await self._read_points.refresh()

    def refresh_soon(self) -> None:
        """There is something new in the lake: `run` looks at once."""
        self._wanted.set()

    async def run(self) -> None:
        """Refresh for ever; a catalog that is away is logged when it goes and when it is back."""
        away = False
        while True:
            try:
                await self.refresh()
                if away:
                    log.info("lake is back")
                away = False
            except RetryLaterError as error:
                if not away:
                    log.warning("lake is away", error=str(error))
                away = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_EVERY_S):
                    await self._wanted.wait()
            self._wanted.clear()

    async def close(self) -> None:
        """Disconnect from the lake; nothing can be asked any more. The engine's owner closes it."""
        await self._lake.close()

    def _now_ns(self, wanted: Wanted) -> int:
        """The time at which a window ends that has no end."""
        if wanted.at is not None:
            return wanted.at.at_ns
        return self._clock.time_ns() if wanted.known_ns is None else wanted.known_ns

    async def _pinned(self, wanted: Wanted, watch: Stopwatch) -> PinnedRows:
        """The rows that are wanted, if they were named, and the gaps to show with them."""
        known_ns = wanted.known_ns
        if known_ns is None:
            return PinnedRows(wanted.at, self._gaps)

        async def find(read_point: ReadPoint) -> KnownRows:
            deferred = NOT_KNOWN if self._state().has_deferred else 0
            return await self._known_at.find(read_point, known_ns, deferred)

        known = await self._attempts.ask(Wanted(known_ns=known_ns), watch, find)
        gaps = None if self._gaps is None else self._gaps.at(known_ns // 1_000, known.ends)
        return PinnedRows(wanted.at or known.token, gaps)

    async def _answered(
        self,
        wanted: Wanted,
        watch: Stopwatch,
        ask: Callable[[ReadPoint, PinnedRows], Awaitable[_T]],
    ) -> _T:
        """Ask about the rows that are wanted: those of a token, those known at a time, or all."""
        then = await self._pinned(wanted, watch)
        if then.token is not None:
            wanted = Wanted(then.token, wait_ms=wanted.wait_ms)
        return await self._attempts.ask(wanted, watch, lambda read_point: ask(read_point, then))

    async def _resolve(self, read_point: ReadPoint, request: RowsRequest, now_ns: int) -> Selection:
        """What is wanted, its range as two times."""
        selection = Selection(
            request.selected,
            after=None if request.cursor is None else request.cursor.after,
            descending=request.descending,
        )
        if request.view == "corrected":
            if not self.stream.is_corrected:
                raise InvalidParameter("view", f"{self.stream.name} are not corrected")
            selection = await self._reader.corrected(read_point, selection)
        start_ns, end_ns = request.start_ns, request.end_ns
        if end_ns == LAST:
            newest_ns = await self._reader.newest_ns(read_point, selection)
            end_ns = 0 if newest_ns is None else newest_ns + 1
        assert not isinstance(end_ns, str)  # noqa: S101 - LAST is the only word
        if request.window_ns is not None:
            end_ns = now_ns if end_ns is None else end_ns
            start_ns = max(0, end_ns - request.window_ns)
        return replace(selection, start_ns=start_ns, end_ns=end_ns)

    async def _is_settled(self, read_point: ReadPoint, token: Token, selection: Selection) -> bool:
        """Whether a complete answer may be kept: see `query.settled`."""
        now_ns = self._clock.time_ns()
        if self._gaps is None or not may_be_settled(
            token, selection, read_point, self._gaps, now_ns
        ):
            return False
        newest_ns = await self._reader.newest_ns(read_point, selection)
        assert selection.end_ns is not None  # noqa: S101 - it was asked
        return newest_ns is not None and newest_ns >= selection.end_ns

    def _check_keys(self, keys: Keys) -> None:
        for column, _ in keys:
            if column not in self.stream.key:
                raise InvalidParameter(
                    column,
                    f"{self.stream.name} is selected by {' and '.join(self.stream.key)}",
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
        column = self.stream.name_column
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
        found = await self._reader.known(read_point, missing, others)
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        self._known |= {(name, others) for name in found}
        if len(found) < len(missing):
            unknown = tuple(str(name) for name in missing if name not in found)
            raise UnknownSymbolError(unknown, column)

    def _symbol_row(
        self, key: tuple[KeyValue, ...], total: Total, gaps: KnownGaps | None
    ) -> msgspec.Struct:
        stream, newest = self.stream, total.newest
        counts = {}
        if stream.is_sequenced and gaps is not None:
            counts["counts"] = gaps.counts(*map(str, key))
        return symbol_row(stream)(
            **dict(zip(stream.key, key, strict=True)),
            **{stream.counted: total.rows},
            first_time_ns=total.first_time_ns,
            last_time_ns=newest.time_ns,
            **{f"last_{name}": newest.values[name] for name in stream.last},
            **{name: newest.values[name] for name in stream.identity},
            **counts,
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


def _token(read_point: ReadPoint, now_ns: int) -> Token:
    """Of what a read point that was asked for without a token holds."""
    return Token(read_point.topic_id, read_point.cut.next, now_ns, read_point.deferred)
