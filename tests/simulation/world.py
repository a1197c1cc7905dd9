"""One run of the simulation: a seed, a world, a trace, and what was violated in it, if anything."""

import asyncio
import contextlib
import random
import sys
import time
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import structlog
from pyiceberg import table as pyiceberg_table
from pyiceberg.manifest import clear_manifest_cache

from k2_streams.core.records.log_chunk import LogChunk
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.topics import DEAD_LETTER, EVENTS, RAW, TRADES
from k2_streams.query.errors import QueryError
from k2_streams.testing.memory.catalog import MemoryCatalogService
from k2_streams.testing.memory.clients import MemoryNetwork
from k2_streams.testing.memory.cluster import At, MemoryCluster
from k2_streams.testing.memory.disk import Entries, MemoryDisk
from k2_streams.testing.memory.faults import seeded
from k2_streams.testing.memory.group import SESSION_S, MemoryGroup
from k2_streams.testing.memory.loop import PROCESS, LoopStuckError, ProcessState, VirtualLoop, pause
from k2_streams.testing.memory.ports import IDLE_SHARE, VirtualClock
from k2_streams.testing.memory.worker import MemoryWorker
from simulation import checks
from simulation.chaos import Chaos
from simulation.checks import TABLE, Log, ViolationError
from simulation.damage import damage
from simulation.lake_files import LakeFiles
from simulation.shortcuts import shortcuts
from simulation.venue import Venue
from simulation.worker import FREE_BYTES, READ_S, SimWorker, rows_read

PARTITIONS = 2
#: A piece of work waits so long for its thread, at the most.
THREAD_WAIT_S = 0.002
#: For so long records come and faults happen.
FAULTS_S = 14.0
#: Without faults everything must be judged, committed and in the lake within this.
CALM_S = 150.0
#: A killed worker comes back after this, or only when its session is over.
RESTART_S = (0.3, 2.0)

#: What a worker's memory may come to: a share for each level, from NORMAL up.
MEMORY_SHARES = (IDLE_SHARE, 0.75, 0.85, 0.92, 0.97)
#: How often a log's partition and the source's of the same number have one owner.
TOGETHER = 0.7
#: What waits for a reader from memory: nothing, a few checkpoints, whatever comes.
COMMITTED_ROWS_BYTES = (0, 8_000, 1 << 20)
#: Others fill a disk for so long.
DISK_FULL_S = (0.5, 6.0)
#: Of a log, as metrics name them.
READERS = ("tail", "sink")
#: How often every worker is asked for its status.
STATUS_EVERY_S = 0.5
#: What a worker logs that the runs must have met.
MET = {
    "degradation level changed": "levels",
    "source paused: the tail is full": "tail_full",
    "source resumed: the tail has room": "tail_room",
    "files compacted": "compacted",
}


