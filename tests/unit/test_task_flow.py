"""A task never blocks who delivers, and never leaves its partition paused behind it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pyarrow as pa
import pytest
from raw_agents import raw_agent

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.feeds.feed import FEEDS
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.kafka.record_columns import RecordColumns
from k2_streams.kafka.topics import RAW, TopicInfo
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.runtime.task import checkpoint as of_checkpoint
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.inbox import Inbox
from k2_streams.runtime.task.lifecycle import TaskLifecycle, TaskState
from k2_streams.runtime.task.market import MarketProgram
from k2_streams.runtime.task.resume import Starts
from k2_streams.runtime.task.running import Flow, RunningTask
from k2_streams.runtime.task.take_over import Taken
from k2_streams.state.position import Position
from k2_streams.state.restore import Restored

POSITION = Position(source_id="id", partitions=4, next_offset=0)


@pytest.fixture
def context(tmp_path: Path) -> TaskContext:
    settings = from_environment({"K2_DATA_DIR": str(tmp_path)})
    info = TopicInfo(RAW, "id", 4)
    return TaskContext(
        program=MarketProgram(raw_agent(TRADES_INPUT, FEEDS), info, info, info),
        source=info,
        settings=settings,
        kafka=settings.kafka,
        clock=SYSTEM_CLOCK,
        metrics=Metrics(),
        pool=ThreadPoolExecutor(1),
        settling=Settling(settings.kafka),
        overload=Overload(settings.overload, SYSTEM_CLOCK),
        supervisor=Supervisor(SYSTEM_CLOCK, Metrics()),
    )


def _more_than_enough(size_bytes: int) -> Fetched:
    """Of records of a size."""
    most = min(DEFAULT_LIMITS.inbox_records, DEFAULT_LIMITS.inbox_bytes // size_bytes)
    record = SimpleNamespace(key=None, value=bytes(size_bytes), timestamp=1)
    records = [record] * (most + 1)
    return Fetched(TopicPartition(RAW, 0), 0, len(records), records, len(records))


def running(context: TaskContext, paused: list[bool], failed: list[BaseException]) -> RunningTask:
    """Nothing to commit, and nothing deferred."""
    tables, position = context.program.new_tables(0, context), POSITION
    tables.all[0].open(0)
    taken = Taken(Mock(), tables, position, Starts(0, 0), (), Restored(0, wiped=False))

    async def on_failed(error: BaseException) -> None:
        failed.append(error)

    flow = Flow(on_pause=paused.append, on_seek=lambda _: None)
    return RunningTask(0, context, taken, flow, on_failed)


@pytest.mark.parametrize("size_bytes", [10, 1 << 20], ids=["many", "large"])
async def test_a_task_that_ends_with_a_full_inbox_resumes_its_partition(
    context: TaskContext, tmp_path: Path, size_bytes: int
) -> None:
    """Whoever takes the partition over would wait for records for ever."""
    paused: list[bool] = []
    task = running(context, paused, [])
    task.offer(_more_than_enough(size_bytes))
    assert paused == [True]
    await task.stop()
    assert paused == [True, False]


@pytest.mark.parametrize("turns", range(6))
async def test_a_task_that_is_woken_while_it_is_told_to_end_ends(
    context: TaskContext, tmp_path: Path, turns: int
) -> None:
    """`asyncio.wait_for` lost the cancellation: the rebalance waited for the group's 60 seconds."""
    failed: list[BaseException] = []
    task = running(context, [], failed)
    # A wait with a bound is the one that could lose its cancellation: something is to be committed.
    task._checkpoints.is_open = lambda _epoch: True  # type: ignore[method-assign]
    task._checkpoints.wait_s = lambda: 60.0  # type: ignore[method-assign]
    task.start()
    await asyncio.sleep(0.01)
    task.wake()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await task.stop()
    assert failed == []


async def test_a_transition_that_is_not_in_the_drawing_is_refused(context: TaskContext) -> None:
    """A closed task never runs again."""
    task = TaskLifecycle(
        0, context, on_pause=lambda _: None, on_seek=lambda _: None, on_ended=lambda _: None
    )
    await task.close()
    assert task.state is TaskState.CLOSED
    with pytest.raises(AssertionError, match="closed to recovering"):
        await task.take_over()


