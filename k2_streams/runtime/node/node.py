"""The query side of a worker: tail, events, lake and engine of one log."""

from collections.abc import Awaitable, Callable

from k2_streams.core.enrich.notional import Notional
from k2_streams.core.load.degradation import Level
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Vector
from k2_streams.kafka.topics import TopicInfo
from k2_streams.lake.breaker import Guard
from k2_streams.lake.table import Lake
from k2_streams.query.answer import NodeState
from k2_streams.query.engine import EngineConfig, EngineMemory
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.store_files import StoreFiles
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.control.memory import query_limit_bytes
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.node.log_topics import LogTopics
from k2_streams.runtime.node.tail_quota import TailRoom
from k2_streams.runtime.node.tailing import TailReader
from k2_streams.runtime.ports import Ports
from k2_streams.runtime.settings.worker import Settings


class Node:
    """Answers queries; needs no other worker for it.

    Args:
        stream: whose rows it answers from.
        beside: the topics beside the stream's log.
        settings: of the worker.
        topic: the log.
        metrics: of the worker.
        ports: of the worker.
        guard: of the lake.
        reads: of an object store.
        hold_source: told when the tail is full, and when it has room again.
        notional: computes it where a row was made without.
        limits: of the tail's reader.
    """

    def __init__(  # noqa: PLR0913 - called once, where everything is wired
        self,
        stream: Stream,
        beside: LogTopics,
        settings: Settings,
        topic: TopicInfo,
        metrics: Metrics,
        ports: Ports,
        *,
        guard: Guard,
        reads: Guard,
        hold_source: Callable[[bool], None],
        notional: Notional,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._lag_records = 0
        self._level = Level.NORMAL.name
        spill = ports.disk.new_spill(settings.worker_dir / "tail")
        self.tail = Tail(
            stream,
            topic_id=topic.id,
            memory_bytes=settings.tail_memory_bytes,
            spill=spill,
        )
        self.room = TailRoom(
            self.tail,
            spill,
            settings.tail_disk_limit,
            settings.worker_dir,
            ports.disk,
            metrics,
            on_held=hold_source,
        )
        gaps = None if beside.events is None else GapsView()
        files, folder = ports.catalog.files, settings.lake.folder
        self.lake = LakeView(lambda: _open(stream, ports), guard)
        self.reads = None if files is None else reads  # of an object store alone
        may_take = ports.memory.limit_bytes
        #: Of answers on their way: the same part of the process as queries have.
        self.answers_bytes = query_limit_bytes(may_take)
        self._engine = ports.new_engine(
            EngineConfig(
                memory_bytes=settings.query_memory_bytes or query_limit_bytes(may_take),
                allowed=() if folder is None else (folder,),
                store=None if files is None else StoreFiles(files, ports.clock),
            ),
            ports.clock,
        )
        metrics.query.query_memory_bytes.set_function(lambda: self.query_memory().used_bytes)
        metrics.query.query_footer_cache_bytes.set_function(
            lambda: self.query_memory().footers_bytes
        )
        self.query = HybridQuery(
            self.tail,
            self.lake,
            self._engine,
            gaps,
            clock=ports.clock,
            state=self._state,
            stream=stream,
            notional=notional,
            reads=self.reads,
            partitions=settings.partitions,
        )
        self.reader = TailReader(
            stream,
            beside,
            ports.kafka,
            settings.partitions,
            self.tail,
            gaps,
            metrics,
            ports.clock,
            vector=self._vector,
            limits=limits,
        )

    def _state(self) -> NodeState:
        return NodeState(
            level=self._level,
            lag_records=self._lag_records,
            dead_letters=self.reader.dead_letters.total,
            dead_letters_next=self.reader.dead_letters.reached(),
            stalled=bool(self.reader.stalled),
        )

    def report(self, lag_records: int, level: str) -> None:
        """Set what answers show of this worker: source records not processed yet, and its level."""
        self._lag_records = lag_records
        self._level = level

    def query_memory(self) -> EngineMemory:
        """What DuckDB holds."""
        return self._engine.memory()

    @property
    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What follows log and lake for as long as the node lives, by name."""
        return {
            "tail-room": self.room.run,
            "tail": self.reader.run_log,
            "events": self.reader.run_events,
            "lake-view": self.query.run,
        }

    async def _vector(self) -> Vector:
        return (await self.lake.refresh()).vector

    async def close(self) -> None:
        """Stop answering, once the background has ended."""
        await self.query.close()


def _open(stream: Stream, ports: Ports) -> Lake:
    lake = ports.catalog.open(stream, ports.catalog.files)
    lake.create()  # a table that the sink cannot write to can still be read
    return lake
