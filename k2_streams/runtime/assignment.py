"""Which partitions this worker owns: tasks for the sources', sinks for the logs'."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

import structlog

from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka.hanging_transactions import UnsettledError
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.topics import START_AFRESH
from k2_streams.kafka.transactions import FencedError
from k2_streams.lake.errors import LakeConfigError, LakeUnavailableError
from k2_streams.runtime.control.supervisor import BackgroundTask, Supervisor
from k2_streams.runtime.fetched import Fetched, partitions_of
from k2_streams.runtime.flow import PartitionFlow
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.sinks.runner import SinkRunner
from k2_streams.runtime.task.lifecycle import TaskLifecycle, TaskState
from k2_streams.runtime.task.resume import PositionError
from k2_streams.state.rebuild import StateLostError
from k2_streams.topology.errors import TaskStoppedError

log = structlog.get_logger(__name__)

#: Makes a task of one partition of a source.
NewTask = Callable[[int], TaskLifecycle]
#: Asks the group whether this worker is its member in this generation.
IsMember = Callable[[int], Awaitable[bool]]


class UndeclaredTopicError(Exception):
    """A topic that no source and no output of the app declares; its records reach nobody."""

    def __init__(self, topics: Iterable[str], declared: Iterable[str]) -> None:
        names = sorted(set(topics))
        super().__init__(
            f"topic {', '.join(names)}: no source or output of this app declares "
            f"{'it' if len(names) == 1 else 'them'}, so nothing would process the records; "
            f"remove the agent or declare the topic (declared: {', '.join(sorted(declared))})"
        )


class Ownership:
    """Takes partitions over, keeps those that stay, replaces what failed, closes the rest.

    One change at a time: an assignment, a release and the replacement of a task exclude each other.

    Args:
        sources: per topic of a source what makes a task of one of its partitions.
        sinks: per topic of a log what appends it to its table.
        flow: pauses, resumes and seeks the partitions.
        is_member: asked before a failed task is replaced.
        supervisor: of the worker's background tasks.
        partitions: of each topic; None: whatever is assigned.
        limits: for the pauses between replacements.
    """

    def __init__(
        self,
        sources: Mapping[str, NewTask],
        sinks: Mapping[str, SinkRunner],
        flow: PartitionFlow,
        is_member: IsMember,
        supervisor: Supervisor,
        *,
        partitions: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.tasks: dict[TopicPartition, TaskLifecycle] = {}
        #: Partitions that wait for a person, and why.
        self.refused: dict[TopicPartition, str] = {}
        #: Assigned partitions above the number that the topics have.
        self.beyond: frozenset[TopicPartition] = frozenset()
        self.assigned: set[TopicPartition] = set()
        self.releasing: int | None = None  # which release is under way: they are counted
        self._releases = 0
        self._sources = dict(sources)
        self._sinks = dict(sinks)
        self._flow = flow
        self._is_member = is_member
        self._generation = -1
        self._supervisor = supervisor
        self._partitions = partitions
        self._limits = limits
        self._changing = asyncio.Lock()
        self._retakes: dict[TopicPartition, BackgroundTask] = {}
        self._sink_retries: dict[str, BackgroundTask] = {}
        self._stopped = False

    @property
    def topics(self) -> set[str]:
        """Of the sources and the logs."""
        return {*self._sources, *self._sinks}

    async def take_over(
        self, assigned: set[TopicPartition], generation: int
    ) -> dict[TopicPartition, int]:
        """Own these; where each is read on from. One that is left out is not read for now.

        Raises:
            UndeclaredTopicError: nothing here works one of the topics.
        """
        unknown = {tp.topic for tp in assigned} - self.topics
        if unknown:
            raise UndeclaredTopicError(unknown, self.topics)
        await failpoint_in_loop("rebalance.assigned")
        async with self._changing:
            # In a generation without this worker its partitions were somebody else's, and no task
            # need have noticed: fenced after this assignment, it would wait for another one.
            was_member = generation - self._generation in (0, 1)
            self._generation = generation
            self.beyond = frozenset(tp for tp in assigned if self._is_beyond(tp))
            assigned = self.assigned = assigned - self.beyond
            self._flow.own(assigned)
            sources = {tp for tp in assigned if tp.topic in self._sources}
            # A task that was fenced or failed is replaced now: this is a new assignment.
            stays = {
                tp
                for tp, task in self.tasks.items()
                if was_member and tp in sources and _runs(task)
            }
            gone = set(self.tasks) - stays
            await asyncio.gather(*(self._close(tp) for tp in gone))
            self._cancel_retries()
            self.refused = {tp: self._why_beyond(tp) for tp in sorted(self.beyond)}
            fresh = sorted(sources - set(self.tasks))
            outcomes = await asyncio.gather(*(self._take(tp) for tp in fresh))
            for tp, failed in zip(fresh, outcomes, strict=True):
                if failed:
                    self._retake_later(tp)
            await failpoint_in_loop("rebalance.taken")
            starts: dict[TopicPartition, int] = {}
            for topic in self._sinks:
                starts |= await self._assign_sink(topic) or {}
            # Last: a task whose history ends while sinks are assigned is read from now on, and who
            # asked pauses what is not named here.
            read = {tp: task.next_offset for tp, task in self.tasks.items() if _is_read(task)}
            return starts | read

    def _is_beyond(self, tp: TopicPartition) -> bool:
        return self._partitions is not None and tp.partition >= self._partitions

    def _why_beyond(self, tp: TopicPartition) -> str:
        return (
            f"{tp.topic} has more partitions than K2_PARTITIONS={self._partitions}: this one is "
            f"not read; the number is part of the state: {START_AFRESH}"
        )

    async def release(self) -> None:
        """A rebalance has begun: every task commits what is open. The assignment follows."""
        await failpoint_in_loop("rebalance.revoked")
        async with self._changing:
            self._releases += 1
            self.releasing = self._releases
            try:
                await asyncio.gather(*(task.release() for task in self.tasks.values()))
            finally:
                self.releasing = None
        await failpoint_in_loop("rebalance.released")

    async def close(self) -> None:
        """Commit what is open and close every task."""
        async with self._changing:
            self._stopped = True
            await failpoint_in_loop("shutdown.begun")
            self._cancel_retries()
            await asyncio.gather(*(task.release() for task in self.tasks.values()))
            await failpoint_in_loop("shutdown.released")
            await asyncio.gather(*(self._close(tp) for tp in list(self.tasks)))
            await failpoint_in_loop("shutdown.tasks-closed")

    def offer(self, fetched: Fetched) -> None:
        """Records of a source to their task, of a log to its sink.

        Records that raise stop their partition: an agent that raised would take the records of all
        partitions with it.

        Raises:
            UndeclaredTopicError: nothing here works the topic.
        """
        topic = fetched.tp.topic
        if topic not in self._sources and topic not in self._sinks:
            raise UndeclaredTopicError([topic], self.topics)
        try:
            if topic in self._sinks:
                self._sinks[topic].offer(fetched)
            elif (task := self.tasks.get(fetched.tp)) is not None:
                task.offer(fetched)
        except Exception as error:  # noqa: BLE001 - bytes that are no batch raise whatever they make
            self._flow.reject(fetched.tp, fetched.start, error)

    def on_task_ended(self, task: TaskLifecycle) -> None:
        """A task failed or was fenced.

        Fenced means that someone else owns the partition: nothing is started before a new
        assignment. (A zombie that rebuilt its producer fenced the rightful owner, in a trial.)
        """
        tp = TopicPartition(task.topic, task.partition)
        if self.tasks.get(tp) is not task or self._stopped:
            return
        if isinstance(task.error, TaskStoppedError):
            self._refuse(tp, task.error)
        elif task.state is TaskState.FAILED:
            self._retake_later(tp)

    def _refuse(self, tp: TopicPartition, error: Exception) -> None:
        """A partition waits for a person; the others go on."""
        self.refused[tp] = str(error)
        self._flow.disown(tp)
        log.error("partition refused", topic=tp.topic, partition=tp.partition, error=str(error))

    async def _take(self, tp: TopicPartition) -> bool:
        """Start a task; True if it failed in a way that time may mend."""
        task = self.tasks[tp] = self._sources[tp.topic](tp.partition)
        try:
            await task.take_over()
        except FencedError:
            return False
        except (PositionError, StateLostError, UnsettledError) as error:
            self._refuse(tp, error)
            return False
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            # A library's own: what it waited for inside was cancelled, not this.
            log.warning("take-over failed", partition=tp.partition, error=type(error).__name__)
            return True
        except Exception as error:  # noqa: BLE001 - whatever broker or disk answered: tried again
            log.warning(
                "take-over failed", partition=tp.partition, error=f"{type(error).__name__}: {error}"
            )
            return True
        return False

    async def _assign_sink(self, topic: str) -> dict[TopicPartition, int] | None:
        """Where a sink reads on; None if the lake is away or refused, and it is tried again."""
        sink, partitions = self._sinks[topic], partitions_of(self.assigned, topic)
        try:
            starts = await sink.assign(partitions)
        except (LakeUnavailableError, LogError, OSError) as error:
            sink.retrying = f"{type(error).__name__}: {error}"
            log.warning("sink cannot start yet", topic=topic, error=sink.retrying)
        except LakeConfigError as error:
            sink.refuse(error)
        except Exception as error:  # whatever another engine did to the table: tried again
            sink.retrying = f"{type(error).__name__}: {error}"
            log.exception("sink cannot start", topic=topic, error=sink.retrying)
        else:
            sink.retrying = None
            return {TopicPartition(topic, partition): at for partition, at in starts.items()}
        self._retry_sink_later(topic)
        return None

    async def _close(self, tp: TopicPartition) -> None:
        await self.tasks.pop(tp).close()

    # -- replacing what failed -------------------------------------------------------------------

    def _cancel_retries(self) -> None:
        for retry in (*self._retakes.values(), *self._sink_retries.values()):
            retry.cancel()
        self._retakes = {}
        self._sink_retries = {}

    def _retake_later(self, tp: TopicPartition) -> None:
        if tp not in self._retakes and not self._stopped:
            self._retakes[tp] = self._supervisor.spawn(
                f"retake-{tp.partition}", self._retake(tp), lambda _: self._retake_again(tp)
            )

    def _retake_again(self, tp: TopicPartition) -> None:
        """The replacement itself failed, in a way that it does not know."""
        self._retakes.pop(tp, None)
        self._retake_later(tp)

    def _retry_sink_later(self, topic: str) -> None:
        if topic not in self._sink_retries and not self._stopped:
            self._sink_retries[topic] = self._supervisor.spawn(
                "sink-retry", self._retry_sink(topic), lambda _: self._retry_sink_again(topic)
            )

    def _retry_sink_again(self, topic: str) -> None:
        """The retry itself failed, in a way that it does not know."""
        self._sink_retries.pop(topic, None)
        self._retry_sink_later(topic)

    async def _retake(self, tp: TopicPartition) -> None:
        wait_s, generation = self._limits.retake_first_s, self._generation
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, self._limits.retake_most_s)
            # A process that was stopped for longer than its session learns of it late. Its tasks
            # fail by their deadlines before: to take over then would fence the rightful owner, who
            # gets no new assignment to come back by.
            if not await self._is_member(generation):
                continue
            async with self._changing:
                if self._generation != generation or tp not in self.assigned:
                    return  # the group has decided anew
                if tp in self.tasks:
                    await self._close(tp)
                if await self._take(tp):
                    continue
                self._retakes.pop(tp, None)
                task = self.tasks[tp]
                if _is_read(task):
                    await self._flow.resume({tp: task.next_offset})
                return

    async def _retry_sink(self, topic: str) -> None:
        attempt, generation = 0, self._generation
        while True:
            attempt += 1
            await asyncio.sleep(self._sinks[topic].guard.pause_s(attempt))
            async with self._changing:
                if self._generation != generation:
                    return  # the group has decided anew
                starts = await self._assign_sink(topic)
                if starts is None:
                    continue
                self._sink_retries.pop(topic, None)
                if starts:
                    await self._flow.resume(starts)
                return


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_read(task: TaskLifecycle) -> bool:
    """Whether its partition of the topic is to be read now."""
    return _runs(task) and not task.is_in_history


def _runs(task: TaskLifecycle) -> bool:
    return task.state is TaskState.RUNNING
