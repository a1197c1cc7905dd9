"""A tail and a sink that take from memory hold what they would hold from the topics alone.

Production's readers, producers and hand-over run on brokers in memory. Beside each reader stands
another one of the same log that is given nothing.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
from aiokafka.errors import KafkaError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lake_rows import record
from sink_world import TOPIC_ID, FakeLake

from k2_streams.core.load.circuit_breaker import BreakerPolicy
from k2_streams.core.records import events
from k2_streams.core.records.log_record import CheckpointHeaders, encode_records
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import TopicOffsets, Vector
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.topics import TopicInfo
from k2_streams.kafka.transactions import FencedError, OutputRecord, TransactionalProducer
from k2_streams.lake.breaker import Guard
from k2_streams.query.gaps import GapsView
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.committed_rows import (
    CommittedRows,
    HandOver,
    LogRecords,
    MarkerMissingError,
)
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.node.log_topics import LogTopics
from k2_streams.runtime.node.tailing import TailReader
from k2_streams.runtime.sinks.runner import SinkRunner
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.testing.memory.clients import MemoryKafka, MemoryNetwork
from k2_streams.testing.memory.cluster import MemoryCluster
from k2_streams.testing.memory.faults import MemoryFault, NoFaults, seeded
from k2_streams.testing.memory.loop import VirtualLoop
from k2_streams.testing.memory.ports import VirtualClock

LOG, DEAD_LETTERS, EVENTS, GROUP = TRADES.log, "k2.dead-letter", "k2.sequence-events", "k2"
OUTPUTS = TaskOutputs("k2.raw", (TRADES,), DEAD_LETTERS, EVENTS)
#: Some checkpoints, so that readers that lag are refused some.
FEW_BYTES = 12_000
MANY_BYTES = 1 << 20
#: Both readers have read everything, and the lake has it, by then.
END_S = 20.0
#: More records than a test writes.
MANY = 1_000_000


class Written(NamedTuple):
    """A checkpoint before it is committed."""

    log: list[OutputRecord]
    beside: list[OutputRecord]
    given: LogRecords
    events: list[events.AnyEvent]


def gap(first: int) -> events.GapOpened:
    return events.GapOpened(scope="X:A", session="", first=first, last=first, size="small")


class SlowNetwork(NoFaults):
    """Requests take time; the answers to some are lost."""

    def __init__(self, seed: int) -> None:
        super().__init__(seeded(seed, "network"))
        self.answers_until_lost = -1  # none is lost

    def happens(self, kind: MemoryFault) -> bool:
        if kind is not MemoryFault.LOST_ANSWER or self.answers_until_lost < 0:
            return False
        self.answers_until_lost -= 1
        return self.answers_until_lost < 0

    def one_way_s(self) -> float:
        return self.chance.uniform(0.0005, 0.02)


class FilledLake(FakeLake):
    """Keeps the rows too."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def append(self, rows: pa.Table, ranges: Any, **given: Any) -> Any:
        done = super().append(rows, ranges, **given)
        self.rows += rows.to_pylist()
        return done


