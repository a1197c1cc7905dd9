"""A worker of the simulation: production's parts, wired as `runtime.app` wires them.

Simulated is what is Faust's there: the group's heartbeats, the fetch loop, its deliveries.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.feeds.feed import FEEDS
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.topics import RAW, TRADES, changelog_topic
from k2_streams.lake.breaker import Guard
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.query.errors import QueryError
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.assignment import Ownership
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.control.watchdog import Watchdog
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.faust_driver.gate import FlowGate
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.node.tailing import TailReader
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.sinks.runner import SinkRunner
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.lifecycle import TaskLifecycle
from simulation.catalog import Service, SimCatalog
from simulation.chaos import Chaos
from simulation.disk import SimDisk
from simulation.group import Group
from simulation.log import BEGIN_MS, Cluster, Network, SimKafka, grown
from simulation.loop import Loop, Process, pause
from simulation.venue import LATE_HORIZON_S

logging.getLogger("pyiceberg").setLevel(logging.ERROR)  # its retries are in the trace

APP = "k2"
HEARTBEAT_S = 1.0
FETCH_WAIT_S = 1.0
#: Small, so that a backlog is several batches.
FETCH_RECORDS = 12
#: Rows wait so long for the lake, and so many do not wait.
COMMIT_EVERY_S, COMMIT_ROWS = 2.0, 40
#: Filters so small that most of what is asked is "maybe": the store has to confirm it.
DEDUP_IDS, DEDUP_RATE = 32, 0.5

#: Counting is not what is simulated: one registry for all runs.
METRICS = Metrics()


class SimClock:
    """A worker's calendar, which may be off and jump, and a time that only grows."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.skew_s = 0.0

    def time_ns(self) -> int:
        return BEGIN_MS * 1_000_000 + int((self._loop.time() + self.skew_s) * 1e9)

    def monotonic(self) -> float:
        return self._loop.time()


