"""The world in memory, behind the ports that a worker's composition root takes."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from k2_streams.core.records.stream import Stream
from k2_streams.kafka.topics import TopicInfo, TopicProblem, TopicSpec
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.store import DataFiles
from k2_streams.lake.table import Lake
from k2_streams.testing.memory.catalog import MemoryCatalog, MemoryCatalogService
from k2_streams.testing.memory.clients import MemoryNetwork
from k2_streams.testing.memory.cluster import BEGIN_MS, MemoryCluster
from k2_streams.testing.memory.loop import VirtualLoop, pause
from k2_streams.testing.memory.warehouse import LOCATION, MemoryFiles

LAKE = LakeConfig("memory:catalog", LOCATION)
#: Of a process, in bytes: only its share matters.
MEMORY_BYTES = 1 << 30
#: What an idle worker takes of its memory.
IDLE_SHARE = 0.1


class VirtualClock:
    """A worker's calendar, which may be off and jump, and a time that only grows."""

    def __init__(self, loop: VirtualLoop, *, begin_ms: int = BEGIN_MS) -> None:
        self._loop = loop
        self._begin_ns = begin_ms * 1_000_000
        self.skew_s = 0.0

    def time_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return self._begin_ns + int((self._loop.time() + self.skew_s) * 1e9)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self._loop.time()


class VirtualMemory:
    """A process's memory: as much as it is told."""

    limit_bytes = MEMORY_BYTES

    def __init__(self) -> None:
        self.share = IDLE_SHARE
        self.used_bytes = 0

    def measure(self) -> float:
        """The share of the limit that is taken."""
        self.used_bytes = int(self.share * MEMORY_BYTES)
        return self.share

    def release_arrow(self) -> None:
        """Nothing is held."""

    def trim(self) -> None:
        """Nothing is kept."""

    def release(self) -> None:
        """Nothing is held."""


class _NoThread:
    """A virtual loop never stands still: whatever holds it up stops the run."""

    def start(self) -> None:
        """There is nothing to watch."""

    def is_alive(self) -> bool:
        """It counts as one that runs."""
        return True


class VirtualThreads:
    """Executors are keys: the loop runs their work in greenlets, one at a time per executor."""

    def executor(self, name: str) -> ThreadPoolExecutor:
        """A key."""
        return ThreadPoolExecutor(1, thread_name_prefix=name)

    def thread(self, name: str, work: Callable[[], None]) -> _NoThread:  # noqa: ARG002 - never run
        """A thread that does nothing."""
        return _NoThread()


class _VirtualEvent:
    """`threading.Event` for a virtual thread."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Set it. A wait that has begun notices at its end."""
        self._is_set = True

    def wait(self, timeout: float) -> bool:
        """Until it is set or the time is over; whether it is set."""
        if not self._is_set:
            pause(timeout)
        return self._is_set


class MemoryLakeCatalog:
    """The catalog in memory, for one process.

    Args:
        service: the catalog's own side.
        clock: of the process.
        files: gives queries the data files; None: queries are not run.
    """

    def __init__(
        self,
        service: MemoryCatalogService,
        clock: VirtualClock,
        files: MemoryFiles | None = None,
    ) -> None:
        self._service = service
        self._clock = clock
        self.files: DataFiles | None = files

    def open(self, stream: Stream, files: DataFiles | None = None) -> Lake:
        """A handle of its own on a stream's table; nothing is asked yet."""

        def catalog(_: LakeConfig) -> Any:
            return MemoryCatalog(self._service)

        return Lake(LAKE, self._clock, catalog, stream=stream, files=files, closed=_VirtualEvent())


class MemoryTopics:
    """Topics that are as they should be; the broker that says so may be away."""

    def __init__(self, cluster: MemoryCluster, network: MemoryNetwork) -> None:
        self._cluster = cluster
        self._network = network

    @contextlib.asynccontextmanager
    async def connect(self) -> "AsyncIterator[MemoryTopics]":
        """Connect, as long as the block runs."""
        await self._network.ask(lambda: None)
        yield self

    async def problems(
        self, specs: Sequence[TopicSpec], known: Mapping[str, TopicInfo] | None = None
    ) -> list[TopicProblem]:
        """None: the topics are those that the cluster was made with."""
        there = await self.describe([spec.name for spec in specs])
        if known is not None and any(there[name] != known[name] for name in there):
            raise AssertionError(f"topics differ: {there}, {known}")
        return []

    async def describe(self, names: Sequence[str]) -> dict[str, TopicInfo]:
        """Those of the named topics that exist."""
        topics = self._cluster.topics
        return await self._network.ask(
            lambda: {name: topics[name] for name in names if name in topics}
        )
