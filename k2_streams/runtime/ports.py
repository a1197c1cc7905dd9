"""What a worker is given of the world: its group, brokers, disk, catalog, threads and chance.

Production gives Faust's consumer, Kafka, RocksDB, pyiceberg and the operating system. The
simulation gives its own, and everything above runs unchanged.
"""

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from k2_streams.clock import Clock
from k2_streams.core.records.stream import Stream
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.partition_faults import PartitionFault
from k2_streams.kafka.topics import TopicAdmin, TopicInfo, TopicProblem, TopicSpec
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.store import DataFiles
from k2_streams.lake.table import Lake
from k2_streams.native import Native
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.tail.store import SpillStore
from k2_streams.runtime.control.memory import ProcessMemory, WorkerMemory
from k2_streams.runtime.gate import PausableConsumer
from k2_streams.state.rocks import Disk, RocksDisk, StoresMemory
from k2_streams.state.spill import SpillDatabase


class ConsumerGroup(PausableConsumer, Protocol):
    """The consumer group and the flow of records, as the driver has them."""

    async def seek_to(self, starts: Mapping[TopicPartition, int]) -> None:
        """Read these on from here; partitions that are not assigned are left out."""
        ...

    async def is_member(self, generation: int) -> bool:
        """Whether the group, asked now, still counts this worker in that generation."""
        ...

    async def reject(self, tp: TopicPartition, offset: int, error: Exception) -> None:
        """Stop the partition in front of records that cannot be used."""
        ...

    def request_rejoin(self, reason: str) -> None:
        """Ask the group for a new assignment."""
        ...

    @property
    def faults(self) -> Sequence[PartitionFault]:
        """Assigned partitions that cannot be read."""
        ...

    @property
    def waits_for_group(self) -> bool:
        """Whether the coordinator answers and has assigned nothing yet."""
        ...

    def lost_task(self) -> str | None:
        """A task of the driver that has ended although the worker needs it; None: none."""
        ...


class WatchThread(Protocol):
    """A thread that runs beside the event loop."""

    def start(self) -> None:
        """Begin."""
        ...

    def is_alive(self) -> bool:
        """Whether it runs."""
        ...


class Threads(Protocol):
    """Where work runs that blocks."""

    def executor(self, name: str) -> ThreadPoolExecutor:
        """An executor of one thread."""
        ...

    def thread(self, name: str, work: Callable[[], None]) -> WatchThread:
        """A thread, not started."""
        ...


class TailStore(SpillStore, Protocol):
    """Where the tail puts what memory does not hold."""

    def reclaim(self) -> None:
        """Give the disk back what was dropped."""
        ...


class WorkerDisk(Disk, Protocol):
    """The machine's disk, as far as a worker uses it."""

    def memory(self) -> StoresMemory:
        """What all databases together take."""
        ...

    def new_spill(self, path: Path) -> TailStore:
        """An empty store for one more tail in this folder."""
        ...

    def free_bytes(self, path: Path) -> int:
        """Of the disk that holds this folder."""
        ...


class LakeCatalog(Protocol):
    """The lake's catalog and its files."""

    @property
    def files(self) -> DataFiles | None:
        """Access to data files in an object store; None: they are in a folder."""
        ...

    def open(self, stream: Stream, files: DataFiles | None = None) -> Lake:
        """A handle of its own on a stream's table; nothing is asked yet."""
        ...


class TopicReader(Protocol):
    """What is looked at of the topics while a worker runs."""

    async def problems(
        self, specs: Sequence[TopicSpec], known: Mapping[str, TopicInfo] | None = None
    ) -> list[TopicProblem]:
        """What of these topics is not as K2 needs it."""
        ...

    async def describe(self, names: Sequence[str]) -> dict[str, TopicInfo]:
        """Those of the named topics that exist."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything a worker touches outside itself.

    Attributes:
        group: the driver's consumer.
        kafka: the brokers; also makes every client that records go through.
        topics: connects to what describes topics.
        clock: the calendar and a time that only grows.
        disk: of this machine.
        catalog: of the lake.
        threads: for work that blocks.
        chance: from 0 to 1, so that workers that failed together do not return together.
        memory: of this process.
        new_engine: makes what runs a query's statements.
        end: ends the process at once, with an exit code and the reason.
        native: the native decoder, where it is used.
    """

    group: ConsumerGroup
    kafka: KafkaConfig
    topics: Callable[[], AbstractAsyncContextManager[TopicReader]]
    clock: Clock
    disk: WorkerDisk
    catalog: LakeCatalog
    threads: Threads
    chance: Callable[[], float]
    memory: WorkerMemory
    new_engine: Callable[[EngineConfig, Clock], Engine]
    end: Callable[[int, str], None]
    native: Native | None = None


class SystemThreads:
    """The operating system's threads."""

    def executor(self, name: str) -> ThreadPoolExecutor:
        """An executor of one thread."""
        return ThreadPoolExecutor(1, thread_name_prefix=name)

    def thread(self, name: str, work: Callable[[], None]) -> WatchThread:
        """A daemon thread, not started."""
        return threading.Thread(target=work, name=name, daemon=True)


class LocalDisk(RocksDisk):
    """This machine's disk, with RocksDB on it."""

    def __init__(self) -> None:
        super().__init__()
        self._spills: dict[Path, SpillDatabase] = {}

    def new_spill(self, path: Path) -> TailStore:
        """An empty store for one more tail; those in one folder share a database."""
        if path not in self._spills:
            self._spills[path] = SpillDatabase(path)
        return self._spills[path].new_tail()

    def free_bytes(self, path: Path) -> int:
        """Of the disk that holds this folder."""
        return shutil.disk_usage(path).free


class ConfiguredCatalog:
    """The catalog that the settings name."""

    def __init__(self, config: LakeConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self.files = None if config.folder is not None else DataFiles()

    def open(self, stream: Stream, files: DataFiles | None = None) -> Lake:
        """A handle of its own on a stream's table; nothing is asked yet."""
        return Lake(self._config, self._clock, stream=stream, files=files)


def system_ports(
    *,
    group: ConsumerGroup,
    kafka: KafkaConfig,
    lake: LakeConfig,
    clock: Clock,
    chance: Callable[[], float],
    memory_limit_bytes: int | None,
    end: Callable[[int, str], None],
    native: Native | None,
) -> Ports:
    """Production's ports: the operating system, Kafka, RocksDB and the catalog in the settings."""
    return Ports(
        group=group,
        kafka=kafka,
        topics=lambda: TopicAdmin(kafka),
        clock=clock,
        disk=LocalDisk(),
        catalog=ConfiguredCatalog(lake, clock),
        threads=SystemThreads(),
        chance=chance,
        memory=ProcessMemory(memory_limit_bytes),
        new_engine=Engine,
        end=end,
        native=native,
    )
