"""Topics in memory, the tail reader that follows one of them, and the tail it fills."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from aiokafka.errors import OffsetOutOfRangeError
from metric_values import value
from sink_world import HandClock

from k2_streams.core.records import log_record
from k2_streams.core.records.log_chunk import LogChunk
from k2_streams.core.records.log_record import CheckpointHeaders, LogBatch
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import TopicOffsets, Vector
from k2_streams.query.gaps import GapsView
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.committed_rows import CommittedRows
from k2_streams.runtime.limits import DEFAULT_LIMITS
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.node.log_topics import LogTopics
from k2_streams.runtime.node.tailing import TailReader

TOPIC_ID = "topic-1"
ACCEPTED_US = 1_763_899_200_000_000


class MemoryTopics:
    """Stands where `KafkaConfig` does: its consumers read lists of committed records."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], list[Any]] = defaultdict(list)
        self.read: set[str] = set()  # topics that a consumer was assigned to
        self.begins: dict[tuple[str, int], int] = {}  # what is below was deleted
        self.paused: set[tuple[str, int]] = set()

    def append(
        self,
        topic: str,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int = 0,
    ) -> None:
        log = self.records[topic, partition]
        log.append(
            SimpleNamespace(
                offset=len(log), key=None, value=value, headers=tuple(headers), timestamp=0
            )
        )

    def consumer(self, **_: Any) -> "MemoryConsumer":
        return MemoryConsumer(self)


class MemoryConsumer:
    """What `LogReader` calls of aiokafka's."""

    def __init__(self, topics: MemoryTopics) -> None:
        self._topics = topics
        self._positions: dict[Any, int] = {}
        self._paused: set[Any] = set()

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def assign(self, tps: Sequence[Any]) -> None:
        self._positions = dict.fromkeys(tps, 0)
        self._topics.read |= {tp.topic for tp in tps}

    def seek(self, tp: Any, offset: int) -> None:
        self._positions[tp] = offset

    async def position(self, tp: Any) -> int:
        return self._positions[tp]

    async def getmany(self, **_: Any) -> dict[Any, list[Any]]:
        await asyncio.sleep(0)
        found = {}
        for tp, offset in self._positions.items():
            if tp in self._paused:
                continue
            if offset < self._topics.begins.get(tuple(tp), 0):
                raise OffsetOutOfRangeError(tp)
            found[tp] = self._topics.records[tuple(tp)][offset:]
            self._positions[tp] += len(found[tp])
        return found

    def pause(self, tp: Any) -> None:
        self._paused.add(tp)
        self._topics.paused.add(tuple(tp))

    def resume(self, tp: Any) -> None:
        self._paused.discard(tp)
        self._topics.paused.discard(tuple(tp))

    def last_stable_offset(self, tp: Any) -> int:
        return len(self._topics.records[tuple(tp)])

    highwater = last_stable_offset

    async def beginning_offsets(self, tps: Sequence[Any]) -> dict[Any, int]:
        return {tp: self._topics.begins.get(tuple(tp), 0) for tp in tps}

    async def end_offsets(self, tps: Sequence[Any]) -> dict[Any, int]:
        return {tp: self.last_stable_offset(tp) for tp in tps}


class TailWorld:
    """The tail of one stream, of one partition."""

    def __init__(self, stream: Stream, beside: LogTopics, *, in_lake: int = 0) -> None:
        self.stream, self.beside = stream, beside
        self.topics, self.clock, self.metrics = MemoryTopics(), HandClock(), Metrics()
        self.tail = Tail(stream, topic_id=TOPIC_ID)
        self.gaps = None if beside.events is None else GapsView()
        self._in_lake = in_lake
        self.committed = CommittedRows(self.clock, DEFAULT_LIMITS.committed_rows_bytes)
        self.reader = TailReader(
            stream,
            beside,
            self.topics,  # type: ignore[arg-type]
            1,
            self.tail,
            self.gaps,
            self.metrics.tail.of(stream.name),
            self.clock,
            vector=self._vector,
            committed=self.committed,
        )

    async def _vector(self) -> Vector:
        return Vector({self.stream.log: TopicOffsets(TOPIC_ID, {0: self._in_lake})})

    def checkpoint(
        self, rows: Sequence[dict[str, Any]], headers: CheckpointHeaders, dead_letters: int = 0
    ) -> None:
        """As a task's transaction commits it: rows, and dead letters beside them."""
        for _ in range(dead_letters):
            self.topics.append(self.beside.dead_letters, b"")
        batch = pa.RecordBatch.from_pylist(list(rows), schema=self.stream.log_schema)
        (value,) = log_record.encode_checkpoint(self.stream.log_schema, [batch], 0, ACCEPTED_US)
        self.topics.append(self.stream.log, value, headers.encode())

    def chunk(
        self, offset: int, rows: Sequence[dict[str, Any]], headers: CheckpointHeaders
    ) -> LogChunk:
        """A checkpoint as its task gives it, at an offset of the log."""
        batch = pa.RecordBatch.from_pylist(list(rows), schema=self.stream.log_schema)
        batches = (LogBatch(batch, 0, ACCEPTED_US, 0, offset),)
        return LogChunk(0, offset, offset + 1, batches, headers, 0)

    def freshness_s(self) -> float:
        """The sum of what was observed."""
        name, stream = "k2_freshness_seconds_sum", self.stream.name
        return value(self.metrics.registry, name, stream=stream)

    async def follow(self, until: Callable[[], bool]) -> None:
        """Run both readers until something is so."""
        await self.follow_through((until, lambda: None))

    async def follow_through(self, *steps: tuple[Callable[[], bool], Callable[[], None]]) -> None:
        """Run both readers; whenever something is so, do the next thing."""
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            running = [
                group.create_task(self.reader.run_log()),
                group.create_task(self.reader.run_events()),
                group.create_task(self.reader.run_given()),
            ]
            for is_so, act in steps:
                while not is_so():  # noqa: ASYNC110 - each turn is one of the readers'
                    await asyncio.sleep(0)
                act()
            for task in running:
                task.cancel()
