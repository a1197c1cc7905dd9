"""Every question about one log, over tail and lake as one, cut by offset.

`read_point` says where an answer stands and why no row is in both parts or in neither, `questions`
how an answer comes to stand there. What an answer is made of has a module per kind.
"""

from collections.abc import Callable

import pyarrow as pa

from k2_streams.clock import Clock
from k2_streams.core.enrich.notional import Notional, of_ones
from k2_streams.core.ledger.streams import has_gap_events
from k2_streams.core.query.bars.conditions import ConditionRules
from k2_streams.core.records.stream import Stream
from k2_streams.lake.breaker import Guard
from k2_streams.query.answer import Answer, GapsAnswer, NodeState, SnapshotRow, SymbolsAnswer
from k2_streams.query.asof.query import QuotesJoin
from k2_streams.query.asof.request import Joined, JoinRequest
from k2_streams.query.bars.answer import BarsAnswer
from k2_streams.query.bars.query import BarsQuery
from k2_streams.query.bars.request import BarsRequest
from k2_streams.query.engine import Engine
from k2_streams.query.gaps import GapsView, NothingMissing
from k2_streams.query.lake_refresh import LakeRefresh
from k2_streams.query.lake_view import LakeView
from k2_streams.query.ledger.coverage import CoverageAnswer, CoverageQuery, CoverageRequest
from k2_streams.query.ledger.gaps import GapsQuery
from k2_streams.query.ledger.in_memory import GapsInMemory
from k2_streams.query.queried_log import QueriedLog
from k2_streams.query.questions import Questions
from k2_streams.query.read_point import ReadPoints
from k2_streams.query.reading import Reader
from k2_streams.query.request import GapsRequest, RowsRequest, SnapshotsRequest, SymbolsRequest
from k2_streams.query.rows import RowsQuery
from k2_streams.query.snapshots import list_snapshots
from k2_streams.query.subscription.opening import Subscriptions
from k2_streams.query.subscription.request import StreamRequest
from k2_streams.query.subscription.subscription import Subscription
from k2_streams.query.symbols.query import SymbolsQuery
from k2_streams.query.tail.store import Tail


class HybridQuery:
    """Answers over everything that was ever accepted. For one event loop.

    Every question raises `QueryError`: see its kinds in `query.errors`.

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
        self.log = QueriedLog(stream, tail, lake, gaps, state, clock)
        self.read_points = ReadPoints(tail, lake, clock, partitions)
        self.lake_refresh = LakeRefresh(self.read_points)
        self._engine = engine
        reader = Reader(stream, lake, engine, notional, reads)
        self.questions = Questions(self.log, reader, engine, self.read_points)
        self._rows = RowsQuery(self.questions)
        self._symbols = SymbolsQuery(self.questions)
        self._bars = BarsQuery(self.questions, notional, rules)
        self._quotes = QuotesJoin(self.questions)
        self._subscriptions = Subscriptions(self.questions)
        self._gaps: GapsQuery | GapsInMemory = GapsInMemory(self.questions)
        self._coverage: CoverageQuery | None = None
        if findings is not None and has_gap_events(stream):
            self._gaps = GapsQuery(self.questions, findings)
        if findings is not None and gap_events is not None:
            self._coverage = CoverageQuery(self.questions, gap_events.questions, findings)

    async def rows(self, request: RowsRequest) -> Answer:
        """Rows in order, with their proof."""
        return await self._rows.answer(request)

    async def symbols(self, request: SymbolsRequest) -> SymbolsAnswer:
        """What is known of each symbol."""
        return await self._symbols.answer(request)

    async def bars(self, request: BarsRequest) -> BarsAnswer:
        """Bars of the trades, with their proof."""
        return await self._bars.answer(request)

    async def quotes_of(self, trades: pa.Table, request: JoinRequest) -> Joined:
        """What a join adds to trades, in their order; the rows of this query are the quotes."""
        return await self._quotes.joined(trades, request)

    async def subscribe(self, request: StreamRequest) -> Subscription:
        """Rows from a place in the log on, and those to come."""
        return await self._subscriptions.open(request)

    async def gaps(self, request: GapsRequest) -> GapsAnswer:
        """Gaps of these rows; where they are the events of gaps, those that the events made."""
        return await self._gaps.answer(request)

    async def coverage(self, request: CoverageRequest) -> CoverageAnswer:
        """How many numbers there are, of how many.

        Raises:
            LookupError: no ledger is kept, so that no endpoint asks for it.
        """
        if self._coverage is None:
            raise LookupError(f"no ledger of {self.stream.name} is kept")
        return await self._coverage.answer(request)

    async def snapshots(self, request: SnapshotsRequest) -> list[SnapshotRow]:
        """The lake's main branch, newest snapshot first."""
        return await list_snapshots(self.log, self._engine, request)

    async def refresh(self) -> None:
        """Load the lake's newest snapshot and let the tail go of what it holds.

        Raises:
            LakeUnavailable: the catalog does not answer; queries go on with the last snapshot.
        """
        await self.lake_refresh.now()

    async def close(self) -> None:
        """Disconnect from the lake; nothing can be asked any more. The engine's owner closes it."""
        await self.log.lake.close()