@dataclass
class Outcome:
    """What became of a run."""

    seed: int
    violation: str | None = None
    trace: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The trace, and the violation, as they are printed."""
        last = "no violation" if self.violation is None else f"VIOLATION: {self.violation}"
        return "\n".join([f"seed {self.seed}", *self.trace, last]) + "\n"


class World:
    """Everything of a run.

    With `is_maintained` its table is compacted and expires meanwhile; beside its workers there may
    be query nodes, which are killed, stopped and asked as those are.
    """

    def __init__(self, seed: int, *, is_maintained: bool = False, query_nodes: int = 0) -> None:
        self.outcome = Outcome(seed)
        self._is_maintained = is_maintained
        threads = seeded(seed, "threads")
        self.loop = VirtualLoop(lambda: threads.uniform(0, THREAD_WAIT_S))
        self.chaos = Chaos(seeded(seed, "chaos"))
        self._fate = seeded(seed, "fate")
        changelog = checks.CHANGELOG
        topics = dict.fromkeys(
            [
                RAW,
                TRADES,
                EVENTS,
                DEAD_LETTER,
                TRADES_INPUT.deferred,
                TRADES_INPUT.levels,
                changelog,
                checks.IDS_CHANGELOG,
            ],
            PARTITIONS,
        )
        self.cluster = MemoryCluster(self.loop, topics)
        self.cluster.forgotten = self._forgotten
        self.network = MemoryNetwork(self.loop, self.chaos)
        self.service = MemoryCatalogService(self.loop, self.chaos, self._lake_moved)
        self.files = LakeFiles(self.service.warehouse)
        tps = [TopicPartition(topic, p) for p in range(PARTITIONS) for topic in (RAW, TRADES)]
        memory = seeded(seed, "memory")
        self.group = MemoryGroup(self.loop, tps, together=memory.random() < TOGETHER)
        self._committed_rows_bytes = memory.choice(COMMITTED_ROWS_BYTES)
        self.log = Log(self.cluster)
        self.venues = [
            Venue(self.cluster, p, PARTITIONS, seeded(seed, f"venue {p}"))
            for p in range(PARTITIONS)
        ]
        self._members = self._fate.choice([1, 2, 2, 3])  # of the group; query nodes have ids above
        workers = self._members + query_nodes
        self.disks = [
            MemoryDisk(self._store_written, free_bytes=FREE_BYTES, read_s=READ_S)
            for _ in range(workers)
        ]
        self.clocks = [VirtualClock(self.loop) for _ in range(workers)]
        self.workers = [self._new_worker(number) for number in range(workers)]
        self.loop.set_exception_handler(self._unheard)
        self._read_before = {reader: rows_read(reader, "memory") for reader in READERS}
        self._calm = False
        self.is_over = False

    # -- what happens ------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole run.

        Raises:
            ViolationError: something that must hold does not.
        """
        acts = [
            asyncio.create_task(act)
            for act in (self._send(), self._spoil(), self._ask(), self._watch(), self._look())
        ]
        try:
            await asyncio.sleep(FAULTS_S)
            self._come_to_rest()
            for _ in range(int(CALM_S / 0.25)):
                await asyncio.sleep(0.25)
                self._check_now()
                if self._is_done():
                    break
            else:
                raise ViolationError(
                    f"not done after {CALM_S:.0f} s without a fault: {self._where()}"
                )
        finally:
            for act in acts:
                act.cancel()
        await self._check_the_end()

    def _forgotten(self, places: list[At]) -> set[At]:
        """Those of a transaction's partitions that are taken for deleted while a broker starts."""
        if not self.chaos.happens("unmarked"):
            return set()
        return {at for at in places if self.chaos.chance.random() < 0.5}

    async def _send(self) -> None:
        for _ in range(self._fate.randrange(4, 11)):
            await asyncio.sleep(self._fate.uniform(0, FAULTS_S / 6))
            self._fate.choice(self.venues).burst()

    async def _spoil(self) -> None:
        """Kills, stops, rebalances, jumps of a clock."""
        while not self._calm:
            await asyncio.sleep(1.0)
            for number, worker in enumerate(self.workers):
                if worker.process.state is not ProcessState.RUNNING:
                    continue
                if self.chaos.happens("kill"):
                    self.kill(worker, "kill -9")
                elif self.chaos.happens("stop"):
                    self._stop(worker)
                elif self.chaos.happens("clock"):
                    self.clocks[number].skew_s = self._fate.choice([-3600.0, -1.5, 0.0, 3600.0])
                    self.trace(f"{worker.name} clock {self.clocks[number].skew_s:+.1f} s")
                if self.chaos.happens("load"):
                    self._load(worker, self._fate.choice(MEMORY_SHARES))
                if self.chaos.happens("disk_full"):
                    self._fill(number)
            if self.chaos.happens("rebalance"):
                self.trace("rebalance")
                self.group.rebalance()

    def kill(self, worker: MemoryWorker, why: str) -> None:
        """End a worker at once; it comes back later, on the disk as it then is."""
        if worker.process.state is ProcessState.KILLED:
            return
        worker.process.kill()
        disk = self.disks[worker.number]
        disk.crash()
        spoilt = f", disk: {damage(disk, self.chaos.chance)}" if self.chaos.happens("disk") else ""
        self.trace(f"{worker.name} dies: {why}{spoilt}")
        away_s = self._fate.uniform(*RESTART_S)
        if self._fate.random() < 0.3:
            away_s += SESSION_S
        self.loop.later(away_s, self._restart, worker.number)

    def _restart(self, number: int) -> None:
        self.trace(f"worker-{number} starts")
        self.workers[number] = self._new_worker(number)

    def _stop(self, worker: SimWorker) -> None:
        worker.process.stop()
        stopped_s = self._fate.uniform(0.5, 3 * SESSION_S)
        self.trace(f"{worker.name} stopped for {stopped_s:.3f} s")
        self.loop.later(stopped_s, self._go_on, worker)

    def _go_on(self, worker: SimWorker) -> None:
        if worker.process.state is ProcessState.STOPPED:
            self.trace(f"{worker.name} goes on")
            worker.process.go_on()

    def _load(self, worker: SimWorker, share: float) -> None:
        """A worker takes another share of its memory; its monitor decides what follows."""
        if worker.memory.share != share:
            self.trace(f"{worker.name} takes {share:.0%} of its memory")
            worker.memory.share = share

    def _fill(self, number: int) -> None:
        """Others fill a worker's disk, and make room again."""
        self.disks[number].free = 0
        full_s = self._fate.uniform(*DISK_FULL_S)
        self.trace(f"worker-{number} disk full for {full_s:.3f} s")
        self.loop.later(full_s, self._make_room, number)

    def _make_room(self, number: int) -> None:
        self.disks[number].free = FREE_BYTES

    def _come_to_rest(self) -> None:
        self._calm = True
        self.trace("calm")
        self.chaos.calm()
        for worker in self.workers:
            self._go_on(worker)
            self._load(worker, IDLE_SHARE)
        for number in range(len(self.disks)):
            self._make_room(number)
        for venue in self.venues:
            venue.burst()  # a batch that was lost shows when the next one comes

    def _new_worker(self, number: int) -> SimWorker:
        return SimWorker(
            number,
            loop=self.loop,
            chaos=self.chaos,
            cluster=self.cluster,
            network=self.network,
            service=self.service,
            group=self.group,
            disk=self.disks[number],
            clock=self.clocks[number],
            partitions=PARTITIONS,
            committed_rows_bytes=self._committed_rows_bytes,
            died=self.kill,
            is_maintained=self._is_maintained,
            role="all" if number < self._members else "query",
            given=self._given,
        )

    # -- what must hold ----------------------------------------------------------------------

    async def _ask(self) -> None:
        while True:
            await asyncio.sleep(self._fate.uniform(0.2, 2.0))
            worker = self._fate.choice(self.workers)
            if worker.process.state is ProcessState.RUNNING:
                worker.process.start(self._answer(worker))

    async def _answer(self, worker: SimWorker) -> None:
        try:
            rows = await checks.answer_is_whole(worker, self.files, self.log)
        except QueryError as error:
            self.trace(f"{worker.name} answers: {type(error).__name__}")
        except ViolationError as violation:
            self._violated(violation)
        else:
            self.trace(f"{worker.name} answers {rows} rows")
            self.chaos.count("answers")
            if worker.number >= self._members:
                self.chaos.count("query_node_answers")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            for worker in self.workers:
                if worker.process.state is not ProcessState.RUNNING:
                    continue
                for written in worker.parts.written:
                    if written.sink.error is not None:
                        error = written.sink.error
                        self._violated(ViolationError(f"{worker.name} sink: {error}"))
                if worker.main.done():
                    ended = f"{worker.name} ended: {worker.main.exception()!r}"
                    self._violated(ViolationError(ended))
                for name, error in worker.parts.supervisor.failing.items():
                    self._violated(ViolationError(f"{worker.name}: {name} failed: {error}"))

    async def _look(self) -> None:
        """Ask every worker for its status, whatever it is doing."""
        while True:
            await asyncio.sleep(STATUS_EVERY_S)
            for worker in self.workers:
                if worker.process.state is ProcessState.RUNNING:
                    try:
                        checks.status_is_true(worker, self.cluster)
                    except Exception as error:  # noqa: BLE001 - whatever it raises: it must answer
                        self._violated(error)

    def _store_written(self, path: Path, rows: Entries) -> None:
        try:
            checks.store_written(self.cluster, path, rows)
        except ViolationError as violation:
            self._violated(violation)

    def _given(self, chunk: LogChunk) -> None:
        try:
            checks.given_is_committed(self.cluster, chunk)
        except ViolationError as violation:
            self._violated(violation)

    def _lake_moved(self, table: str) -> None:
        metadata = self.service.table(table)
        assert metadata is not None
        try:
            checks.lake_moved(self.service)
        except Exception as error:  # noqa: BLE001 - production's own reading may refuse it
            self._violated(error)
        offsets = checks.vector_of(metadata).topics.get(TRADES)
        self.trace(f"lake at {dict(offsets.next) if offsets else {}}")

    def _violated(self, violation: Exception) -> None:
        """The first one counts; production would catch it where it was found."""
        if self.outcome.violation is None and not self.is_over:
            self.outcome.violation = f"{violation}"
            self.loop.stop()

    def _unheard(self, _loop: Any, context: dict[str, Any]) -> None:
        """A task of production ended with an error that nobody was told of."""
        if not self.is_over:
            error = context.get("exception")
            self._violated(ViolationError(f"{context['message']}: {type(error).__name__}: {error}"))

    def _check_now(self) -> None:
        for worker in self.workers:
            if worker.process.state is ProcessState.KILLED:
                continue
            refused = worker.parts.owner.refused
            if refused and not self._operate(worker):
                raise ViolationError(f"{worker.name} refuses {refused}")

    def _operate(self, worker: SimWorker) -> bool:
        """The documented remedy for a hanging transaction whose outcome nobody knows (ADR 0006).

        False if a partition is refused for any other reason, which nothing here may cause.
        """
        refused = {tp.partition for tp in worker.parts.owner.refused}
        if not all(self.cluster.end_hanging(partition) for partition in refused):
            return False
        self.trace(f"operator aborts hanging transactions of partitions {sorted(refused)}")
        self.chaos.count("operator")
        self.kill(worker, "restarted by its operator")
        return True

    def _is_done(self) -> bool:
        running = all(w.process.state is ProcessState.RUNNING for w in self.workers)
        return (
            running
            and all(checks.is_at_rest(worker) for worker in self.workers)
            and all(
                checks.source_is_worked(self.cluster, p, venue)
                for p, venue in enumerate(self.venues)
            )
            and checks.lake_has_all(self.cluster, self.service, PARTITIONS)
        )

    async def _check_the_end(self) -> None:
        rows = sum(
            checks.partition_is_true(self.cluster, p, venue) for p, venue in enumerate(self.venues)
        )
        found = checks.lake_is_whole(self.service, self.files, self.log, PARTITIONS)
        checks.require(found == rows, "the lake has not every row", found, rows)
        for worker in self.workers:
            await worker.process.start(self._answer(worker))
        self.outcome.counts = {
            **self.chaos.counts,
            "rows": rows,
            **checks.findings(self.venues),
            "fenced": self.cluster.fenced,
            "snapshots": len(self.service.history(TABLE)),
            "generations": self.group.generation,
            **{f"{reader}_from_memory": int(self._from_memory(reader)) for reader in READERS},
        }

    def _from_memory(self, reader: str) -> float:
        return rows_read(reader, "memory") - self._read_before[reader]

    def _where(self) -> str:
        parts = [f"generation {self.group.generation}"]
        for worker in self.workers:
            owner = worker.parts.owner
            tasks = {tp.partition: t.state.value for tp, t in owner.tasks.items()}
            sinks = [f"{one.sink.positions} {one.sink.retrying}" for one in worker.parts.written]
            parts.append(
                f"{worker.name} {worker.process.state.value} tasks {tasks} "
                f"sinks {sinks} {worker.parts.status.ready()}"
            )
        return ", ".join(parts)

    def trace(self, line: str) -> None:
        """A line of the trace."""
        self.outcome.trace.append(f"{self.loop.time():10.6f} {line}")

    def log_line(self, _logger: Any, level: str, event: dict[str, Any]) -> Any:
        """What production logs, into the trace."""
        if self.is_over:
            raise structlog.DropEvent
        process = PROCESS.get()
        if event.get("event") in MET:
            self.chaos.count(MET[str(event["event"])])
        said = " ".join(f"{key}={value}" for key, value in event.items() if key != "event")
        self.trace(f"{process.name if process else '-'} {event.get('event')} {said}".rstrip())
        raise structlog.DropEvent