class _Closed:
    """`threading.Event` for a simulated thread."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def wait(self, timeout_s: float) -> bool:
        if not self._set:
            pause(timeout_s)
        return self._set


def open_lake(service: Service, clock: SimClock) -> Lake:
    """A `Lake` on the simulated catalog."""
    config = LakeConfig("simulated:catalog", "memory://warehouse")
    lake = Lake(config, clock, lambda _: SimCatalog(service), stream=TRADES_INPUT.stream)
    lake._closed = _Closed()
    return lake


class Worker:
    """One process."""

    def __init__(
        self,
        name: int,
        *,
        loop: Loop,
        chaos: Chaos,
        cluster: Cluster,
        network: Network,
        service: Service,
        group: Group,
        disk: SimDisk,
        clock: SimClock,
        partitions: int,
        died: Callable[["Worker", str], None],
    ) -> None:
        self.number = name
        self.name = f"worker-{name}"
        self.process = Process(loop, self.name)
        self.owner: Ownership
        self.query: HybridQuery
        self.main: asyncio.Task[Any]
        self.assigned: set[TopicPartition] = set()
        self._loop = loop
        self._chaos = chaos
        self._cluster = cluster
        self._network = network
        self._service = service
        self._group = group
        self._disk = disk
        self._clock = clock
        self._partitions = partitions
        self._died = died
        self._chain: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}  # with the markers behind the last record
        self._paused: set[TopicPartition] = set()
        self._generation = -1
        self._flowing = False
        self.is_wired = False
        self._futures: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Begin to live."""
        self.main = self.process.start(self._main())

    async def _main(self) -> None:
        self._wire()
        self.is_wired = True
        self.reader.start(self._vector)
        self._add_future(self.query.run())
        self._watchdog._beat = self._clock.monotonic()
        self._add_future(self._watchdog._watch())
        self._add_future(self._fetch())
        fresh = True
        while True:
            generation, assigned = await self._join(fresh=fresh)
            fresh = False
            self.assigned = assigned
            if generation != self._generation or not self._flowing:
                self._generation = generation
                await self._take_over(assigned)
            await self._stay()
            # As Faust does: the flow stops, then the owner finishes what is open.
            self._flowing = False
            await self.owner.release(self.assigned)

    async def _stay(self) -> None:
        """Until the coordinator has decided anew."""
        while self._group.heartbeat(self.name, self._generation):  # noqa: ASYNC110 - a heartbeat
            await asyncio.sleep(HEARTBEAT_S)

    async def _join(self, *, fresh: bool) -> tuple[int, set[TopicPartition]]:
        await asyncio.sleep(self._chaos.one_way_s())
        return await self._group.join(self.name, fresh=fresh)

    async def _take_over(self, assigned: set[TopicPartition]) -> None:
        positions = await self.owner.take_over(assigned, self._generation)
        self._paused |= assigned - set(positions)
        self._flowing = True
        await self._resume(positions)

    async def _vector(self) -> Any:
        return (await self._view.refresh()).vector

    def _wire(self) -> None:
        cluster, clock = self._cluster, self._clock
        kafka = SimKafka(cluster, self._network)
        settings = Settings(
            kafka=kafka,
            lake=LakeConfig("simulated:catalog", "memory://warehouse"),
            app_id=APP,
            worker_id=self.number,
            data_dir=Path("/simulated"),
            partitions=self._partitions,
            late_horizon_s=LATE_HORIZON_S,
            dedup_expected_ids=DEDUP_IDS,
            dedup_false_positive_rate=DEDUP_RATE,
        )
        self.overload = Overload(settings.overload, clock)
        guard = Guard(settings.breaker, clock, chance=self._chaos.chance.random)
        supervisor = self.supervisor = Supervisor(clock, METRICS)
        context = TaskContext(
            source=TRADES_INPUT,
            feeds=FEEDS,
            settings=settings,
            kafka=kafka,
            clock=clock,
            metrics=METRICS,
            pool=ThreadPoolExecutor(1),
            raw=cluster.topics[RAW],
            deferred=cluster.topics[TRADES_INPUT.deferred],
            overload=self.overload,
            supervisor=supervisor,
            changelog=cluster.topics[changelog_topic(APP, "sequence")],
            ids_changelog=cluster.topics[changelog_topic(APP, "dedup")],
            settling=Settling(kafka),
            disk=self._disk,
        )
        self.tail = Tail(TRADES_INPUT.stream, topic_id=cluster.topics[TRADES].id)
        gaps = GapsView()
        self._view = LakeView(self._open_lake, guard)
        self.query = HybridQuery(
            self.tail, self._view, None, gaps, clock=clock, stream=TRADES_INPUT.stream
        )  # type: ignore[arg-type]
        self.reader = TailReader(
            TRADES_INPUT, kafka, self._partitions, self.tail, gaps, METRICS, clock, supervisor
        )
        sink = SinkRunner(
            open_lake(self._service, clock),
            kafka,
            cluster.topics[TRADES],
            METRICS,
            clock,
            commit_every_s=COMMIT_EVERY_S,
            commit_rows=COMMIT_ROWS,
            on_pause=lambda partitions, paused: self._pause(TRADES, partitions, paused=paused),
            on_seek=lambda starts: self._seek_soon(TRADES, starts),
            on_committed=lambda _: self._add_future(self.query.refresh()),
            supervisor=supervisor,
            guard=guard,
        )
        self.sink = sink
        self.owner = Ownership(
            TRADES_INPUT,
            lambda partition: TaskLifecycle(
                partition,
                context,
                on_pause=lambda paused: self._pause(RAW, {partition}, paused=paused),
                on_seek=lambda offset: self._seek_soon(RAW, {partition: offset}),
                on_ended=self._task_ended,
            ),
            sink,
            self._resume,
            self._is_member,
            supervisor,
        )
        self._gate = FlowGate(self)
        self._watchdog = Watchdog(
            self.owner,
            sink,
            SimpleNamespace(tick=lambda: None),  # type: ignore[arg-type]
            clock,
            supervisor,
            end=lambda code, reason: self._died(self, f"exit {code}: {reason}"),
            hold_source=self._hold_source,
            waits_for_group=lambda: not self._flowing,
            lost_task=lambda: None,
        )

    async def _is_member(self, generation: int) -> bool:
        await asyncio.sleep(self._chaos.one_way_s())
        return self._group.heartbeat(self.name, generation)

    def _task_ended(self, task: TaskLifecycle) -> None:
        self.owner.on_task_ended(task)

    def _open_lake(self) -> Lake:
        lake = open_lake(self._service, self._clock)
        lake.ensure()
        return lake

    def _add_future(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._futures.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._futures.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, QueryError | LogError):
            context = {"message": "a part ended", "exception": error}
            self._loop.call_exception_handler(context)
        # Faust logs the others; what failed so is tried again later.

    # -- the flow, as `runtime.faust_driver.transport` has it
    # ---------------------------------------------

    def assignment(self) -> set[TopicPartition]:
        """Of Faust's consumer."""
        return set(self.assigned)

    def pause_partitions(self, tps: Any) -> None:
        """Of Faust's consumer."""
        self._paused |= set(tps)

    def resume_partitions(self, tps: Any) -> None:
        """Of Faust's consumer."""
        self._paused -= set(tps)

    async def _resume(self, positions: Mapping[TopicPartition, int]) -> None:
        await asyncio.sleep(0.001)  # a step of the consumer's thread
        for tp, offset in positions.items():
            if tp in self.assigned:
                self._chain[tp] = self._read[tp] = offset
        self.resume_partitions(self._gate.open(tp for tp in positions if tp in self.assigned))

    def _seek_soon(self, topic: str, starts: Mapping[int, int]) -> None:
        tps = {TopicPartition(topic, partition): offset for partition, offset in starts.items()}
        self._add_future(self._resume(tps))

    def _pause(self, topic: str, partitions: set[int], *, paused: bool) -> None:
        tps = {TopicPartition(topic, partition) for partition in partitions} & self.owner.assigned
        if paused:
            self._gate.hold(tps, "busy")
        else:
            self._gate.release(tps, "busy")

    def _hold_source(self, held: bool) -> None:
        source = {tp for tp in self.owner.assigned if tp.topic == RAW}
        if held:
            self._gate.hold(source, "lake far behind")
        else:
            self._gate.release(source, "lake far behind")

    async def _fetch(self) -> None:
        while True:
            active = self._active()
            if not active:
                await asyncio.sleep(0.05)
                continue
            logs = [self._cluster.partitions[tp] for tp in active]
            if all(self._read[tp] == log.stable for tp, log in zip(active, logs, strict=True)):
                await grown(logs, FETCH_WAIT_S)
            await asyncio.sleep(self._chaos.one_way_s())
            generation = self._generation
            for tp in self._active():
                log, start = self._cluster.partitions[tp], self._chain[tp]
                records, position = log.read(start, FETCH_RECORDS)
                self._read[tp] = position
                if not records:
                    continue  # as aiokafka's fetcher: markers alone are no batch yet
                self._chain[tp] = position
                fetched = Fetched(tp, start, position, records, log.end)
                if self._chaos.happens("lost_batch"):
                    continue
                await asyncio.sleep(self._chaos.chance.uniform(0, 0.003))
                if self._generation == generation and self._flowing:
                    self._deliver(fetched)

    def _active(self) -> list[TopicPartition]:
        if not self._flowing:
            return []
        return sorted(tp for tp in self.assigned - self._paused if tp in self._chain)

    def _deliver(self, fetched: Fetched) -> None:
        if fetched.tp.topic == RAW:
            self.owner.offer_raw(fetched)
        else:
            self.owner.offer_log(fetched)
