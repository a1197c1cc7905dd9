"""The hybrid query: the tail and the lake as one answer, cut by offset.

`standing` says where an answer stands and why no row is in both parts or in neither; here the two
parts are read, in one statement, and the proof is put together.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from k2_streams.clock import Clock
from k2_streams.core.gaps import FILLED
from k2_streams.query import statement
from k2_streams.query.answer import (
    Answer,
    GapsAnswer,
    GapsMeta,
    Meta,
    NodeState,
    SnapshotRow,
    SymbolRow,
    SymbolsAnswer,
    SymbolsMeta,
)
from k2_streams.query.engine import Engine, FilesUnreadableError, Session
from k2_streams.query.errors import LakeUnavailable, RetryLaterError, UnknownSymbolError
from k2_streams.query.gaps import GapsView
from k2_streams.query.lake_view import LakeView
from k2_streams.query.request import (
    GapsRequest,
    SnapshotsRequest,
    SymbolsRequest,
    TradesRequest,
)
from k2_streams.query.result import as_trades, key_of_last, rows_from_lake
from k2_streams.query.selection import Selection
from k2_streams.query.standing import Ground, Standing, Wanted
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.symbols import Slice, SymbolTotals, Totals, totals_of
from k2_streams.query.tail import Tail, TailMovedError
from k2_streams.query.tail_rows import select
from k2_streams.query.times import LAST
from k2_streams.query.token import Cursor, Token

log = structlog.get_logger(__name__)
_T = TypeVar("_T")

#: How often the lake's head is looked up: a commit comes every 10 s, and the tail's memory and the
#: catalog's load are all that depends on it. Answers do not: the tail has what the head lacks.
REFRESH_EVERY_S = 5.0
#: Gaps that an answer lists; how many more there are it counts.
MAX_META_GAPS = 100
#: Symbols remembered as known, so that an empty answer needs no second look.
MAX_KNOWN = 100_000
#: A view can lose spilled batches once, a snapshot its files once; more often something is wrong.
MAX_ATTEMPTS = 4


class HybridQuery:
    """Answers over everything that was ever accepted. For one event loop.

    Args:
        tail: of this node; its reader appends to it.
        lake: of this node.
        engine: reads both parts.
        gaps: of this node; its reader feeds it.
        clock: the server's time, where a window has no end.
        state: how the pipeline stands now; every answer says it.
    """

    def __init__(  # noqa: PLR0913 (the parts of a node, each named)
        self,
        tail: Tail,
        lake: LakeView,
        engine: Engine,
        gaps: GapsView,
        *,
        clock: Clock,
        state: Callable[[], NodeState] = NodeState,
    ) -> None:
        self._tail = tail
        self._lake = lake
        self._engine = engine
        self._gaps = gaps
        self._clock = clock
        self._state = state
        self._ground = Ground(tail, lake, clock)
        self._totals = SymbolTotals(self._add_up)
        self._known: set[tuple[str, tuple[str, ...]]] = set()

    async def trades(self, request: TradesRequest) -> Answer:
        """Trades of both parts, in order, with their proof.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        watch = Stopwatch(self._clock)
        wanted = Wanted(request.as_of, request.min_offsets, request.wait_ms)
        now_ns = self._clock.time_ns() if request.as_of is None else request.as_of.at_ns

        async def ask(standing: Standing) -> Answer:
            selection = await self._resolve(standing, request, now_ns)
            rows = await self._read(standing, selection, watch)
            if rows.num_rows == 0 and request.cursor is None:
                await self._check_known(standing, request)
            return self._answer(standing, request, selection, rows, now_ns, watch)

        return await self._attempt(wanted, watch, ask)

    async def symbols(self, request: SymbolsRequest) -> SymbolsAnswer:
        """What is known of each symbol.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        watch = Stopwatch(self._clock)
        wanted = Wanted(request.as_of, request.min_offsets, request.wait_ms)
        now_ns = self._clock.time_ns() if request.as_of is None else request.as_of.at_ns

        async def ask(standing: Standing) -> SymbolsAnswer:
            totals = await self._totals.at(standing)
            rows = [
                self._symbol_row(*key, totals)
                for key in sorted(totals)
                if (not request.exchanges or key[0] in request.exchanges)
                and (not request.symbols or key[1] in request.symbols)
            ]
            missing = set(request.symbols) - {row.symbol for row in rows}
            if missing:
                raise UnknownSymbolError(tuple(sorted(missing)))
            offsets = standing.cut.next
            meta = SymbolsMeta(
                token=Token(standing.topic_id, offsets, now_ns).encode(),
                offsets=offsets,
                snapshot=standing.head.snapshot_id,
                symbols=len(rows),
                gaps_complete=self._gaps.covers(offsets),
                elapsed_ms=watch.elapsed_ms,
            )
            return SymbolsAnswer(rows, meta)

        return await self._attempt(wanted, watch, ask)

    async def gaps(self, request: GapsRequest) -> GapsAnswer:
        """Gaps as this node knows them."""
        start_ns, end_ns = request.start_ns, request.end_ns
        if request.window_ns is not None:
            end_ns = self._clock.time_ns() if end_ns is None else end_ns
            start_ns = end_ns - request.window_ns
        found, omitted = self._gaps.find(
            symbols=request.symbols,
            exchanges=request.exchanges,
            states=request.states,
            start_ns=start_ns,
            end_ns=end_ns,
            limit=request.limit,
        )
        meta = GapsMeta(
            gaps=len(found),
            omitted=omitted,
            positions=self._gaps.positions,
            complete=self._gaps.forgotten == 0,
        )
        return GapsAnswer(found, meta)

    async def snapshots(self, request: SnapshotsRequest) -> list[SnapshotRow]:
        """The lake's snapshots, newest first, each with the token of exactly what it holds.

        Raises:
            LakeUnavailable: the catalog does not answer.
        """
        rows = []
        for info in (await self._lake.snapshots())[::-1][: request.limit]:
            offsets = None if info.vector is None else info.vector.topics.get(self._tail.topic)
            token = (
                None
                if offsets is None
                else Token(offsets.id, offsets.next, info.timestamp_ms * 1_000_000).encode()
            )
            rows.append(
                SnapshotRow(
                    id=info.id,
                    parent=info.parent,
                    timestamp_ms=info.timestamp_ms,
                    operation=info.operation,
                    rows_total=info.rows_total,
                    rows_added=info.rows_added,
                    files=info.files,
                    offsets={} if offsets is None else offsets.next,
                    commit_id=info.commit_id,
                    token=token,
                )
            )
        return rows

    async def refresh(self) -> None:
        """Load the lake's newest snapshot and let the tail go of what it holds.

        Raises:
            LakeUnavailable: the catalog does not answer; queries go on with the last snapshot.
        """
        head = await self._ground.refresh()
        # Reads the manifests that are new, so that no query has to.
        await self._lake.files(head, Selection())

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
            await asyncio.sleep(REFRESH_EVERY_S)

    async def close(self) -> None:
        """Let go of the lake and the engine; nothing can be asked any more."""
        await self._lake.close()
        await asyncio.get_running_loop().run_in_executor(None, self._engine.close)

    async def _attempt(
        self, wanted: Wanted, watch: Stopwatch, ask: Callable[[Standing], Awaitable[_T]]
    ) -> _T:
        """Ask on a standing; on a new one if its parts went away meanwhile."""
        unreadable: FilesUnreadableError | None = None
        for _ in range(MAX_ATTEMPTS):
            with watch.stage("standing"):
                standing = await self._ground.find(wanted)
            try:
                return await ask(standing)
            except TailMovedError:
                continue
            except FilesUnreadableError as error:
                if unreadable is not None:
                    break
                unreadable = error
                # Compaction may have replaced the file: a newer snapshot then names others.
                log.warning("lake file unreadable", error=str(error))
                await self._ground.refresh()
        raise LakeUnavailable(f"files of the lake cannot be read: {unreadable}") from unreadable

    async def _resolve(self, standing: Standing, request: TradesRequest, now_ns: int) -> Selection:
        """The request's range as two times."""
        cursor = request.cursor
        selection = Selection(
            request.symbols,
            request.exchanges,
            request.start_ns,
            None,
            None if cursor is None else cursor.after,
            request.descending,
            request.limit + 1,
        )
        end_ns: int | None
        if request.end_ns == LAST:
            newest = await self._newest(standing, selection)
            end_ns = 0 if newest is None else newest + 1
        else:
            assert not isinstance(request.end_ns, str)  # noqa: S101 - LAST is the only word
            end_ns = request.end_ns
        start_ns = request.start_ns
        if request.window_ns is not None:
            end_ns = now_ns if end_ns is None else end_ns
            start_ns = max(0, end_ns - request.window_ns)
        return replace(selection, start_ns=start_ns, end_ns=end_ns)

    async def _newest(self, standing: Standing, selection: Selection) -> int | None:
        """The event time of the newest trade of the selection's names."""
        last = Selection(selection.symbols, selection.exchanges, descending=True, at_most=1)
        rows = await self._read(standing, last, Stopwatch(self._clock))
        return None if rows.num_rows == 0 else int(rows.column("exchange_time_ns")[0].as_py())

    async def _read(self, standing: Standing, selection: Selection, watch: Stopwatch) -> pa.Table:
        """The selection's rows of both parts, in order."""
        with watch.stage("plan"):
            files = await self._lake.files(standing.head, selection)
        ranges = {number: part.tail for number, part in standing.cut.partitions.items()}

        def work(session: Session) -> pa.Table:
            with watch.stage("tail"):
                tail = select(standing.view.batches(ranges), selection)
            with watch.stage("scan"):
                asked = statement.trades(
                    files, standing.cut.lake_limits, tail.num_rows > 0, selection
                )
                needs_tail = tail.num_rows > 0 or not files
                return as_trades(session.table(asked, tail if needs_tail else None))

        with watch.stage("engine"):
            return await self._engine.run(work)

    async def _check_known(self, standing: Standing, request: TradesRequest) -> None:
        """Refuse symbols of which no trade was accepted, as far as the standing reaches."""
        missing = tuple(
            symbol
            for symbol in request.symbols
            if request.pinned or (symbol, request.exchanges) not in self._known
        )
        if not missing:
            return
        asked = Selection(missing, request.exchanges)
        files = await self._lake.files(standing.head, asked)
        ranges = {number: part.tail for number, part in standing.cut.partitions.items()}

        def work(session: Session) -> set[str]:
            tail = select(standing.view.batches(ranges), asked)
            found = set(pc.unique(tail.column("symbol")).to_pylist())
            if files and found < set(missing):
                names = statement.names(files, standing.cut.lake_limits, asked)
                found |= set(session.table(names).column("symbol").to_pylist())
            return found

        found = await self._engine.run(work)
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        self._known |= {(symbol, request.exchanges) for symbol in found}
        unknown = tuple(symbol for symbol in missing if symbol not in found)
        if unknown:
            raise UnknownSymbolError(unknown)

    async def _add_up(self, standing: Standing, part: Slice) -> Totals:
        """Totals by symbol of a slice."""
        files = await self._lake.files(standing.head, Selection()) if part.lake else []

        def work(session: Session) -> Totals:
            tail = select(standing.view.batches(part.tail), Selection())
            asked = statement.summary(
                files, standing.cut.lake_limits, part.lake_from, tail.num_rows > 0
            )
            needs_tail = tail.num_rows > 0 or not files
            rows = session.table(asked, tail if needs_tail else None)
            return totals_of(rows.to_pylist())

        return await self._engine.run(work)

    def _answer(  # noqa: PLR0913, PLR0917 (everything that the proof speaks of)
        self,
        standing: Standing,
        request: TradesRequest,
        selection: Selection,
        rows: pa.Table,
        now_ns: int,
        watch: Stopwatch,
    ) -> Answer:
        """Rows and proof."""
        offsets = standing.cut.next
        token = request.as_of or Token(standing.topic_id, offsets, now_ns)
        cursor: Cursor | None = None
        if rows.num_rows > request.limit:
            rows = rows.slice(0, request.limit)
            cursor = Cursor(
                token=token,
                after=key_of_last(rows),
                symbols=selection.symbols,
                exchanges=selection.exchanges,
                start_ns=selection.start_ns,
                end_ns=selection.end_ns,
                descending=selection.descending,
                limit=request.limit,
                asked=request.cursor.asked if request.cursor else request.asked(),
            )
        gaps, omitted = self._gaps.find(
            symbols=selection.symbols,
            exchanges=selection.exchanges,
            start_ns=selection.start_ns,
            end_ns=selection.end_ns,
            limit=MAX_META_GAPS,
        )
        state = self._state()
        known = self._gaps.covers(offsets)
        held = standing.head.vector.topics.get(self._tail.topic)
        from_lake = rows_from_lake(rows, {} if held is None else held.next)
        missing = any(gap.state != FILLED for gap in gaps) or omitted > 0
        meta = Meta(
            token=token.encode(),
            offsets=offsets,
            snapshot=standing.head.snapshot_id,
            pinned=request.pinned,
            start_ns=selection.start_ns,
            end_ns=selection.end_ns,
            order="desc" if selection.descending else "asc",
            limit=request.limit,
            rows=rows.num_rows,
            rows_lake=from_lake,
            rows_tail=rows.num_rows - from_lake,
            gaps=gaps,
            gaps_omitted=omitted,
            gaps_complete=known,
            complete=known and not missing and state.deferred == 0,
            deferred=state.deferred,
            dead_letters=state.dead_letters,
            lag_records=state.lag_records,
            level=state.level,
            stalled=state.stalled,
            next_cursor=None if cursor is None else cursor.encode(),
            elapsed_ms=watch.elapsed_ms,
            stages_ms=watch.stages_ms,
        )
        return Answer(rows, meta)

    def _symbol_row(self, exchange: str, symbol: str, totals: Totals) -> SymbolRow:
        total = totals[(exchange, symbol)]
        return SymbolRow(
            exchange=exchange,
            symbol=symbol,
            trades=total.trades,
            first_time_ns=total.first_time_ns,
            last_time_ns=total.newest.exchange_time_ns,
            last_price=total.newest.price,
            last_quantity=total.newest.quantity,
            session=total.newest.session,
            sequence=total.newest.sequence,
            counts=self._gaps.counts(exchange, symbol),
        )
