"""A simulated cluster of one partition in which nothing goes wrong, and a task's surroundings."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from raw_agents import raw_agent

from k2_streams.core.records.source import TRADES_INPUT as SOURCE
from k2_streams.feeds.feed import FEEDS
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.kafka.transaction_states import LastTransaction
from k2_streams.runtime.limits import DEFAULT_LIMITS
from k2_streams.runtime.task.market import MarketProgram
from k2_streams.state.rocks import ROCKS_DISK
from k2_streams.testing.memory.clients import MemoryKafka, MemoryNetwork
from k2_streams.testing.memory.cluster import MemoryCluster
from k2_streams.testing.memory.faults import NoFaults, seeded
from k2_streams.testing.memory.loop import VirtualLoop
from k2_streams.testing.memory.ports import VirtualClock
from simulation.checks import CHANGELOG, IDS_CHANGELOG
from simulation.worker import BATCH_ROWS


class CountedKafka(MemoryKafka):
    """Counts the clients that are made."""

    opened: Counter[str]

    def __init__(self, cluster: MemoryCluster, network: MemoryNetwork) -> None:
        super().__init__(cluster, network, BATCH_ROWS)
        object.__setattr__(self, "opened", Counter())

    def producer(self, **options: Any) -> Any:
        self.opened["producer"] += 1
        return super().producer(**options)

    def consumer(self, **options: Any) -> Any:
        self.opened["consumer"] += 1
        return super().consumer(**options)

    async def last_transaction(self, transactional_id: str) -> LastTransaction:
        self.opened["coordinator"] += 1
        return await super().last_transaction(transactional_id)


class Place:
    """A cluster of one partition, with nothing going wrong."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        names = [SOURCE.raw, SOURCE.stream.log, SOURCE.events, SOURCE.dead_letter]
        topics = dict.fromkeys([*names, SOURCE.deferred, CHANGELOG, IDS_CHANGELOG], 1)
        self.cluster = MemoryCluster(self.loop, topics)
        self.kafka = CountedKafka(
            self.cluster, MemoryNetwork(self.loop, NoFaults(seeded(0, "faults")))
        )
        self.context: Any = SimpleNamespace(
            program=MarketProgram(
                raw_agent(SOURCE, FEEDS),
                deferred=self.cluster.topics[SOURCE.deferred],
                sequence=self.cluster.topics[CHANGELOG],
                dedup=self.cluster.topics[IDS_CHANGELOG],
            ),
            source=self.cluster.topics[SOURCE.raw],
            kafka=self.kafka,
            clock=VirtualClock(self.loop),
            settling=Settling(self.kafka),
            pool=ThreadPoolExecutor(1),
            limits=DEFAULT_LIMITS,
            disk=ROCKS_DISK,
            settings=SimpleNamespace(
                app_id="k2",
                member_id="k2-0",
                partitions=1,
                dedup_ttl_s=86_400,
                dedup_expected_ids=10,
                dedup_false_positive_rate=0.5,
            ),
        )

    def use(self, folder: Path) -> None:
        """Keep the stores in this folder."""
        self.context.settings.worker_dir = folder

    def run(self, main: Any) -> Any:
        """To the end, on simulated time."""
        try:
            return self.loop.run_until_complete(main)
        finally:
            self.loop.abandon()
