"""Who may take a partition over again, and when; what becomes of topics that nobody declared."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import pytest

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.runtime.assignment import Ownership, UndeclaredTopicError
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.flow import PartitionFlow
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.task.lifecycle import TaskState

RAW, LOG, OTHER = TRADES_INPUT.raw, TRADES_INPUT.stream.log, "k2.quotes.raw"
#: Replacements come at once.
SOON = Limits(retake_first_s=0.001, retake_most_s=0.001)


class _Task:
    """A task that fails as soon as it is told to."""

    is_in_history = False

    def __init__(self, partition: int, topic: str = RAW) -> None:
        self.partition = partition
        self.topic = topic
        self.state = TaskState.CREATED
        self.next_offset = 5
        self.offered: list[Fetched] = []
        self.error: BaseException | None = None

    async def take_over(self) -> int:
        self.state = TaskState.RUNNING
        return self.next_offset

    async def close(self) -> None:
        self.state = TaskState.CLOSED

    def offer(self, fetched: Fetched) -> None:
        self.offered.append(fetched)


class _Cancelled(_Task):
    """Something in a library is cancelled while the first of these takes over."""

    tries = 0

    async def take_over(self) -> int:
        type(self).tries += 1
        if self.tries == 1:
            self.state = TaskState.FAILED
            raise asyncio.CancelledError
        return await super().take_over()


class _InHistory(_Task):
    """A task that reads history from the lake."""

    is_in_history = True


class _Sink:
    """Reads on from offset 9, and notes what it is offered."""

    retrying = None

    def __init__(self) -> None:
        self.offered: list[Fetched] = []

    async def assign(self, partitions: set[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 9)

    def offer(self, fetched: Fetched) -> None:
        self.offered.append(fetched)


class _Group:
    """Everything is assigned; what was sought and rejected is noted."""

    def __init__(self) -> None:
        self.assigned: set[TopicPartition] = set()
        self.sought = asyncio.Event()
        self.rejected: list[tuple[TopicPartition, int]] = []
        self.asked: list[int] = []
        self.member = True

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    def pause_partitions(self, tps: Iterable[TopicPartition]) -> None: ...

    def resume_partitions(self, tps: Iterable[TopicPartition]) -> None: ...

    async def seek_to(self, _starts: Mapping[TopicPartition, int]) -> None:
        self.sought.set()

    async def is_member(self, generation: int) -> bool:
        self.asked.append(generation)
        return self.member

    async def reject(self, tp: TopicPartition, offset: int, _error: Exception) -> None:
        self.rejected.append((tp, offset))


class _Owner:
    """An ownership of tasks that do nothing, and what was made for it."""

    def __init__(self, task: Callable[..., _Task] = _Task, limits: Limits = DEFAULT_LIMITS) -> None:
        self.made: list[_Task] = []
        self.group, self.sink, self.other_sink = _Group(), _Sink(), _Sink()
        self._task = task
        supervisor = Supervisor(SYSTEM_CLOCK, Metrics())
        self.ownership = Ownership(
            {RAW: lambda p: self._new(p, RAW), OTHER: lambda p: self._new(p, OTHER)},
            {LOG: self.sink, "k2.quotes": self.other_sink},
            PartitionFlow(self.group, [], supervisor, limits, Metrics().source),
            self.group.is_member,
            supervisor,
            partitions=4,
            limits=limits,
        )

    def _new(self, partition: int, topic: str) -> _Task:
        self.made.append(self._task(partition, topic))
        return self.made[-1]

    async def assigned(
        self, *partitions: int, generation: int, topic: str = RAW
    ) -> dict[TopicPartition, int]:
        tps = {TopicPartition(topic, partition) for partition in partitions}
        return await self.take_over(tps, generation)

    async def take_over(
        self, tps: set[TopicPartition], generation: int
    ) -> dict[TopicPartition, int]:
        self.group.assigned = tps
        return await self.ownership.take_over(tps, generation)


async def test_a_cancellation_within_a_take_over_is_a_failure_like_another():
    """It ended the replacement in silence, and nobody worked the partition any more."""
    owner = _Owner(_Cancelled, SOON)
    async with asyncio.timeout(30):
        await owner.assigned(0, generation=7)
        await owner.group.sought.wait()
    assert owner.ownership.tasks[TopicPartition(RAW, 0)].state is TaskState.RUNNING


async def test_a_failed_task_is_replaced_only_while_the_group_counts_this_worker_in():
    """A zombie's tasks fail before it learns that it is one: it must not fence the heir."""
    owner = _Owner(limits=SOON)
    owner.group.member = False
    await owner.assigned(0, generation=7)
    owner.made[0].state = TaskState.FAILED
    owner.ownership.on_task_ended(owner.made[0])
    async with asyncio.timeout(30):
        while len(owner.group.asked) < 3:  # noqa: ASYNC110 - what is asked is counted, nothing tells of it
            await asyncio.sleep(0.001)
        assert len(owner.made) == 1, "a stranger took over"
        owner.group.member = True
        await owner.group.sought.wait()
    assert len(owner.made) == 2
    assert set(owner.group.asked) == {7}


