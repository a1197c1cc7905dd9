"""The world of a simulated worker, behind the ports that production's composition root takes."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from k2_streams.core.records.stream import Stream
from k2_streams.kafka.topics import TopicInfo, TopicProblem, TopicSpec
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.store import DataFiles
from k2_streams.lake.table import Lake
from k2_streams.query.engine import EngineConfig, EngineMemory
from simulation.catalog import Service, SimCatalog
from simulation.log import BEGIN_MS, Cluster, Network
from simulation.loop import Loop, pause

LAKE = LakeConfig("simulated:catalog", "memory://warehouse")
#: Of a process, in bytes: only its share is looked at.
MEMORY_BYTES = 1_000_000
#: What an idle worker takes.
IDLE_SHARE = 0.1


class SimClock:
    """A worker's calendar, which may be off and jump, and a time that only grows."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.skew_s = 0.0

    def time_ns(self) -> int:
        return BEGIN_MS * 1_000_000 + int((self._loop.time() + self.skew_s) * 1e9)

    def monotonic(self) -> float:
        return self._loop.time()


class SimMemory:
    """A process's memory: as much as the run says."""

    limit_bytes = MEMORY_BYTES

    def __init__(self) -> None:
        self.share = IDLE_SHARE
        self.used_bytes = 0

    def measure(self) -> float:
        self.used_bytes = int(self.share * self.limit_bytes)
        return self.share

    def release_arrow(self) -> None:
        """Nothing is held."""

    def release(self) -> None:
        """Nothing is held."""


class _NoThread:
    """The simulated loop never stands still: whatever holds it up stops the run."""

    def start(self) -> None:
        """There is nothing to watch."""

    def is_alive(self) -> bool:
        return True


class SimThreads:
    """Executors are keys: the loop runs their work in greenlets, one at a time per executor."""

    def executor(self, name: str) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix=name)

    def thread(self, name: str, work: Callable[[], None]) -> _NoThread:
        return _NoThread()


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


class SimLakeCatalog:
    """The simulated catalog, for one process."""

    files = None

    def __init__(self, service: Service, clock: SimClock) -> None:
        self._service = service
        self._clock = clock

    def open(self, stream: Stream, files: DataFiles | None = None) -> Lake:
        lake = Lake(LAKE, self._clock, lambda _: SimCatalog(self._service), stream=stream)
        lake._closed = _Closed()
        return lake


class SimTopics:
    """Topics that are as they should be; the broker that says so may be away."""

    def __init__(self, cluster: Cluster, network: Network) -> None:
        self._cluster = cluster
        self._network = network

    @contextlib.asynccontextmanager
    async def connect(self) -> "AsyncIterator[SimTopics]":
        await self._network.ask(lambda: None)
        yield self

    async def problems(
        self, specs: Sequence[TopicSpec], known: Mapping[str, TopicInfo] | None = None
    ) -> list[TopicProblem]:
        there = await self.describe([spec.name for spec in specs])
        assert known is not None
        assert all(there[name] == known[name] for name in there)
        return []

    async def describe(self, names: Sequence[str]) -> dict[str, TopicInfo]:
        return await self._network.ask(lambda: {name: self._cluster.topics[name] for name in names})


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
