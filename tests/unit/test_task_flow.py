"""A task never blocks who delivers, and never leaves its partition paused behind it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.feeds.feed import FEEDS
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.kafka.topics import RAW, TopicInfo
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.runtime.task.task import INBOX_RECORDS_MAX, Task, TaskContext, TaskState


@pytest.fixture
def context(tmp_path: Path) -> TaskContext:
    settings = from_environment({"K2_DATA_DIR": str(tmp_path)})
    info = TopicInfo(RAW, "id", 4)
    return TaskContext(
        source=TRADES_INPUT,
        feeds=FEEDS,
        settings=settings,
        kafka=settings.kafka,
        clock=SYSTEM_CLOCK,
        metrics=Metrics(),
        pool=ThreadPoolExecutor(1),
        raw=info,
        deferred=info,
        changelog=info,
        ids_changelog=info,
        settling=Settling(settings.kafka),
        overload=Overload(settings.overload, SYSTEM_CLOCK),
        supervisor=Supervisor(SYSTEM_CLOCK, Metrics()),
    )


def _more_than_enough() -> Fetched:
    records = [Mock()] * (INBOX_RECORDS_MAX + 1)
    return Fetched(TopicPartition(RAW, 0), 0, len(records), records, len(records))


def test_a_task_that_ends_with_a_full_inbox_resumes_its_partition(context: TaskContext) -> None:
    """Whoever takes the partition over would wait for records for ever."""
    paused: list[bool] = []

    async def run() -> None:
        task = Task(
            0, context, on_pause=paused.append, on_seek=lambda _: None, on_ended=lambda _: None
        )
        task.state = TaskState.RUNNING
        task.offer(_more_than_enough())
        assert paused == [True]
        await task.close()

    asyncio.run(run())
    assert paused == [True, False]


class _Idle:
    """Nothing to commit, and nothing that waits."""

    def reap(self) -> None: ...

    async def cancel(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return False

    def holds_source(self) -> bool:
        return False

    def is_open(self, _epoch: object) -> bool:
        return True

    def wait_s(self) -> float:
        return 60.0  # a wait with a bound is the one that could lose its cancellation


@pytest.mark.parametrize("turns", range(6))
async def test_a_task_that_is_woken_while_it_is_told_to_end_ends(
    context: TaskContext, turns: int
) -> None:
    """`asyncio.wait_for` lost the cancellation: the rebalance waited for the group's 60 seconds."""
    task = Task(
        0, context, on_pause=lambda _: None, on_seek=lambda _: None, on_ended=lambda _: None
    )
    task.state = TaskState.RUNNING
    task._checkpoints = task._deferral = _Idle()
    task._epoch = object()
    task._runner = task._spawn_runner()
    await asyncio.sleep(0.01)
    task.wake()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await task.close()
    assert task.state is TaskState.CLOSED
