"""A task's life: one source partition from take-over to close.

            take_over             restored
    CREATED ----> RECOVERING ----> RUNNING ----> CLOSED
                      |               |
                      |--- error -----|----> FAILED: a new task, if the group still assigns it
                      |               |
                      '--- fenced ----'----> FENCED: a new task only after a NEW assignment,
                                                     since someone else owns the partition

A task is used once: whatever goes wrong, it is closed and another one takes the partition over.
"""

import asyncio
import enum
from collections.abc import Callable

import structlog

from k2_streams.core.error_text import described
from k2_streams.core.records.record_failures import RecordFailures
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.transactions import FencedError
from k2_streams.runtime.control.supervisor import BackgroundTask
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.history.feed import HistoryFeed
from k2_streams.runtime.history.lake_history import LakeHistory
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.processing_error import ProcessingError
from k2_streams.runtime.task.program import TaskDeferral
from k2_streams.runtime.task.running import Flow, RunningTask
from k2_streams.runtime.task.take_over import Taken, TakeOver
from k2_streams.state.position import Position

log = structlog.get_logger(__name__)

#: A rebalance waits for a task this long.
RELEASE_WITHIN_S = 3.0


class TaskState(enum.Enum):
    """Where a task stands."""

    CREATED = "created"
    RECOVERING = "recovering"
    RUNNING = "running"
    FENCED = "fenced"
    FAILED = "failed"
    CLOSED = "closed"


_TRANSITIONS = {
    TaskState.CREATED: {TaskState.RECOVERING, TaskState.CLOSED},
    TaskState.RECOVERING: {TaskState.RUNNING, TaskState.FENCED, TaskState.FAILED, TaskState.CLOSED},
    TaskState.RUNNING: {TaskState.FENCED, TaskState.FAILED, TaskState.CLOSED},
    TaskState.FENCED: {TaskState.CLOSED},
    TaskState.FAILED: {TaskState.CLOSED},
    TaskState.CLOSED: set(),
}


