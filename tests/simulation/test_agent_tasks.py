"""A task that runs declared agents: through kills it commits what row by row would have given."""

import asyncio
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from agent_world import (
    OUTPUT,
    POISON,
    SOURCE,
    TOTALS,
    Model,
    Row,
    batch_of,
    on_timer,
    totals,
)

from k2_streams.core.load.checkpoint_pace import DEFAULT_PACE
from k2_streams.core.records import log_record
from k2_streams.core.records.record_failures import RecordFailures
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import OverloadSettings
from k2_streams.runtime.task.agents import WATERMARK, AgentProgram
from k2_streams.runtime.task.lifecycle import TaskLifecycle
from k2_streams.runtime.task.resume import PositionError
from k2_streams.state.codec import POSITION_KEY
from k2_streams.state.position import decode_position
from k2_streams.testing.memory.clients import MemoryKafka, MemoryNetwork
from k2_streams.testing.memory.cluster import MemoryCluster
from k2_streams.testing.memory.disk import MemoryDisk
from k2_streams.testing.memory.faults import seeded
from k2_streams.testing.memory.loop import VirtualLoop, VirtualProcess
from k2_streams.testing.memory.ports import VirtualClock
from k2_streams.topology.context import Context
from k2_streams.topology.declarations import Agent, OnError, Table, Topology
from k2_streams.topology.errors import AgentStoppedError
from simulation.chaos import Chaos, Rates
from simulation.damage import damage

APP = "totals"
FOUND, DEAD = "k2.found", "k2.totals.ticks.dead-letter"
POSITIONS, TABLE = "totals-position-ticks-changelog", "totals-totals-changelog"
#: So small that a run of a hundred rows has many batches and checkpoints.
LIMITS = Limits(batch_records=3, inbox_records=12, checkpoint_records=7, log_record_rows=4,
                table_cache_rows=2, retake_first_s=0.05, retake_most_s=0.1)  # fmt: skip


def topology(on_error: OnError = OnError.DEAD_LETTER, table: Table = TOTALS) -> Topology:
    """The agent of `agent_world`; with a table of another version it is not called."""
    agent = Agent(
        "totals", SOURCE, totals, (table,), (OUTPUT,), on_error=on_error, on_timer=on_timer
    )
    return Topology(APP, (SOURCE,), (agent,), (table,), (OUTPUT,))


