"""The query side of a worker: tail, events, lake and engine, as one thing to start and stop."""

from collections.abc import Callable

from k2_streams.clock import Clock
from k2_streams.core.enrich.notional import Notional
from k2_streams.core.load.degradation import Level
from k2_streams.core.records.source import RawInput
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Vector
from k2_streams.kafka.topics import TopicInfo
from k2_streams.lake.breaker import Guard
from k2_streams.lake.store import DataFiles
from k2_streams.lake.table import Lake
from k2_streams.query.answer import NodeState
from k2_streams.query.engine import Engine, EngineConfig, EngineMemory
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.store_files import StoreFiles
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.control.memory import Memory, query_limit_bytes
from k2_streams.runtime.control.supervisor import Kept, Supervisor
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.node.tail_quota import TailRoom
from k2_streams.runtime.node.tailing import TailReader
from k2_streams.runtime.settings.worker import Settings
from k2_streams.state.spill import Spill


class Node:
    """Answers queries; needs no other worker for it."""

    def __init__(
        self,
        source: RawInput,
        settings: Settings,
        topic: TopicInfo,
        metrics: Metrics,
        clock: Clock,
        *,
        guard: Guard,
        reads: Guard,
        supervisor: Supervisor,
        hold_source: Callable[[bool], None],
        notional: Notional,
    ) -> None:
        stream = source.stream
        self._lag_records = 0
        self._level = Level.NORMAL.name
        spill = Spill(settings.worker_dir / "tail")
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
            metrics,
            supervisor,
            on_held=hold_source,
        )
        self.gaps = GapsView()
        folder = settings.lake.folder
        files = None if folder is not None else DataFiles()
        self.lake = LakeView(lambda: _open(stream, settings, clock, files), guard)
        self.reads = None if files is None else reads  # of an object store alone
        may_take = Memory(settings.overload.memory_limit_bytes).limit_bytes
        #: Of answers on their way: the same part of the process as queries have.
        self.answers_bytes = query_limit_bytes(may_take)
        self._engine = Engine(
            EngineConfig(
                memory_bytes=settings.query_memory_bytes or query_limit_bytes(may_take),
                allowed=() if folder is None else (folder,),
                store=None if files is None else StoreFiles(files, clock),
            ),
            clock,
        )
        metrics.query_memory_bytes.set_function(lambda: self.query_memory().used_bytes)
        metrics.query_footers_bytes.set_function(lambda: self.query_memory().footers_bytes)
        self.query = HybridQuery(
            self.tail,
            self.lake,
            self._engine,
            self.gaps,
            clock=clock,
            state=self._state,
            stream=stream,
            notional=notional,
            reads=self.reads,
            partitions=settings.partitions,
        )
        self.reader = TailReader(
            source,
            settings.kafka,
            settings.partitions,
            self.tail,
            self.gaps,
            metrics,
            clock,
            supervisor,
        )
        self._supervisor = supervisor
        self._refresher: Kept | None = None

    def _state(self) -> NodeState:
        return NodeState(
            level=self._level,
            lag_records=self._lag_records,
            dead_letters=self.reader.dead_letters.total,
            dead_letters_next=self.reader.dead_letters.reached(),
            stalled=bool(self.reader.stalled),
        )

    def report(self, lag_records: int, level: str) -> None:
        """What the answers say of this worker: raw records not yet worked or put off; its level."""
        self._lag_records = lag_records
        self._level = level

    def query_memory(self) -> EngineMemory:
        """What DuckDB holds."""
        return self._engine.memory()

    async def start(self) -> None:
        """Begin to follow log and lake."""
        self.room.start()
        self.reader.start(self._vector)
        self._refresher = self._supervisor.keep("lake-view", self.query.run)

    async def _vector(self) -> Vector:
        return (await self.lake.refresh()).vector

    async def close(self) -> None:
        """Stop answering."""
        await self.reader.close()
        await self.room.close()
        if self._refresher is not None:
            await self._refresher.close()
        await self.query.close()


def _open(stream: Stream, settings: Settings, clock: Clock, files: DataFiles | None) -> Lake:
    lake = Lake(settings.lake, clock, stream=stream, files=files)
    lake.create()  # a table that the sink cannot write to can still be read
    return lake