class TaskLifecycle:
    """Owns a partition of the source: takes it over, runs its task, suspends it and ends it."""

    def __init__(
        self,
        partition: int,
        context: TaskContext,
        *,
        on_pause: Callable[[bool], None],
        on_seek: Callable[[int], None],
        on_ended: Callable[["TaskLifecycle"], None],
        is_source_held: Callable[[], bool] = lambda: False,
    ) -> None:
        self.partition = partition
        self.state = TaskState.CREATED
        self.error: BaseException | None = None
        self.running: RunningTask | None = None  # None: it does not own the partition yet
        self._context = context
        self._flow = Flow(on_pause, on_seek)
        self._feed: HistoryFeed | None = None  # None: its records come from the topic
        self._feeding: BackgroundTask | None = None
        self._on_ended = on_ended
        self._is_source_held = is_source_held
        self._take_over: TakeOver | None = None

    # -- take-over ---------------------------------------------------------------------------

    async def take_over(self) -> int:
        """Own the partition; returns the source offset to read on from.

        Raises:
            FencedError: someone else took it over meanwhile.
            PositionError, StateLostError: a person must decide.
            Exception: the broker or the disk failed; another task may try again.
        """
        self._to(TaskState.RECOVERING)
        context, started = self._context, self._context.clock.monotonic()
        try:
            self._take_over = TakeOver(context, self.partition)
            running = self._started(await self._take_over.run())
        except BaseException as error:
            await self._end(
                TaskState.FENCED if isinstance(error, FencedError) else TaskState.FAILED, error
            )
            raise
        self._to(TaskState.RUNNING)
        context.metrics.task.take_over_seconds.observe(context.clock.monotonic() - started)
        running.start()
        if context.history is not None:
            self._feed_from(context.history, running)
        return running.next_offset

    def _feed_from(self, history: LakeHistory, running: RunningTask) -> None:
        """Give the task what the lake has."""
        context, tp = self._context, TopicPartition(self.topic, self.partition)
        self._feed = HistoryFeed(
            tp, history, running, context.kafka, self._flow.on_seek, self._is_source_held
        )
        self._feeding = context.supervisor.spawn(
            f"history-{self.partition}", self._feed.run(), self._feed_failed
        )

    def _feed_failed(self, error: BaseException) -> None:
        if self.state is TaskState.RUNNING:
            end = self._failed(error)
            self._context.supervisor.spawn(f"task-end-{self.partition}", end, lambda _: None)

    def _pause(self, busy: bool) -> None:
        if not self.is_in_history:
            self._flow.on_pause(busy)

    def _seek(self, offset: int) -> None:
        if self._feed is not None and not self._feed.is_over:
            self._feed.dropped()
        else:
            self._flow.on_seek(offset)

    def _started(self, taken: Taken) -> RunningTask:
        """The running task; it reads of its tables what it must know before the first record."""
        flow = Flow(self._pause, self._seek)
        self.running = RunningTask(self.partition, self._context, taken, flow, self._failed)
        position = taken.position
        log.info(
            "task took over",
            partition=self.partition,
            offset=taken.starts.source,
            rows={name: one.rows for name, one in sorted(position.tables.items())},
            deferred=self.running.deferred_records,
            replayed=taken.restored.replayed,
            wiped=taken.restored.wiped,
        )
        return self.running

    # -- what others ask -----------------------------------------------------------------------

    @property
    def is_in_history(self) -> bool:
        """Whether its records come from the lake: the topic is not read yet."""
        return self._feed is not None and not self._feed.is_over

    @property
    def next_offset(self) -> int:
        """The next source offset that is not processed; 0 before the take-over."""
        return self.running.next_offset if self.running else 0

    @property
    def lag_records(self) -> int:
        """Records of the source that are neither processed nor deferred."""
        return self.running.lag_records if self.running else 0

    @property
    def end_offset(self) -> int:
        """The end of the source's partition, as last seen."""
        return self.running.end_offset if self.running else 0

    @end_offset.setter
    def end_offset(self, offset: int) -> None:
        if self.running:
            self.running.end_offset = offset

    @property
    def deferral(self) -> TaskDeferral | None:
        """The backlog; None before the take-over."""
        return self.running.deferral if self.running else None

    @property
    def deferred_records(self) -> int:
        """Records of the backlog."""
        return self.running.deferred_records if self.running else 0

    @property
    def topic(self) -> str:
        """Of the source."""
        return self._context.source.name

    @property
    def failures(self) -> RecordFailures:
        """Records of this partition that could not be processed, in this task or one before."""
        return self._context.failures[self.partition]

    @property
    def position(self) -> Position | None:
        """Of the newest checkpoint begun; None before the take-over."""
        return self.running.position if self.running else None

    def wake(self) -> None:
        """The level is another one: look again at what is to be done."""
        if self.running:
            self.running.wake()

    def offer(self, fetched: Fetched) -> None:
        """Take records to work on. Never blocks: a task with enough to do pauses its partition."""
        if self.running and self.state is TaskState.RUNNING and not self.is_in_history:
            self.running.offer(fetched)

    # -- the end -----------------------------------------------------------------------------

    async def release(self) -> None:
        """A rebalance has begun: commit what is open, within a bound, and go on waiting.

        What could not be committed in time is dropped with the task.
        """
        if self.running is None or self.state is not TaskState.RUNNING:
            return
        try:
            await self.running.suspend(RELEASE_WITHIN_S)
        except Exception as error:  # noqa: BLE001 - a time-out too: the outcome is unknown
            await self._failed(error)
        else:
            self.running.start()
            if self._feed is not None:
                self._feed.dropped()

    async def close(self) -> None:
        """End the task. What is not committed is dropped; the successor works it again."""
        if self.state is TaskState.CLOSED:
            return
        await self._close_resources()
        self._to(TaskState.CLOSED)

    async def _failed(self, error: BaseException) -> None:
        await self._end(
            TaskState.FENCED if isinstance(error, FencedError) else TaskState.FAILED, error
        )

    async def _end(self, state: TaskState, error: BaseException) -> None:
        self.error = error
        self._to(state)
        self._context.metrics.task.task_failures_total.labels(state.value).inc()
        failed = error if isinstance(error, ProcessingError) else None
        log.warning(
            "task ended",
            state=state.value,
            topic=self._context.source.name,
            partition=self.partition,
            offset=failed.start if failed else self.next_offset,
            last_offset=failed.end - 1 if failed else None,
            feed=failed.feed if failed else None,
            error=failed.error if failed else described(error),
            failures=self.failures.last.count if failed and self.failures.last else None,
        )
        try:
            await self._close_resources()
        finally:  # whatever fails to close: the partition needs another task
            self._on_ended(self)

    async def _close_resources(self) -> None:
        """Stop the task, then close what the take-over opened."""
        if self._feeding is not None:
            await self._feeding.close()
        if self.running is not None:
            await self.running.stop()
        taken, self._take_over = self._take_over, None
        if taken is None:
            return
        await self._stop_producer(taken)
        if self.running is not None:
            await self.running.deferral.close()
        # Behind what is still being written in the tasks' thread.
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._context.pool, taken.tables.close)

    async def _stop_producer(self, taken: TakeOver) -> None:
        try:
            async with asyncio.timeout(RELEASE_WITHIN_S):
                await taken.producer.stop()
        except Exception as error:  # noqa: BLE001 - the broker aborts what is left open
            log.warning("producer did not stop", partition=self.partition, error=str(error))

    def _to(self, state: TaskState) -> None:
        if state not in _TRANSITIONS[self.state]:
            raise AssertionError(f"task {self.partition}: {self.state.value} to {state.value}")
        self.state = state
