"""Who may take a partition over again, and when."""

import asyncio

from faust.types import TP

from k2_streams.core.stream import TRADES
from k2_streams.runtime import ownership
from k2_streams.runtime.ownership import Ownership
from k2_streams.runtime.task import TaskState


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

    async def resume(_starts: dict[TP, int]) -> None:
        resumed.set()

    owner = Ownership(TRADES, _Cancelled, _Sink(), resume, is_member)
    async with asyncio.timeout(30):
        await owner.take_over({TP(TRADES.raw, 0)}, 7)
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

    async def resume(_starts: dict[TP, int]) -> None:
        resumed.set()

    owner = Ownership(TRADES, new_task, _Sink(), resume, is_member)
    await owner.take_over({TP(TRADES.raw, 0)}, 7)
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
