"""A worker of the simulation: production's, in memory, with limits that a short run meets."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from k2_streams.core.load.degradation import DEFAULT_TRIGGERS, Level, Policy, Trigger
from k2_streams.core.load.tail_quota import DiskBound
from k2_streams.core.maintenance.compaction import CompactionPolicy
from k2_streams.core.records.log_chunk import LogChunk
from k2_streams.core.types import TopicPartition
from k2_streams.query.engine import EngineConfig, EngineMemory
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.groups import Role
from k2_streams.runtime.settings.worker import OverloadSettings, Settings
from k2_streams.testing.memory.catalog import MemoryCatalogService
from k2_streams.testing.memory.clients import MemoryKafka, MemoryNetwork
from k2_streams.testing.memory.cluster import MemoryCluster
from k2_streams.testing.memory.disk import MemoryDisk
from k2_streams.testing.memory.group import MemoryGroup
from k2_streams.testing.memory.loop import VirtualLoop
from k2_streams.testing.memory.ports import LAKE, MemoryLakeCatalog, VirtualClock
from k2_streams.testing.memory.worker import MemoryMachine, MemoryWorker, MemoryWorld
from simulation.chaos import Chaos
from simulation.venue import LATE_HORIZON_S, SEQUENCE_LIMITS
from topologies.trades import app

logging.getLogger("pyiceberg").setLevel(logging.ERROR)  # its retries are in the trace

APP = "k2"
#: Small, so that a backlog is several batches.
FETCH_RECORDS = 12
#: Records of a batch of the changelog: small, so that a checkpoint needs several.
BATCH_ROWS = 3
#: Of a disk that nothing else fills: little, so that a tail meets its limit.
FREE_BYTES = 1_000_000
#: How long a read of a store takes.
READ_S = 0.0001
#: Rows wait so long for the lake, and so many do not wait.
COMMIT_EVERY_S, COMMIT_ROWS = 2.0, 40
#: Between two looks at what is to be compacted. Files are deleted an hour later: after every run.
MAINTENANCE_S = 1.0
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

TOPOLOGY = app.topology

#: Counting is not what is simulated: one registry for all runs.
METRICS = Metrics()


class SimEngine:
    """Where DuckDB stands. Statements are not simulated: what they would read is checked."""

    store_waits_s = 0.0
    timeout_s = 10.0

    def __init__(self, config: EngineConfig, clock: Any) -> None:
        self._memory = EngineMemory(0, 0)

    def memory(self) -> EngineMemory:
        return self._memory

    def close(self) -> None:
        """Nothing is held."""


class GivenWitness:
    """Sees what tasks give to the readers of the log, when they give it."""

    def __init__(self, given: Callable[[LogChunk], None]) -> None:
        self.give = given

    def clear(self, partition: int) -> None:
        """Nothing has to hold then."""


def rows_read(reader: str, origin: str) -> float:
    """Rows that the readers of one kind have read in all runs so far, from memory or the log."""
    labels = {"stream": "trades", "origin": origin}
    return METRICS.registry.get_sample_value(f"k2_{reader}_rows_read_total", labels) or 0.0


class SimWorker(MemoryWorker):
    """One process."""

    def __init__(
        self,
        name: int,
        *,
        loop: VirtualLoop,
        chaos: Chaos,
        cluster: MemoryCluster,
        network: MemoryNetwork,
        service: MemoryCatalogService,
        group: MemoryGroup,
        disk: MemoryDisk,
        clock: VirtualClock,
        partitions: int,
        committed_rows_bytes: int,
        died: Callable[[MemoryWorker, str], None],
        given: Callable[[LogChunk], None],
        is_maintained: bool = False,
        role: Role = "all",
    ) -> None:
        kafka = MemoryKafka(cluster, network, BATCH_ROWS)
        settings = Settings(
            ledger=False,  # its sinks and tails are those of every log
            kafka=kafka,
            lake=LAKE,
            app_id=APP,
            worker_id=name,
            role=role,
            data_dir=Path("/simulated"),
            partitions=partitions,
            late_horizon_s=LATE_HORIZON_S,
            dedup_expected_ids=DEDUP_IDS,
            dedup_false_positive_rate=DEDUP_RATE,
            lake_commit_interval_s=COMMIT_EVERY_S,
            lake_commit_rows=COMMIT_ROWS,
            tail_disk_limit=DiskBound(share=0.5),
            overload=OverloadSettings(policy=Policy(TRIGGERS, COOL_DOWN_S)),
            maintenance=is_maintained and role != "query",
            maintenance_interval_s=MAINTENANCE_S,
            compaction=CompactionPolicy(open_day_files=2),
        ).model_copy(update={"tail_memory_bytes": TAIL_MEMORY_BYTES})  # less than a setting may be
        super().__init__(
            MemoryWorld(loop=loop, faults=chaos, cluster=cluster, group=group),
            MemoryMachine(
                kafka=kafka,
                disk=disk,
                clock=clock,
                catalog=MemoryLakeCatalog(service, clock),
                new_engine=SimEngine,  # type: ignore[arg-type]
            ),
            TOPOLOGY,
            settings,
            limits=replace(LIMITS, committed_rows_bytes=committed_rows_bytes),
            metrics=METRICS,
            fetch_records=FETCH_RECORDS,
            ended=lambda worker, code, reason: died(worker, f"exit {code}: {reason}"),
        )
        for log in self.parts.written:
            log.committed.tell(GivenWitness(given))

    async def reject(self, tp: TopicPartition, offset: int, error: Exception) -> None:
        raise AssertionError(f"{tp} is not readable at {offset}") from error

    def request_rejoin(self, reason: str) -> None:
        raise AssertionError(reason)
