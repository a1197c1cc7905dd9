"""Who may take a partition over again, and when."""

import asyncio

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.runtime import assignment as ownership
from k2_streams.runtime.assignment import Ownership
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.task.lifecycle import TaskState


def supervisor() -> Supervisor:
    return Supervisor(SYSTEM_CLOCK, Metrics())


class _Task:
    """A task that fails as soon as it is told to."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.state = TaskState.CREATED
        self.next_offset = 5

    async def take_over(self) -> int:
        self.state = TaskState.RUNNING
        return self.next_offset

    async def close(self) -> None:
        self.state = TaskState.CLOSED


class _Sink:
    async def assign(self, _partitions: set[int]) -> dict[int, int]:
        return {}


class _Cancelled(_Task):
    """Something in a library is cancelled while the first of these takes over."""

    tries = 0

    async def take_over(self) -> int:
        type(self).tries += 1
        if self.tries == 1:
            self.state = TaskState.FAILED
            raise asyncio.CancelledError
        return await super().take_over()


async def test_a_cancellation_within_a_take_over_is_a_failure_like_another(monkeypatch):
    """It ended the replacement in silence, and nobody worked the partition any more."""
    monkeypatch.setattr(ownership, "RETAKE_WAIT_S_MIN", 0.001)
    resumed = asyncio.Event()

    async def is_member(_generation: int) -> bool:
        return True

    async def resume(_starts: dict[TopicPartition, int]) -> None:
        resumed.set()

    owner = Ownership(TRADES_INPUT, _Cancelled, _Sink(), resume, is_member, supervisor())
    async with asyncio.timeout(30):
        await owner.take_over({TopicPartition(TRADES_INPUT.raw, 0)}, 7)
        await resumed.wait()
    assert owner.tasks[0].state is TaskState.RUNNING


async def test_a_failed_task_is_replaced_only_while_the_group_counts_this_worker_in(monkeypatch):
    """A zombie's tasks fail before it learns that it is one: it must not fence the heir."""
    monkeypatch.setattr(ownership, "RETAKE_WAIT_S_MIN", 0.001)
    monkeypatch.setattr(ownership, "RETAKE_WAIT_S_MAX", 0.001)
    made: list[_Task] = []
    asked: list[int] = []
    resumed = asyncio.Event()
    member = False

    def new_task(partition: int) -> _Task:
        made.append(_Task(partition))
        return made[-1]

    async def is_member(generation: int) -> bool:
        asked.append(generation)
        return member

    async def resume(_starts: dict[TopicPartition, int]) -> None:
        resumed.set()

    owner = Ownership(TRADES_INPUT, new_task, _Sink(), resume, is_member, supervisor())
    await owner.take_over({TopicPartition(TRADES_INPUT.raw, 0)}, 7)
    made[0].state = TaskState.FAILED
    owner.on_task_ended(made[0])
    async with asyncio.timeout(30):
        while len(asked) < 3:  # noqa: ASYNC110 - what is asked is counted, nothing tells of it
            await asyncio.sleep(0.001)
        assert len(made) == 1, "a stranger took over"
        member = True
        await resumed.wait()
    assert len(made) == 2
    assert set(asked) == {7}


class _Owner:
    """An ownership of tasks that do nothing, and what was made for it."""

    def __init__(self) -> None:
        self.made: list[_Task] = []
        self.ownership = Ownership(
            TRADES_INPUT, self._new, _Sink(), self._resume, self._is_member, supervisor()
        )

    def _new(self, partition: int) -> _Task:
        self.made.append(_Task(partition))
        return self.made[-1]

    async def _resume(self, _starts: dict[TopicPartition, int]) -> None:
        raise AssertionError("nothing failed")

    async def _is_member(self, _generation: int) -> bool:
        return True

    async def assigned(self, *partitions: int, generation: int) -> dict[TopicPartition, int]:
        tps = {TopicPartition(TRADES_INPUT.raw, partition) for partition in partitions}
        return await self.ownership.take_over(tps, generation)


async def test_a_partition_that_stays_keeps_its_task_and_one_that_goes_is_closed():
    """A rebalance of others must not cost a recovery: only what is newly assigned is taken over."""
    owner = _Owner()
    await owner.assigned(0, 1, generation=1)
    stays, goes = owner.made
    starts = await owner.assigned(0, 2, generation=2)
    assert owner.ownership.tasks[0] is stays
    assert stays.state is TaskState.RUNNING
    assert goes.state is TaskState.CLOSED
    assert [task.partition for task in owner.made] == [0, 1, 2]
    assert starts == {
        TopicPartition(TRADES_INPUT.raw, 0): 5,
        TopicPartition(TRADES_INPUT.raw, 2): 5,
    }


async def test_a_worker_that_missed_a_generation_keeps_no_task():
    """Somebody else had the partition meanwhile: the task is fenced, and has not noticed yet."""
    owner = _Owner()
    await owner.assigned(0, generation=1)
    (overtaken,) = owner.made
    await owner.assigned(0, generation=3)
    assert overtaken.state is TaskState.CLOSED
    assert owner.ownership.tasks[0] is owner.made[1]


async def test_what_was_fenced_waits_for_a_new_assignment():
    """Somebody else owns the partition: to begin again unasked would fence the rightful owner."""
    owner = _Owner()
    await owner.assigned(0, generation=1)
    (fenced,) = owner.made
    fenced.state = TaskState.FENCED
    owner.ownership.on_task_ended(fenced)
    assert not owner.ownership._retakes
    await owner.assigned(0, generation=2)
    assert owner.ownership.tasks[0] is owner.made[1]
    assert owner.made[1].state is TaskState.RUNNING


async def test_a_release_under_way_is_said_until_it_is_over():
    """The watchdog bounds it: the whole group waits meanwhile."""
    owner = _Owner()
    await owner.assigned(0, generation=1)
    over = asyncio.Event()
    owner.made[0].release = over.wait
    releasing = asyncio.create_task(owner.ownership.release(set()))
    await asyncio.sleep(0.01)
    assert owner.ownership.releasing == 1
    over.set()
    await releasing
    assert owner.ownership.releasing is None