class Readers:
    """A tail and a sink of the log, with what they are given."""

    def __init__(self, world: "LogWorld", limit_bytes: int) -> None:
        self.world, self.lake, self.metrics = world, FilledLake(), Metrics()
        self.committed = CommittedRows(world.clock, limit_bytes)
        self.tail, self.gaps = Tail(TRADES, topic_id=TOPIC_ID), GapsView()
        limits = Limits(tail_fetch_ms=100, sink_tick_s=0.05)
        self.reader = TailReader(
            TRADES,
            LogTopics(DEAD_LETTERS, EVENTS),
            world.kafka,
            1,
            self.tail,
            self.gaps,
            self.metrics.tail.of("trades"),
            world.clock,
            vector=self._vector,
            committed=self.committed,
            limits=limits,
        )
        self.position, self.held = 0, {"busy": False, "memory": False}
        self.sink_error: Exception | None = None
        self.sink = SinkRunner(
            self.lake,  # type: ignore[arg-type]
            world.kafka,
            world.cluster.topics[LOG],
            self.metrics.lake.of("trades"),
            world.clock,
            commit_every_s=0.5,
            commit_rows=30,
            on_pause=lambda _, held: self.held.update(busy=held),
            on_seek=self._seek,
            on_memory=lambda _, held: self.held.update(memory=held),
            on_committed=lambda _: None,
            committed=self.committed,
            thread=ThreadPoolExecutor(1),
            guard=Guard(BreakerPolicy(failures=2, open_s=1.0), world.clock),
            limits=limits,
        )

    async def _vector(self) -> Vector:
        return Vector({LOG: TopicOffsets(TOPIC_ID, {0: 0})})

    def _seek(self, starts: Any) -> None:
        self.position = starts[0]

    async def run(self) -> None:
        self.position = (await self.sink.assign({0}))[0]
        async with asyncio.TaskGroup() as group:
            for work in (self.reader.run_log, self.reader.run_events, self.reader.run_given):
                group.create_task(work())
            for work in (self.sink.run, self.sink.run_given, self._deliver):
                group.create_task(work())

    async def _deliver(self) -> None:
        """As the consumer's driver does: a fetch is on its way while others go ahead of it."""
        log = self.world.cluster.partitions[LOG, 0]
        while True:
            await asyncio.sleep(self.world.faults.one_way_s())
            if any(self.held.values()):
                continue
            start = self.position
            records, end = log.read(start, 3)
            if not records:
                continue
            self.position = end
            await asyncio.sleep(self.world.faults.one_way_s())
            try:
                self.sink.offer(Fetched(TopicPartition(LOG, 0), start, end, list(records), log.end))
            except MarkerMissingError as error:  # the partition stands still in front of it
                self.sink_error = error
                self.position = start

    def held_rows(self) -> list[Any]:
        """What the tail holds, and what it knows beside the rows."""
        view = self.tail.view().partitions[0]
        batches = [batch.load() for batch in view.batches]
        found = [
            (b.log_offset, b.source_partition, b.accepted_time_us, b.rows.to_pylist())
            for b in batches
        ]
        return [view.end, view.raw_next, view.deferred, view.held, found]

    def held_beside(self) -> list[Any]:
        """Gaps, and how many dead letters were read; and whether both reach as far as the rows."""
        ends = self.tail.ends
        dead = self.reader.dead_letters
        covers = (self.gaps.covers(ends), dead.reached() == ends)
        return [self.gaps.find(limit=10_000), self.gaps.totals(), dead.total, covers]

    def lake_rows(self) -> list[dict[str, Any]]:
        return sorted(self.lake.rows, key=lambda row: (row["log_offset"], row["log_row"]))

    def from_memory(self) -> float:
        labels = {"stream": "trades", "origin": "memory"}
        found = [
            self.metrics.registry.get_sample_value(f"k2_{one}_rows_read_total", labels) or 0
            for one in ("tail", "sink")
        ]
        return min(found)


