"""The query side of one log: its tail, the topics beside it, and its table."""

from collections.abc import Awaitable, Callable

from k2_streams.core.enrich.notional import Notional
from k2_streams.core.load.degradation import Level
from k2_streams.core.query.bars.conditions import ConditionRules
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Vector
from k2_streams.kafka.topics import TopicInfo
from k2_streams.lake.breaker import Guard
from k2_streams.lake.table import Lake
from k2_streams.query.answer import NodeState
from k2_streams.query.engine import Engine
from k2_streams.query.gaps import NOTHING_MISSING, GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.committed_rows import CommittedRows
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics.table import TailMetrics
from k2_streams.runtime.node.log_topics import LogTopics
from k2_streams.runtime.node.tail_quota import TailLimits, TailQuota
from k2_streams.runtime.node.tailing import TailReader
from k2_streams.runtime.ports import Ports


class Node:
    """Answers queries about one log; needs no other worker for it.

    Args:
        stream: whose rows it answers from.
        beside: the topics beside the stream's log.
        topic: the log.
        tail_limits: of the log's tail.
        metrics: of the log's tail.
        ports: of the worker.
        engine: of the worker; its owner closes it.
        findings: what the sequence events say of the log's source; None: it has none.
        gap_events: answers about these events, where this worker keeps a ledger.
        guard: of the lake.
        reads: of an object store.
        on_tail_full: called when the tail is full, and when it has room again; None: no source
            waits for it.
        notional: computes it where a row was made without.
        rules: by which trades count in bars, if there are any.
        committed: rows of the log that tasks of this worker give.
        limits: of the tail's reader.
    """

    def __init__(  # noqa: PLR0913 - called once, where everything is wired
        self,
        stream: Stream,
        beside: LogTopics,
        topic: TopicInfo,
        tail_limits: TailLimits,
        metrics: TailMetrics,
        ports: Ports,
        engine: Engine,
        *,
        findings: GapsView | None,
        gap_events: HybridQuery | None,
        guard: Guard,
        reads: Guard,
        on_tail_full: Callable[[bool], None] | None,
        notional: Notional,
        rules: ConditionRules | None,
        committed: CommittedRows,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._lag_records = 0
        self._level = Level.NORMAL.name
        spill = ports.disk.new_spill(tail_limits.folder)
        self.tail = Tail(
            stream,
            topic_id=topic.id,
            memory_bytes=tail_limits.memory_bytes,
            spill=spill,
        )
        self.quota = TailQuota(
            self.tail, spill, tail_limits, ports.disk, metrics, on_pause=on_tail_full
        )
        self.lake = LakeView(lambda: open_to_read(stream, ports), guard)
        self.guard = guard
        self.reads = None if ports.catalog.files is None else reads  # of an object store alone
        self.query = HybridQuery(
            self.tail,
            self.lake,
            engine,
            NOTHING_MISSING if stream.is_ledger else findings,
            clock=ports.clock,
            state=self._state,
            stream=stream,
            notional=notional,
            reads=self.reads,
            partitions=topic.partitions,
            rules=rules,
            findings=findings,
            gap_events=gap_events,
        )
        self.source = beside.source
        self._has_events = bool(beside.counted)
        self.reader = TailReader(
            stream,
            beside,
            ports.kafka,
            topic.partitions,
            self.tail,
            None if stream.is_ledger else findings,
            metrics,
            ports.clock,
            vector=self._vector,
            committed=committed,
            limits=limits,
        )

    def _state(self) -> NodeState:
        return NodeState(
            level=self._level,
            lag_records=self._lag_records + self.reader.source_lag_records,
            dead_letters=self.reader.dead_letters.total,
            dead_letters_next=self.reader.dead_letters.reached(),
            stalled=bool(self.reader.stalled),
            has_deferred=self.reader.has_deferred,
        )

    def report(self, lag_records: int, level: str) -> None:
        """Set what answers show of this worker: source records not processed yet, and its level.

        Of a process without tasks nothing is reported: how many records of the source are not
        processed it finds in the log.
        """
        self._lag_records = lag_records
        self._level = level

    @property
    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What follows log and lake for as long as the node lives, by name."""
        found: dict[str, Callable[[], Awaitable[None]]] = {
            "tail-quota": self.quota.run,
            "tail": self.reader.run_log,
            "tail-given": self.reader.run_given,
            "lake-view": self.query.lake_refresh.run,
        }
        if self._has_events:
            found["events"] = self.reader.run_events
        return found

    async def _vector(self) -> Vector:
        return (await self.lake.refresh()).vector

    async def close(self) -> None:
        """Stop answering, once the background has ended."""
        await self.query.close()


def open_to_read(stream: Stream, ports: Ports) -> Lake:
    """A handle on a stream's table, which is created if it is absent."""
    lake = ports.catalog.open(stream, ports.catalog.files)
    lake.create()  # a table that the sink cannot write to can still be read
    return lake