def run(seed: int, *, is_maintained: bool = False, query_nodes: int = 0) -> Outcome:
    """Run a seed, on this thread; the same seed gives the same outcome, trace and all."""
    world = World(seed, is_maintained=is_maintained, query_nodes=query_nodes)
    with _surroundings(world):
        try:
            world.loop.run_until_complete(world.run())
        except (ViolationError, LoopStuckError) as violation:
            world.outcome.violation = world.outcome.violation or str(violation)
        except RuntimeError:
            if world.outcome.violation is None:  # else the loop was stopped because of it
                raise
        finally:
            world.is_over = True
            world.loop.abandon()
    return world.outcome


@contextlib.contextmanager
def _surroundings(world: World) -> Iterator[None]:
    """What is drawn or read without a seam in libraries: ids, pauses, threads; and the limits."""
    ids = seeded(world.outcome.seed, "ids")
    state = random.getstate()
    random.seed(world.outcome.seed)  # pyiceberg's jitter
    ticks = SimpleNamespace(sleep=pause, monotonic=world.loop.time, time=time.time)
    changes = [
        (uuid, "uuid4", lambda: uuid.UUID(int=ids.getrandbits(128), version=4)),
        (pyiceberg_table, "time", ticks),
        *shortcuts(),
        (sys, "unraisablehook", lambda _: None),  # what a killed process would have done in its end
    ]
    kept = [(owner, name, owner.__dict__[name]) for owner, name, _ in changes]
    structlog.configure(processors=[world.log_line])
    clear_manifest_cache()
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)
        structlog.reset_defaults()
        random.setstate(state)