class LogWorld:
    """One partition of a log, its writer, and two pairs of readers."""

    def __init__(self, seed: int, limit_bytes: int) -> None:
        self.loop = VirtualLoop()
        self.cluster = MemoryCluster(self.loop, {LOG: 1, DEAD_LETTERS: 1, EVENTS: 1})
        self.cluster.topics[LOG] = TopicInfo(LOG, TOPIC_ID, 1)
        self.faults = SlowNetwork(seed)
        self.kafka = MemoryKafka(self.cluster, MemoryNetwork(self.loop, self.faults))
        self.clock = VirtualClock(self.loop)
        self.given = Readers(self, limit_bytes)
        self.alone = Readers(self, 0)
        self._checkpoint = 0
        self._producer: TransactionalProducer | None = None
        self._hand_over: HandOver | None = None

    async def _writer(self) -> tuple[TransactionalProducer, HandOver]:
        if self._producer is None or self._hand_over is None:
            self._producer = TransactionalProducer(self.kafka, "task", 0)
            await self._producer.start()
            logs = {LOG: self.given.committed}
            self._hand_over = HandOver(0, logs, OUTPUTS, self.clock)
        return self._producer, self._hand_over

    def _committed(self, topic: str) -> int:
        return len(self.cluster.partitions[topic, 0].read(0, MANY)[0])

    def _written(self, rows: int, part: int) -> Written:
        number = self._checkpoint = self._checkpoint + 1
        found = [gap(number * 10 + one) for one in range(number % 3)]
        beside = [OutputRecord(EVENTS, b"X:A", events.encode(one)) for one in found]
        beside += [OutputRecord(DEAD_LETTERS, None, b"bad")] * (number % 2)
        headers = CheckpointHeaders(
            number * 10,
            None,
            number % 3,
            self._committed(EVENTS) + len(found),
            self._committed(DEAD_LETTERS) + number % 2,
            number % 2,
        )
        batches = [record(0, number, rows).rows]
        encoded = encode_records(TRADES.log_schema, batches, 0, number, part)
        outputs = [OutputRecord(LOG, None, one.value) for one in encoded]
        outputs[-1] = outputs[-1]._replace(headers=headers.encode())
        rows_of = tuple(one.rows for one in encoded)
        return Written(outputs, beside, LogRecords(LOG, rows_of, 0, number, headers), found)

    async def commit(self, rows: int, part: int) -> None:
        """A checkpoint of a task of this worker."""
        producer, hand_over = await self._writer()
        written = self._written(rows, part)
        try:
            committed = await producer.commit(written.log, [], GROUP, {}, written.beside)
        except KafkaError:
            self.end_task()
        else:
            hand_over.give([written.given], committed.offsets, written.events)

    async def commit_unheard(self, rows: int, part: int, answers: int) -> None:
        """The same, and after so many answers one is lost: its own, or a reader's."""
        self.faults.answers_until_lost = answers
        await self.commit(rows, part)
        self.faults.answers_until_lost = -1

    async def restart(self, rows: int, part: int, after_s: float, *, is_seen: bool = True) -> None:
        """A broker is killed when it has acknowledged a commit, and leaves its markers out."""
        producer, _ = await self._writer()
        self.cluster.unmarked = frozenset(self.cluster.partitions)
        await self.commit(rows, part)
        self.cluster.unmarked = frozenset()
        if is_seen:
            producer._producer.client.reconnect()
        await asyncio.sleep(after_s)
        await self.commit(rows, part)

    async def leave_open(self, rows: int) -> None:
        """A task is killed in the middle of a transaction; its successor aborts it."""
        producer, _ = await self._writer()
        written = self._written(rows, 2)
        await producer._producer.begin_transaction()
        for one in (*written.log, *written.beside):
            sent = await producer._producer.send(
                one.topic, value=one.value, key=None, partition=0, headers=one.headers
            )
            await sent
        self.end_task()
        await self._writer()

    async def elsewhere(self, rows: int, *, fence: bool) -> None:
        """Another worker commits: it took the partition over, or it may not write here at all."""
        other = TransactionalProducer(self.kafka, "task" if fence else "stranger", 0)
        await other.start()
        written = self._written(rows, 2)
        await other.commit(written.log, [], GROUP, {}, written.beside)

    def end_task(self) -> None:
        if self._hand_over is not None:
            self._hand_over.close()
        self._producer = self._hand_over = None

    async def play(self, acts: list[tuple[Any, ...]]) -> None:
        readers = [asyncio.ensure_future(one.run()) for one in (self.given, self.alone)]
        await asyncio.sleep(0.5)
        for name, *arguments in acts:
            await self._act(name, *arguments)
        for one in (self.given, self.alone):
            one.lake.away = False
        await asyncio.sleep(END_S)
        for one in readers:
            assert not one.done()
            one.cancel()

    async def _act(self, name: str, *arguments: Any) -> None:
        if name == "wait":
            await asyncio.sleep(*arguments)
        elif name == "lake away":
            self.given.lake.away = self.alone.lake.away = bool(*arguments)
        elif name == "end":
            self.end_task()
        elif name == "fenced":
            await self.elsewhere(*arguments, fence=True)
        elif name == "stranger":
            await self.elsewhere(*arguments, fence=False)
        else:
            acts = {
                "commit": self.commit,
                "unheard": self.commit_unheard,
                "restart": self.restart,
                "restart unseen": partial(self.restart, is_seen=False),
                "open": self.leave_open,
            }
            with suppress(FencedError, KafkaError):
                await acts[name](*arguments)
                return
            self.end_task()


