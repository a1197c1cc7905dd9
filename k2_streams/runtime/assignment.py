"""Which partitions this worker owns: tasks for the source's, the sink for the log's."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from k2_streams.core.records.source import RawInput
from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka.hanging_transactions import UnsettledError
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.transactions import FencedError
from k2_streams.lake.errors import LakeConfigError, LakeUnavailableError
from k2_streams.runtime.control.supervisor import BackgroundTask, Supervisor
from k2_streams.runtime.fetched import Fetched, partitions_of
from k2_streams.runtime.sinks.runner import SinkRunner
from k2_streams.runtime.task.lifecycle import TaskLifecycle, TaskState
from k2_streams.runtime.task.resume import PositionError
from k2_streams.state.rebuild import StateLostError

log = structlog.get_logger(__name__)

#: A task that failed is replaced after 0.2, 0.4, 0.8 ... seconds, at the most this many apart.
RETAKE_WAIT_S_MIN = 0.2
RETAKE_WAIT_S_MAX = 10.0

Resume = Callable[[Mapping[TopicPartition, int]], Awaitable[None]]
#: Told that the records of a partition from an offset on cannot be used, and why.
Reject = Callable[[TopicPartition, int, Exception], None]
#: Asks the group whether this worker is its member in this generation.
IsMember = Callable[[int], Awaitable[bool]]


class Ownership:
    """Takes partitions over, keeps those that stay, replaces what failed, lets go of the rest.

    One change at a time: an assignment, a release and the replacement of a task exclude each other.
    """

    def __init__(
        self,
        source: RawInput,
        new_task: Callable[[int], TaskLifecycle],
        sink: SinkRunner,
        resume: Resume,
        is_member: IsMember,
        supervisor: Supervisor,
        reject: Reject = lambda _tp, _offset, _error: None,
        partitions: int | None = None,
    ) -> None:
        self._raw, self._log = source.raw, source.stream.log
        self.tasks: dict[int, TaskLifecycle] = {}
        self.refused: dict[int, str] = {}  # partitions that wait for a person, and why
        self.assigned: set[TopicPartition] = set()
        self.releasing: int | None = None  # which release is under way: they are counted
        self._releases = 0
        self._new_task = new_task
        self._sink = sink
        self._resume = resume
        self._is_member = is_member
        self._generation = -1
        self._supervisor = supervisor
        self._reject = reject
        self._partitions = partitions  # of each topic; None: whatever is assigned
        self._changing = asyncio.Lock()
        self._retakes: dict[int, BackgroundTask] = {}
        self._sink_retry: BackgroundTask | None = None
        self._stopped = False

    async def take_over(
        self, assigned: set[TopicPartition], generation: int
    ) -> dict[TopicPartition, int]:
        """Own these; where each is read on from. One that is left out is not read for now."""
        await failpoint_in_loop("rebalance.assigned")
        async with self._changing:
            # In a generation without this worker its partitions were somebody else's, and no task
            # need have noticed: fenced after this assignment, it would wait for another one.
            was_member = generation - self._generation in (0, 1)
            self._generation = generation
            beyond = {tp for tp in assigned if self._is_beyond(tp)}
            assigned = self.assigned = assigned - beyond
            raw, log_ = partitions_of(assigned, self._raw), partitions_of(assigned, self._log)
            # A task that was fenced or failed is replaced now: this is a new assignment.
            stays = {p for p, task in self.tasks.items() if was_member and p in raw and _runs(task)}
            gone = set(self.tasks) - stays
            await asyncio.gather(*(self._close(partition) for partition in gone))
            self._cancel_retakes()
            self.refused = {tp.partition: self._why_beyond(tp) for tp in sorted(beyond)}
            fresh = raw - set(self.tasks)
            outcomes = await asyncio.gather(*(self._take(partition) for partition in sorted(fresh)))
            starts = {
                TopicPartition(self._raw, p): task.next_offset
                for p, task in self.tasks.items()
                if _runs(task)
            }
            for partition, failed in zip(sorted(fresh), outcomes, strict=True):
                if failed:
                    self._retake_later(partition)
            await failpoint_in_loop("rebalance.taken")
            return starts | (await self._take_sink(log_) or {})

    def _is_beyond(self, tp: TopicPartition) -> bool:
        return self._partitions is not None and tp.partition >= self._partitions

    def _why_beyond(self, tp: TopicPartition) -> str:
        return (
            f"{tp.topic} has more partitions than K2_PARTITIONS={self._partitions}: this one is "
            "not read; the number is part of the state: start afresh as the README says"
        )

    async def release(self, _revoked: set[TopicPartition]) -> None:
        """A rebalance has begun: every task commits what is open. Who keeps what is said later."""
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
        """Commit what is open and let go of everything."""
        async with self._changing:
            self._stopped = True
            await failpoint_in_loop("shutdown.begun")
            self._cancel_retakes()
            await asyncio.gather(*(task.release() for task in self.tasks.values()))
            await failpoint_in_loop("shutdown.released")
            await asyncio.gather(*(self._close(partition) for partition in list(self.tasks)))
            await failpoint_in_loop("shutdown.let-go")
            await self._sink.close()

    def offer_raw(self, fetched: Fetched) -> None:
        """Records of the source, to their task."""
        task = self.tasks.get(fetched.tp.partition)
        if task is not None:
            self._offer(task.offer, fetched)

    def offer_log(self, fetched: Fetched) -> None:
        """Records of the log, to the sink."""
        self._offer(self._sink.offer, fetched)

    def _offer(self, offer: Callable[[Fetched], None], fetched: Fetched) -> None:
        """An agent that raised would take the records of all partitions with it."""
        try:
            offer(fetched)
        except Exception as error:  # noqa: BLE001 - bytes that are no batch raise whatever they make
            self._reject(fetched.tp, fetched.start, error)

    def on_task_ended(self, task: TaskLifecycle) -> None:
        """A task failed or was fenced.

        Fenced means that someone else owns the partition: nothing is started before a new
        assignment. (A zombie that rebuilt its producer fenced the rightful owner, in a trial.)
        """
        if self.tasks.get(task.partition) is not task or self._stopped:
            return
        if task.state is TaskState.FAILED:
            self._retake_later(task.partition)

    async def _take(self, partition: int) -> bool:
        """Start a task; True if it failed in a way that time may mend."""
        task = self.tasks[partition] = self._new_task(partition)
        try:
            await task.take_over()
        except FencedError:
            return False
        except (PositionError, StateLostError, UnsettledError) as error:
            self.refused[partition] = str(error)
            log.error("partition refused", partition=partition, error=str(error))  # noqa: TRY400 - a person reads the text, not a trace
            return False
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            # A library's own: what it waited for inside was cancelled, not this.
            log.warning("take-over failed", partition=partition, error=type(error).__name__)
            return True
        except Exception as error:  # noqa: BLE001 - whatever broker or disk said: tried again
            log.warning(
                "take-over failed", partition=partition, error=f"{type(error).__name__}: {error}"
            )
            return True
        return False

    async def _take_sink(self, partitions: set[int]) -> dict[TopicPartition, int] | None:
        """Where the sink reads on; None if the lake is away or refused, and it is tried again."""
        try:
            starts = await self._sink.assign(partitions)
        except (LakeUnavailableError, LogError, OSError) as error:
            self._sink.retrying = f"{type(error).__name__}: {error}"
            log.warning("sink cannot start yet", error=self._sink.retrying)
            self._retry_sink_later()
            return None
        except LakeConfigError as error:
            self._sink.refuse(error)
            self._retry_sink_later()
            return None
        except Exception as error:  # whatever another engine did to the table: tried again
            self._sink.retrying = f"{type(error).__name__}: {error}"
            log.exception("sink cannot start", error=self._sink.retrying)
            self._retry_sink_later()
            return None
        self._sink.retrying = None
        return {
            TopicPartition(self._log, partition): offset for partition, offset in starts.items()
        }

    async def _close(self, partition: int) -> None:
        await self.tasks.pop(partition).close()

    # -- replacing what failed -------------------------------------------------------------------

    def _cancel_retakes(self) -> None:
        for retake in self._retakes.values():
            retake.cancel()
        self._retakes = {}
        if self._sink_retry is not None:
            self._sink_retry.cancel()
            self._sink_retry = None

    def _retake_later(self, partition: int) -> None:
        if partition not in self._retakes and not self._stopped:
            self._retakes[partition] = self._supervisor.spawn(
                f"retake-{partition}",
                self._retake(partition),
                lambda _: self._retake_again(partition),
            )

    def _retake_again(self, partition: int) -> None:
        """The replacement itself failed, in a way that it does not know."""
        self._retakes.pop(partition, None)
        self._retake_later(partition)

    def _retry_sink_later(self) -> None:
        if self._sink_retry is None and not self._stopped:
            self._sink_retry = self._supervisor.spawn(
                "sink-retry", self._retry_sink(), lambda _: self._retry_sink_again()
            )

    def _retry_sink_again(self) -> None:
        """The retry itself failed, in a way that it does not know."""
        self._sink_retry = None
        self._retry_sink_later()

    async def _retake(self, partition: int) -> None:
        wait_s, generation = RETAKE_WAIT_S_MIN, self._generation
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETAKE_WAIT_S_MAX)
            # A process that was stopped for longer than its session learns of it late. Its tasks
            # fail by their deadlines before: to take over then would fence the rightful owner, who
            # gets no new assignment to come back by.
            if not await self._is_member(generation):
                continue
            async with self._changing:
                if (
                    self._generation != generation
                    or TopicPartition(self._raw, partition) not in self.assigned
                ):
                    return  # the group has decided anew
                if partition in self.tasks:
                    await self._close(partition)
                if await self._take(partition):
                    continue
                self._retakes.pop(partition, None)
                task = self.tasks[partition]
                if _runs(task):
                    await self._resume({TopicPartition(self._raw, partition): task.next_offset})
                return

    async def _retry_sink(self) -> None:
        attempt, generation = 0, self._generation
        while True:
            attempt += 1
            await asyncio.sleep(self._sink.guard.pause_s(attempt))
            async with self._changing:
                if self._generation != generation:
                    return  # the group has decided anew
                starts = await self._take_sink(partitions_of(self.assigned, self._log))
                if starts is None:
                    continue
                self._sink_retry = None
                if starts:
                    await self._resume(starts)
                return


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _runs(task: TaskLifecycle) -> bool:
    return task.state is TaskState.RUNNING
