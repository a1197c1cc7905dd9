"""A worker of the simulation: production's, with simulated ports.

Simulated is what is Faust's there: the group's heartbeats, the fetch loop, its deliveries.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from k2_streams.core.load.degradation import DEFAULT_TRIGGERS, Level, Policy, Trigger
from k2_streams.core.load.tail_quota import DiskBound
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.feeds.feed import FEEDS
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.ports import Ports
from k2_streams.runtime.settings.worker import OverloadSettings, Settings
from k2_streams.runtime.worker import Worker
from k2_streams.topology.declarations import RawSource, Topology
from simulation.catalog import Service
from simulation.chaos import Chaos
from simulation.disk import SimDisk
from simulation.group import Group
from simulation.log import Cluster, Network, SimKafka, grown
from simulation.loop import Loop, Process
from simulation.ports import (
    LAKE,
    SimClock,
    SimEngine,
    SimLakeCatalog,
    SimMemory,
    SimThreads,
    SimTopics,
)
from simulation.venue import LATE_HORIZON_S, SEQUENCE_LIMITS

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
#: Some ten rows; what is spilled of the others may take a quarter of it in memory.
TAIL_MEMORY_BYTES = 10_000
#: A burst or two that waits calls for a level.
TRIGGERS = {
    Level.SOFT: Trigger(DEFAULT_TRIGGERS[Level.SOFT].memory_share, 8, 5.0),
    Level.GRACEFUL: Trigger(DEFAULT_TRIGGERS[Level.GRACEFUL].memory_share, 16, 10.0),
    Level.AGGRESSIVE: Trigger(DEFAULT_TRIGGERS[Level.AGGRESSIVE].memory_share, 24, 20.0),
    Level.CIRCUIT_BREAK: DEFAULT_TRIGGERS[Level.CIRCUIT_BREAK],
}
COOL_DOWN_S = 1.0

#: Limits of production, made so small that a run of a hundred records meets them.
LIMITS = Limits(
    sequence=SEQUENCE_LIMITS,
    batch_records=8,
    inbox_records=24,
    checkpoint_records=20,
    log_record_rows=5,
    table_cache_rows=2,
    snapshots_spare=3,
    snapshots_kept=2,
    tail_fetch_ms=2_000,
)

TOPOLOGY = Topology(APP, (RawSource(TRADES_INPUT, FEEDS),), ())

#: Counting is not what is simulated: one registry for all runs.
METRICS = Metrics()


class SimWorker:
    """One process: a `Worker`, and the driver that delivers to it."""

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
        died: Callable[["SimWorker", str], None],
    ) -> None:
        self.number = name
        self.name = f"worker-{name}"
        self.process = Process(loop, self.name)
        self.memory = SimMemory()
        self.assigned: set[TopicPartition] = set()
        self.paused: set[TopicPartition] = set()
        self._chaos = chaos
        self._cluster = cluster
        self._group = group
        self._chain: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}  # with the markers behind the last record
        self._generation = -1
        self._flowing = False
        kafka = SimKafka(cluster, network)
        settings = Settings(
            kafka=kafka,
            lake=LAKE,
            app_id=APP,
            worker_id=name,
            data_dir=Path("/simulated"),
            partitions=partitions,
            late_horizon_s=LATE_HORIZON_S,
            dedup_expected_ids=DEDUP_IDS,
            dedup_false_positive_rate=DEDUP_RATE,
            lake_commit_interval_s=COMMIT_EVERY_S,
            lake_commit_rows=COMMIT_ROWS,
            tail_disk_limit=DiskBound(share=0.5),
            overload=OverloadSettings(policy=Policy(TRIGGERS, COOL_DOWN_S)),
        ).model_copy(update={"tail_memory_bytes": TAIL_MEMORY_BYTES})  # less than a setting may be
        ports = Ports(
            group=self,
            kafka=kafka,
            topics=SimTopics(cluster, network).connect,
            clock=clock,
            disk=disk,
            catalog=SimLakeCatalog(service, clock),
            threads=SimThreads(),
            chance=chaos.chance.random,
            memory=self.memory,
            new_engine=SimEngine,  # type: ignore[arg-type]
            end=lambda code, reason: died(self, f"exit {code}: {reason}"),
        )
        self.parts = Worker(
            TOPOLOGY,
            settings,
            cluster.topics,
            ports,
            metrics=METRICS,
            limits=LIMITS,
        )
        self.main: asyncio.Task[Any] = self.process.start(self._main())

    async def _main(self) -> None:
        """As Faust does."""
        self.parts.start()
        self.parts.supervisor.keep("fetch", self._fetch)
        fresh = True
        while True:
            generation, assigned = await self._join(fresh=fresh)
            fresh = False
            self.assigned = assigned
            if generation != self._generation or not self._flowing:
                self._generation = generation
                await self.parts.assign(assigned, generation)
                self._flowing = True
            await self._stay()
            # The flow stops, then the worker finishes what is open.
            self._flowing = False
            await self.parts.revoke()

    async def _stay(self) -> None:
        """Until the coordinator has decided anew."""
        while self._group.heartbeat(self.name, self._generation):  # noqa: ASYNC110 - a heartbeat
            await asyncio.sleep(HEARTBEAT_S)

    async def _join(self, *, fresh: bool) -> tuple[int, set[TopicPartition]]:
        await asyncio.sleep(self._chaos.one_way_s())
        return await self._group.join(self.name, fresh=fresh)

    # -- the group, as `runtime.ports.Group` has it ----------------------------------------------

    faults = ()

    @property
    def waits_for_group(self) -> bool:
        return not self._flowing

    async def is_member(self, generation: int) -> bool:
        await asyncio.sleep(self._chaos.one_way_s())
        return self._group.heartbeat(self.name, generation)

    async def reject(self, tp: TopicPartition, offset: int, error: Exception) -> None:
        raise AssertionError(f"{tp} is not readable at {offset}") from error

    def request_rejoin(self, reason: str) -> None:
        raise AssertionError(reason)

    def lost_task(self) -> str | None:
        return None

    def assignment(self) -> set[TopicPartition]:
        return set(self.assigned)

    def pause_partitions(self, tps: Iterable[TopicPartition]) -> None:
        self.paused |= set(tps)

    def resume_partitions(self, tps: Iterable[TopicPartition]) -> None:
        self.paused -= set(tps)

    async def seek_to(self, starts: Mapping[TopicPartition, int]) -> None:
        await asyncio.sleep(0.001)  # a step of the consumer's thread
        for tp, offset in starts.items():
            if tp in self.assigned:
                self._chain[tp] = self._read[tp] = offset

    # -- the flow, as `runtime.faust_driver.transport` has it ------------------------------------

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
                    self.parts.deliver(fetched)

    def _active(self) -> list[TopicPartition]:
        if not self._flowing:
            return []
        return sorted(tp for tp in self.assigned - self.paused if tp in self._chain)