class World:
    """One partition of the log, and tasks that come and go."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(f"agents {seed}")
        threads = seeded(seed, "threads")
        self.loop = VirtualLoop(lambda: threads.uniform(0, 0.002))
        chaos = Chaos(seeded(seed, "chaos"))
        chaos.rates = Rates()
        names = [SOURCE.topic, FOUND, DEAD, POSITIONS, TABLE]
        self.cluster = MemoryCluster(self.loop, dict.fromkeys(names, 1))
        self.kafka = MemoryKafka(self.cluster, MemoryNetwork(self.loop, chaos))
        self.disk = MemoryDisk(read_s=0.0001)
        self.ended: list[TaskLifecycle] = []
        self.failures = {0: RecordFailures()}
        self.metrics: list[Metrics] = []  # of each process
        self.places: list[tuple[int, int]] = []  # of each row: its record's offset, and which

    def context(self, declared: Topology) -> Any:
        """Of a worker that has just been started."""
        clock, metrics = VirtualClock(self.loop), Metrics()
        self.metrics.append(metrics)
        return SimpleNamespace(
            program=AgentProgram.of(declared, SOURCE, self.cluster.topics, APP),
            source=self.cluster.topics[SOURCE.topic],
            settings=SimpleNamespace(
                app_id=APP,
                partitions=1,
                worker_dir=Path("/state"),
                kafka=self.kafka,
                pace=DEFAULT_PACE,
            ),
            kafka=self.kafka,
            clock=clock,
            metrics=metrics,
            pool=ThreadPoolExecutor(1),
            settling=Settling(self.kafka),
            overload=Overload(OverloadSettings(), clock),
            supervisor=Supervisor(clock, metrics),
            disk=self.disk,
            limits=LIMITS,
            committed={},
            history=None,
            failures=self.failures,
            sizes={},
        )

    def produce(self, rows: list[Row]) -> None:
        """The log: records of a few rows each, some of none, and offsets that no reader gets."""
        start = 0
        at = (SOURCE.topic, 0)
        while start < len(rows):
            count = self.chance.randint(0, 4)
            part = rows[start : start + count]
            offset = self.cluster.append(at, None, log_record.encode(batch_of(part), 0, 1))
            self.places += [(offset, row) for row in range(len(part))]
            if self.chance.random() < 0.3:
                self.cluster.marker(at)
            start += count

    @property
    def end(self) -> int:
        return self.cluster.partitions[SOURCE.topic, 0].end

    async def live(self, declared: Topology) -> None:
        """A process: takes the partition over and reads on, until it is killed."""
        context = self.context(declared)
        while True:
            task = TaskLifecycle(
                0, context, on_pause=lambda _: None, on_seek=lambda _: None,
                on_ended=self.ended.append,
            )  # fmt: skip
            ends = len(self.ended)
            await task.take_over()
            offset = task.next_offset
            while len(self.ended) == ends:
                await asyncio.sleep(self.chance.uniform(0, 0.1))
                log = self.cluster.partitions[SOURCE.topic, 0]
                records, position = log.read(offset, self.chance.randint(1, 5))
                if records:
                    tp = TopicPartition(SOURCE.topic, 0)
                    task.offer(Fetched(tp, offset, position, list(records), log.end))
                    offset = position
            if isinstance(task.error, AgentStoppedError):
                return
            await task.close()

    def committed(self, topic: str) -> list[Any]:
        return self.cluster.partitions[topic, 0].committed()

    def position(self) -> Any:
        values = [one.value for one in self.committed(POSITIONS) if one.key == POSITION_KEY]
        return decode_position(values[-1]) if values else None

    def rows_of(self, topic: str, prefix: bytes) -> dict[str, bytes]:
        """What a changelog comes to."""
        found: dict[str, bytes] = {}
        for record in self.committed(topic):
            if not record.key.startswith(prefix) or record.key == POSITION_KEY:
                continue
            key = record.key.removeprefix(prefix).decode()
            found.pop(key, None)
            if record.value is not None:
                found[key] = record.value
        return found

    def run(self, main: Any) -> Any:
        try:
            return self.loop.run_until_complete(main)
        finally:
            self.loop.abandon()

    def is_done(self) -> bool:
        """Whether the position is behind the last record."""
        position = self.position()
        records = self.committed(SOURCE.topic)
        return position is not None and position.next_offset > records[-1].offset

    async def until_done(self, kills: int, declared: Topology) -> None:
        """Processes that are killed at any moment; the last one comes to the end of the log."""
        for number in range(kills + 1):
            process = VirtualProcess(self.loop, f"worker {number}")
            process.start(self.live(declared))
            if number < kills:
                await asyncio.sleep(self.chance.uniform(0.05, 1.5))
                process.kill()
                self.disk.crash()
                if self.chance.random() < 0.4:
                    damage(self.disk, self.chance)
        async with asyncio.timeout(600):
            while not self.is_done():  # noqa: ASYNC110 - simulated time
                await asyncio.sleep(0.1)
        process.kill()
        self.disk.crash()


def named_by(letter: Any) -> tuple[int, int]:
    """The record and the row in it that a dead letter names."""
    headers = dict(letter.headers)
    assert headers["k2.agent"] == b"totals"
    return int(headers["k2.offset"]), int(headers["k2.row"])


def rows_of(chance: random.Random, count: int, *, poison: bool) -> list[Row]:
    amounts = [1, 2, 3, 3, 4, 5, 6, 6, 9, 12, 15, *([POISON] if poison else [])]
    return [
        Row(chance.choice("AB"), chance.randint(0, 400), chance.choice(amounts))
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(25))
def test_what_is_committed_through_kills_is_what_row_by_row_gives(seed: int) -> None:
    """Outputs in their order, dead letters, the table, the timers and the watermark."""
    world = World(seed)
    rows = rows_of(world.chance, world.chance.randint(20, 90), poison=seed % 3 == 0)
    world.produce(rows)
    world.run(world.until_done(kills=seed % 6, declared=topology()))
    model = Model()
    for number, row in enumerate(rows):
        model.process(number, row)
    found = [
        tuple(row.values())
        for record in world.committed(FOUND)
        for row in log_record.decode(record.value, 0, record.offset).rows.to_pylist()
    ]
    assert found == model.found
    assert {
        key: TOTALS.decode(value).total for key, value in world.rows_of(TABLE, b"").items()
    } == model.totals
    assert {
        key.partition("\0")[2]: int.from_bytes(value, signed=True)
        for key, value in world.rows_of(POSITIONS, b"\x02").items()
    } == model.timers
    dead = world.committed(DEAD)
    assert [json.loads(one.value)["amount"] for one in dead] == [POISON] * len(model.dead)
    assert [named_by(one) for one in dead] == [world.places[number] for number in model.dead]
    position = world.position()
    watermark = WATERMARK.read(position.sections)
    assert watermark is not None
    assert watermark.event_time_ns == model.watermark_ns
    assert position.tables["totals"].rows == len(model.totals)
    assert position.outputs[FOUND] == len(found)
    assert position.outputs[DEAD] == len(dead)
    assert position.versions == {"totals": 1}
    last = log_record.last_headers(world.committed(FOUND))
    assert last is not None
    assert (last.raw_next, last.dead_letters) == (position.next_offset, len(dead))


def test_a_row_that_an_agent_refuses_is_named_by_its_record_and_its_number_in_it() -> None:
    """In batches of several records."""
    world = World(5)
    rows = rows_of(world.chance, 60, poison=False)
    world.produce(rows)

    def refuse(batch: pa.RecordBatch, ctx: Context) -> None:
        for number, amount in enumerate(batch.column("amount").to_pylist()):
            if amount % 2 == 0:
                ctx.dead_letter(number, "even", f"found {amount}")

    agent = Agent("totals", SOURCE, refuse, (TOTALS,), (OUTPUT,))
    declared = Topology(APP, (SOURCE,), (agent,), (TOTALS,), (OUTPUT,))
    world.run(world.until_done(kills=1, declared=declared))
    even = [number for number, row in enumerate(rows) if row.amount % 2 == 0]
    assert [named_by(one) for one in world.committed(DEAD)] == [
        world.places[number] for number in even
    ]


def test_a_checkpoint_without_rows_says_how_far_it_came() -> None:
    """Readers of an output wait for what their source has."""
    world = World(4)
    world.cluster.append((SOURCE.topic, 0), None, log_record.encode(batch_of([]), 0, 1))
    world.run(world.until_done(kills=0, declared=topology()))
    last = log_record.last_headers(world.committed(FOUND))
    assert last is not None
    assert last.raw_next == world.position().next_offset == 1


def test_rows_are_counted_once_they_are_committed() -> None:
    """Of a process that nothing happens to: all of them."""
    world = World(3)
    rows = rows_of(world.chance, 50, poison=False)
    world.produce(rows)
    world.run(world.until_done(kills=0, declared=topology()))
    (metrics,) = world.metrics
    counted = metrics.registry.get_sample_value("k2_agent_rows_total", {"agent": "totals"})
    assert counted == len(rows)


def test_an_agent_that_stops_has_processed_what_is_in_front_and_nothing_behind() -> None:
    """After three failures at one place; the text names the agent."""
    world = World(1)
    rows = [Row("A", 1, 1), Row("A", 2, 2), Row("B", 3, POISON), Row("B", 4, 4)]
    for row in rows:
        world.cluster.append((SOURCE.topic, 0), None, log_record.encode(batch_of([row]), 0, 1))
    world.run(world.live(topology(OnError.STOP)))
    assert len(world.ended) == 3
    assert str(world.ended[-1].error).startswith("failed: agent totals: ValueError: poison")
    found = [
        row["symbol"]
        for record in world.committed(FOUND)
        for row in log_record.decode(record.value, 0, record.offset).rows.to_pylist()
    ]
    assert found in ([], ["A"], ["A", "A"])
    assert world.committed(DEAD) == []


def test_a_table_of_another_version_is_refused_with_the_command_that_helps() -> None:
    """Nothing is guessed at."""
    world = World(2)
    world.produce(rows_of(world.chance, 20, poison=False))

    async def main() -> None:
        await world.until_done(kills=0, declared=topology())
        changed = Table("totals", TOTALS.value, version=2)
        await world.live(topology(table=changed))

    with pytest.raises(PositionError, match=r"table totals: declared with version 2.*k2 app reset"):
        world.run(main())
