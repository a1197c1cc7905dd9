"""A task is given the records of the lake while its worker has room for what it makes of them."""

import asyncio
from typing import Any

from k2_streams.core.types import TopicPartition
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.history.feed import HistoryFeed
from k2_streams.runtime.history.lake_history import HistoryRecords
from k2_streams.testing.memory.clients import MemoryKafka, MemoryNetwork
from k2_streams.testing.memory.cluster import MemoryCluster
from k2_streams.testing.memory.faults import NoFaults, seeded
from k2_streams.testing.memory.loop import VirtualLoop

SOURCE = TopicPartition("k2.trades", 0)
#: The lake holds so many portions of ten offsets.
PORTIONS = 4


class Task:
    """Works on what it is offered at once."""

    def __init__(self) -> None:
        self.next_offset = 0
        self.offered: list[int] = []

    def offer(self, fetched: Fetched) -> None:
        self.offered.append(fetched.start)
        self.next_offset = fetched.end


class History:
    """Offsets without records."""

    async def held(self, partition: int) -> int:
        return PORTIONS * 10

    async def read(self, partition: int, start: int, end: int, floor: int) -> HistoryRecords:
        return HistoryRecords([], start + 10, floor)


def test_history_waits_while_the_sources_are_held() -> None:
    """The tail had no room, or the lake was far behind, and history was read all the same."""
    loop, task = VirtualLoop(), Task()
    done: list[int] = []
    network = MemoryNetwork(loop, NoFaults(seeded(1, "network")))
    kafka = MemoryKafka(MemoryCluster(loop, {SOURCE.topic: 1}), network)
    released: list[bool] = []

    def is_held() -> bool:
        return len(task.offered) == 1 and not released

    async def run() -> None:
        history: Any = History()
        feed = HistoryFeed(SOURCE, history, task, kafka, done.append, is_held)
        running = asyncio.ensure_future(feed.run())
        await asyncio.sleep(60)
        assert task.offered == [0]
        released.append(True)
        await running

    loop.run_until_complete(run())
    assert task.offered == [0, 10, 20, 30]
    assert done == [40]