async def test_a_partition_that_stays_keeps_its_task_and_one_that_goes_is_closed():
    """A rebalance of others must not cost a recovery: only what is newly assigned is taken over."""
    owner = _Owner()
    await owner.assigned(0, 1, generation=1)
    stays, goes = owner.made
    starts = await owner.assigned(0, 2, generation=2)
    assert owner.ownership.tasks[TopicPartition(RAW, 0)] is stays
    assert stays.state is TaskState.RUNNING
    assert goes.state is TaskState.CLOSED
    assert [task.partition for task in owner.made] == [0, 1, 2]
    assert starts == {TopicPartition(RAW, 0): 5, TopicPartition(RAW, 2): 5}


async def test_a_worker_that_missed_a_generation_keeps_no_task():
    """Somebody else had the partition meanwhile: the task is fenced, and has not noticed yet."""
    owner = _Owner()
    await owner.assigned(0, generation=1)
    (overtaken,) = owner.made
    await owner.assigned(0, generation=3)
    assert overtaken.state is TaskState.CLOSED
    assert owner.ownership.tasks[TopicPartition(RAW, 0)] is owner.made[1]


async def test_what_was_fenced_waits_for_a_new_assignment():
    """Somebody else owns the partition: to begin again unasked would fence the rightful owner."""
    owner = _Owner()
    await owner.assigned(0, generation=1)
    (fenced,) = owner.made
    fenced.state = TaskState.FENCED
    owner.ownership.on_task_ended(fenced)
    assert not owner.ownership._retakes
    await owner.assigned(0, generation=2)
    assert owner.ownership.tasks[TopicPartition(RAW, 0)] is owner.made[1]
    assert owner.made[1].state is TaskState.RUNNING


async def test_a_release_under_way_is_said_until_it_is_over():
    """The watchdog bounds it: the whole group waits meanwhile."""
    owner = _Owner()
    await owner.assigned(0, generation=1)
    begun, over = asyncio.Event(), asyncio.Event()

    async def release():
        begun.set()
        await over.wait()

    owner.made[0].release = release
    releasing = asyncio.create_task(owner.ownership.release())
    await begun.wait()
    assert owner.ownership.releasing == 1
    over.set()
    await releasing
    assert owner.ownership.releasing is None


async def test_the_same_partition_of_two_sources_has_a_task_of_each():
    """Tasks are known by topic and partition; each gets the records of its own."""
    owner = _Owner()
    one, other = TopicPartition(RAW, 0), TopicPartition(OTHER, 0)
    assert await owner.take_over({one, other}, 1) == {one: 5, other: 5}
    for tp in (one, other):
        owner.ownership.offer(Fetched(tp, 5, 6, [], 6))
        assert [fetched.tp for fetched in owner.ownership.tasks[tp].offered] == [tp]
    await owner.take_over({other}, 2)
    assert list(owner.ownership.tasks) == [other]
    (closed,) = [task for task in owner.made if task.state is TaskState.CLOSED]
    assert closed.topic == RAW


async def test_each_log_has_a_sink_of_its_own():
    owner = _Owner()
    one, other = TopicPartition(LOG, 1), TopicPartition("k2.quotes", 2)
    assert await owner.take_over({one, other}, 1) == {one: 9, other: 9}
    owner.ownership.offer(Fetched(one, 9, 10, [], 10))
    owner.ownership.offer(Fetched(other, 9, 10, [], 10))
    assert [fetched.tp for fetched in owner.sink.offered] == [one]
    assert [fetched.tp for fetched in owner.other_sink.offered] == [other]


async def test_a_partition_whose_history_ends_while_a_sink_is_assigned_is_read():
    """It was resumed by the end of its history, and paused for good by this assignment."""
    owner = _Owner(_InHistory)
    assign = owner.sink.assign

    async def while_history_ends(partitions: set[int]) -> dict[int, int]:
        owner.made[0].is_in_history = False
        return await assign(partitions)

    owner.sink.assign = while_history_ends
    ended, lasts, log = TopicPartition(RAW, 0), TopicPartition(RAW, 1), TopicPartition(LOG, 0)
    assert await owner.take_over({ended, lasts, log}, 1) == {ended: 5, log: 9}


async def test_records_that_raise_stop_their_partition_alone():
    owner = _Owner()
    tp = TopicPartition(RAW, 0)
    await owner.take_over({tp}, 1)

    def refuse(_fetched: Fetched) -> None:
        raise ValueError("no batch")

    owner.made[0].offer = refuse
    owner.ownership.offer(Fetched(tp, 5, 8, [], 8))
    await asyncio.sleep(0)
    assert owner.group.rejected == [(tp, 5)]


async def test_a_topic_that_nobody_declared_is_named():
    """Its records would be read by nobody, and nothing would say so."""
    owner = _Owner()
    mine = TopicPartition("mine", 0)
    with pytest.raises(UndeclaredTopicError, match="topic mine: no source or output") as refused:
        await owner.take_over({mine, TopicPartition(RAW, 0)}, 1)
    assert RAW in str(refused.value), "what is declared is named as well"
    assert owner.made == [], "nothing is taken over"
    with pytest.raises(UndeclaredTopicError, match="topic mine"):
        owner.ownership.offer(Fetched(mine, 0, 1, [], 1))


async def test_partitions_beyond_the_number_are_refused_and_the_others_worked():
    owner = _Owner()
    starts = await owner.assigned(3, 4, generation=1)
    assert starts == {TopicPartition(RAW, 3): 5}
    assert owner.ownership.beyond == {TopicPartition(RAW, 4)}
    assert "K2_PARTITIONS=4" in owner.ownership.refused[TopicPartition(RAW, 4)]
