"""A worker in memory: production's, on ports in memory.

What is Faust's in production is here: the group's heartbeats, the fetch loop, its deliveries.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from k2_streams.clock import Clock
from k2_streams.core.enrich.instruments import Instruments
from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint_in_loop
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.no_group import NoGroup
from k2_streams.runtime.ports import Ports
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.worker import Worker
from k2_streams.testing.memory.clients import MemoryKafka
from k2_streams.testing.memory.cluster import MemoryCluster, grown
from k2_streams.testing.memory.disk import MemoryDisk
from k2_streams.testing.memory.faults import Faults, MemoryFault
from k2_streams.testing.memory.group import MemoryGroup
from k2_streams.testing.memory.loop import VirtualLoop, VirtualProcess
from k2_streams.testing.memory.ports import (
    MemoryLakeCatalog,
    MemoryTopics,
    VirtualClock,
    VirtualMemory,
    VirtualThreads,
)
from k2_streams.topology.declarations import Topology

HEARTBEAT_S = 1.0
FETCH_WAIT_S = 1.0
#: A fetch loop without a partition that may be read looks again after this.
NOTHING_ACTIVE_S = 0.05
#: A step of the consumer's thread.
SEEK_S = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryWorld:
    """What all workers share.

    Attributes:
        loop: runs them.
        faults: decides what goes wrong.
        cluster: the brokers.
        group: the consumer group's coordinator.
    """

    loop: VirtualLoop
    faults: Faults
    cluster: MemoryCluster
    group: MemoryGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMachine:
    """What one worker has of its own.

    Attributes:
        kafka: its clients' configuration.
        disk: outlives the worker.
        clock: the same.
        catalog: of the lake.
        new_engine: makes what runs a query's statements.
    """

    kafka: MemoryKafka
    disk: MemoryDisk
    clock: VirtualClock
    catalog: MemoryLakeCatalog
    new_engine: Callable[[EngineConfig, Clock], Engine]


class MemoryWorker:
    """One process: a `Worker`, and what delivers to it.

    Args:
        world: that it lives in.
        machine: that it runs on.
        topology: what runs.
        settings: of the worker; its id names it in the group.
        instruments: reference data.
        limits: of the worker.
        metrics: of the worker.
        fetch_records: records of one fetch of one partition, at the most.
        ended: told the exit code and the reason when the worker ends its process.
    """

    def __init__(
        self,
        world: MemoryWorld,
        machine: MemoryMachine,
        topology: Topology,
        settings: Settings,
        *,
        instruments: Instruments | None = None,
        limits: Limits = DEFAULT_LIMITS,
        metrics: Metrics,
        fetch_records: int,
        ended: Callable[["MemoryWorker", int, str], None],
    ) -> None:
        self.number = settings.worker_id
        self.name = f"worker-{self.number}"
        self.process = VirtualProcess(world.loop, self.name)
        self.memory = VirtualMemory()
        self.assigned: set[TopicPartition] = set()
        self.paused: set[TopicPartition] = set()
        #: Assigned partitions whose records cannot be used, and why.
        self.rejected: dict[TopicPartition, str] = {}
        self._faults = world.faults
        self._cluster = world.cluster
        self._group = world.group
        self._fetch_records = fetch_records
        self._chain: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}  # with the markers behind the last record
        self._generation = -1
        self._flowing = False
        self.is_member_of_group = settings.processes
        ports = Ports(
            group=self if settings.processes else NoGroup(),
            kafka=machine.kafka,
            topics=MemoryTopics(world.cluster, machine.kafka.network).connect,
            clock=machine.clock,
            disk=machine.disk,
            catalog=machine.catalog,
            threads=VirtualThreads(),
            chance=world.faults.chance.random,
            memory=self.memory,
            new_engine=machine.new_engine,
            end=lambda code, reason: ended(self, code, reason),
        )
        self.parts = Worker(
            topology,
            settings,
            world.cluster.topics,
            ports,
            metrics=metrics,
            instruments=instruments,
            limits=limits,
        )
        self.main: asyncio.Task[Any] = self.process.start(self._main())

    @property
    def is_settled(self) -> bool:
        """Whether the group has assigned what there is, and it is read. A query node is in none."""
        if not self.is_member_of_group:
            return True
        return self._flowing and not self._group.rebalancing

    async def _main(self) -> None:
        """As Faust does."""
        self.parts.start()
        if not self.is_member_of_group:
            await asyncio.get_running_loop().create_future()  # until it is stopped
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
        await asyncio.sleep(self._faults.one_way_s())
        return await self._group.join(self.name, fresh=fresh)

    async def close(self) -> None:
        """Stop in order; with static membership its partitions wait for its return."""
        self._flowing = False
        self.main.cancel()
        await asyncio.wait([self.main])
        await self.parts.close()

    # -- the group, as `runtime.ports.ConsumerGroup` has it --------------------------------------

    faults = ()

    @property
    def waits_for_group(self) -> bool:
        """Whether nothing is assigned yet."""
        return not self._flowing

    async def is_member(self, generation: int) -> bool:
        """Whether the coordinator still counts this worker in that generation."""
        await asyncio.sleep(self._faults.one_way_s())
        return self._group.heartbeat(self.name, generation)

    async def reject(self, tp: TopicPartition, offset: int, error: Exception) -> None:
        """Stop the partition in front of records that cannot be used."""
        self._chain.pop(tp, None)
        self.rejected[tp] = f"{tp} is not readable at {offset}: {type(error).__name__}: {error}"

    def request_rejoin(self, reason: str) -> None:  # noqa: ARG002 - the coordinator logs nothing
        """Ask the group for a new assignment."""
        self._group.rebalance()

    def lost_task(self) -> str | None:
        """No library's task can end here."""
        return None

    def assignment(self) -> set[TopicPartition]:
        """The partitions that are assigned now."""
        return set(self.assigned)

    def pause_partitions(self, tps: Iterable[TopicPartition]) -> None:
        """Deliver nothing more of these."""
        self.paused |= set(tps)

    def resume_partitions(self, tps: Iterable[TopicPartition]) -> None:
        """Deliver these again."""
        self.paused -= set(tps)

    async def seek_to(self, starts: Mapping[TopicPartition, int]) -> None:
        """Read these on from here; partitions that are not assigned are left out."""
        await asyncio.sleep(SEEK_S)
        for tp, offset in starts.items():
            if tp in self.assigned:
                self._chain[tp] = self._read[tp] = offset

    # -- the flow, as `runtime.faust_driver.transport` has it ------------------------------------

    async def _fetch(self) -> None:
        faults = self._faults
        while True:
            active = self._active()
            if not active:
                await asyncio.sleep(NOTHING_ACTIVE_S)
                continue
            logs = [self._cluster.partitions[tp] for tp in active]
            if all(self._read[tp] >= log.stable for tp, log in zip(active, logs, strict=True)):
                await grown(logs, FETCH_WAIT_S)
            await asyncio.sleep(faults.one_way_s())
            generation = self._generation
            for tp in self._active():
                log, start = self._cluster.partitions[tp], self._chain[tp]
                records, position = log.read(start, self._fetch_records)
                self._read[tp] = position
                if position == start:
                    continue
                self._chain[tp] = position
                await failpoint_in_loop("source.fetched")
                fetched = Fetched(tp, start, position, list(records), log.end)
                if faults.happens(MemoryFault.LOST_BATCH):
                    continue
                await asyncio.sleep(faults.delivery_s())
                if self._generation == generation and self._flowing:
                    self.parts.deliver(fetched)

    def _active(self) -> list[TopicPartition]:
        if not self._flowing:
            return []
        return sorted(tp for tp in self.assigned - self.paused if tp in self._chain)