def played(seed: int, limit_bytes: int, acts: list[tuple[Any, ...]]) -> LogWorld:
    world = LogWorld(seed, limit_bytes)
    try:
        world.loop.run_until_complete(world.play(acts))
    finally:
        world.loop.abandon()
    return world


ROWS, PART = st.integers(0, 6), st.integers(1, 3)
ACTS = st.one_of(
    st.tuples(st.just("commit"), ROWS, PART),
    st.tuples(st.just("commit"), ROWS, PART),
    st.tuples(st.just("unheard"), ROWS, PART, st.integers(0, 8)),
    st.tuples(st.just("restart"), ROWS, PART, st.sampled_from([0.0, 0.1, 1.5])),
    st.tuples(st.just("open"), ROWS),
    st.tuples(st.sampled_from(["fenced", "stranger"]), ROWS),
    st.tuples(st.just("end")),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.1, 0.6, 1.5])),
    st.tuples(st.just("lake away"), st.booleans()),
)


COMMIT = ("commit", 6, 3)
#: What others commit between two checkpoints, before a reader has gone back to the log.
STRANGER = [COMMIT, COMMIT, ("stranger", 3), COMMIT, ("wait", 0.6), ("stranger", 2), COMMIT]
#: A sink that is full is given more than may wait for it.
LAG = [("lake away", True), *[COMMIT] * 40, ("lake away", False), *[COMMIT, ("wait", 0.6)] * 8]
#: A broker is restarted between a commit's answer and its markers: before readers have gone back to
#: the log, and after.
RESTARTS = [COMMIT, ("restart", 3, 2, 0.1), COMMIT, ("restart", 3, 2, 1.5), ("wait", 1.5), COMMIT]
#: Its task's successor is another worker's, then again one of this worker.
SUCCESSORS = [COMMIT, COMMIT, ("fenced", 4), COMMIT, COMMIT, ("wait", 0.1), COMMIT, COMMIT]
#: Behind what is aborted nothing comes any more: there is nothing to say what belongs to it.
ABORTED_LAST = [("fenced", 0), ("restart", 4, 2, 0.0), ("fenced", 0), ("end",), ("open", 0)]


@settings(max_examples=40, deadline=None)
@example(1, MANY_BYTES, STRANGER)
@example(2, FEW_BYTES, LAG)
@example(3, MANY_BYTES, SUCCESSORS)
@example(4, MANY_BYTES, RESTARTS)
@example(0, FEW_BYTES, ABORTED_LAST)
@example(4493, FEW_BYTES, ABORTED_LAST)
@given(
    st.integers(0, 1 << 16),
    st.sampled_from([FEW_BYTES, MANY_BYTES]),
    st.lists(ACTS, max_size=25),
)
def test_rows_from_memory_are_those_of_the_log(seed, limit_bytes, acts):
    world = played(seed, limit_bytes, acts)
    assert world.given.held_rows() == world.alone.held_rows()
    assert world.given.lake_rows() == world.alone.lake_rows()
    assert world.given.held_beside() == world.alone.held_beside()


def test_both_readers_take_rows_from_memory_while_checkpoints_follow_each_other():
    """Else the comparison above would compare the log with itself."""
    acts = [one for _ in range(20) for one in (("commit", 5, 2), ("wait", 0.1))]
    world = played(1, MANY_BYTES, acts)
    assert len(world.given.lake_rows()) == 100
    assert world.given.from_memory() >= 80
    assert world.alone.from_memory() == 0


def test_a_record_where_a_marker_was_expected_stops_its_partition():
    """A broker's host lost its power: no connection was closed, so the producer went on."""
    world = played(5, MANY_BYTES, [COMMIT, ("restart unseen", 3, 3, 1.5), ("wait", 2.0)])
    (fault,) = world.given.reader.faults
    assert "expected the marker of a committed transaction" in fault.error
    assert isinstance(world.given.sink_error, MarkerMissingError)
    assert len(world.given.lake_rows()) < len(world.alone.lake_rows())