@pytest.mark.parametrize(
    ("field", "most"),
    [
        ("records", DEFAULT_LIMITS.checkpoint_records),
        ("size_bytes", DEFAULT_LIMITS.checkpoint_bytes),
    ],
)
async def test_a_checkpoint_is_due_when_its_epoch_is_large(
    context: TaskContext, field: str, most: int
) -> None:
    """Whatever the time: a transaction that is too large for its deadline never ends."""
    checkpoints = running(context, [], [])._checkpoints
    checkpoints.wait_s = lambda: None  # type: ignore[method-assign]
    epoch = Epoch(context.program.outputs, 0)
    epoch.position = 1
    setattr(epoch, field, most - 1)
    assert not checkpoints.is_due(epoch)
    setattr(epoch, field, most)
    assert checkpoints.is_due(epoch)


async def test_a_checkpoint_after_one_that_failed_is_smaller(
    context: TaskContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next task of the partition would gather as much again, and fail with it again."""

    monkeypatch.setattr(of_checkpoint, "CHECKPOINT_DEADLINE_S", 0.05)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    first = running(context, [], [])._checkpoints
    first._producer.commit = never
    epoch = Epoch(context.program.outputs, 0)
    epoch.records = epoch.position = DEFAULT_LIMITS.checkpoint_records
    first.begin(epoch, 0, {})
    with pytest.raises(TimeoutError):
        await first.settled()
    for table in first._tables:
        table.close()
    task = running(context, [], [])
    epoch = Epoch(context.program.outputs, 0)
    epoch.position = epoch.records = DEFAULT_LIMITS.checkpoint_records // 4
    assert task._checkpoints.room(Epoch(context.program.outputs, 0)) == epoch.records
    task._checkpoints.wait_s = lambda: None  # type: ignore[method-assign]
    assert task._checkpoints.is_due(epoch)
    epoch.records -= 1
    assert not task._checkpoints.is_due(epoch)
    context.sizes[0].failed()
    record = SimpleNamespace(key=b"X:A", value=b"no trade", headers=(), timestamp=1,
                             timestamp_type=1)  # fmt: skip
    room = context.sizes[0].records
    sent = [SimpleNamespace(**vars(record), offset=offset) for offset in range(room + 7)]
    task.offer(Fetched(TopicPartition(RAW, 0), 0, len(sent), sent, len(sent)))
    assert await task._work()
    assert task._epoch.records == room, "a batch is no larger than a checkpoint may be"
    await task.stop()


async def test_an_epoch_knows_the_size_of_what_it_was_made_of(context: TaskContext) -> None:
    task = running(context, [], [])
    sent = [SimpleNamespace(key=b"X:A", value=b"no trade", headers=(), offset=offset, timestamp=1,
                            timestamp_type=1) for offset in range(3)]  # fmt: skip
    fetched = Fetched(TopicPartition(RAW, 0), 0, 3, sent, 3)
    task.offer(fetched)
    assert await task._work()
    assert (task._epoch.records, task._epoch.size_bytes) == (3, fetched.size_bytes)
    await task.stop()


def test_an_inbox_counts_what_waits_in_records_and_bytes() -> None:
    """It is full by either, and has room again when half of both has gone."""
    tp = TopicPartition(RAW, 0)
    columns = RecordColumns(pa.RecordBatch.from_pydict({"value": [b"x" * 100]}))
    inbox = Inbox(Limits(inbox_records=4, inbox_bytes=columns.size_bytes))

    def fetched(*sizes: int) -> Fetched:
        made = [SimpleNamespace(key=b"k", value=bytes(size - 1), timestamp=1) for size in sizes]
        return Fetched(tp, 0, len(made), made, 0)

    fetched_columns = Fetched(tp, 0, 1, columns, 0)
    inbox.add(fetched_columns)
    assert (inbox.records, inbox.size_bytes, inbox.is_full) == (1, columns.size_bytes, False)
    inbox.add(fetched(1, 1))
    assert inbox.is_full
    assert inbox.take() == (fetched_columns, columns.size_bytes)
    assert (inbox.records, inbox.size_bytes, inbox.has_room) == (2, 2, False)
    inbox.put_back(fetched(49))
    inbox.add(fetched(1, 1))
    assert (inbox.records, inbox.size_bytes, inbox.is_full) == (5, 53, True)
    assert len(inbox.take().fetched.records) == 1, "what was put back is the first"
    inbox.clear()
    assert (bool(inbox), inbox.records, inbox.size_bytes, inbox.has_room) == (False, 0, 0, True)
