"""A task that owns its partition: its inbox, its epoch, and the loop that works both.

Complete from its constructor: what it needs was restored before (`take_over`). What ends it, and
what comes after, is decided by its `TaskLifecycle`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from k2_streams.core.error_text import described
from k2_streams.core.types import TopicPartition
from k2_streams.runtime.control.supervisor import BackgroundTask
from k2_streams.runtime.deferral.record import RestoredRecord
from k2_streams.runtime.fetched import Fetched, Record, joined
from k2_streams.runtime.task.checkpoint import Checkpoints
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.idle import IdleTime
from k2_streams.runtime.task.inbox import Inbox
from k2_streams.runtime.task.isolation import Isolation
from k2_streams.runtime.task.take_over import Taken
from k2_streams.state.position import Position

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

#: Of the backlog, less at once: the sources of all partitions come first.
DRAIN_RECORDS = 2_048
#: While the source has more than a batch, every so many batches one of the backlog.
DRAIN_EVERY_TURNS = 8
#: The broker is asked so long whether anything has come; later again.
IDLE_ASK_S = 5.0
#: Under K2_MAX_RATE_PER_S: without a token, a task looks again after this long.
STARVED_WAIT_S = 0.01


@dataclass(frozen=True, slots=True)
class Flow:
    """What a running task asks of who delivers its records."""

    on_pause: Callable[[bool], None]
    on_seek: Callable[[int], None]


class RunningTask:
    """One source partition's processing.

    Args:
        partition: of the source.
        context: of the worker.
        taken: what the take-over restored.
        flow: pauses the partition, and seeks in it.
        on_failed: ends the task with an error.
    """

    def __init__(
        self,
        partition: int,
        context: TaskContext,
        taken: Taken,
        flow: Flow,
        on_failed: Callable[[BaseException], Coroutine[Any, Any, None]],
    ) -> None:
        position = taken.position
        self.partition = partition
        self.end_offset = 0  # of the source, as last seen
        self.deferral = taken.tables.deferral(position, self.wake)
        self._context = context
        self._limits = context.limits
        self._on_pause, self._on_seek = flow.on_pause, flow.on_seek
        self._on_failed = on_failed
        self._next = taken.starts.source
        self._inbox = Inbox(context.limits)
        self._paused = False
        self._turns = 0
        self._wake = asyncio.Event()
        self._is_over = False
        self._runner: BackgroundTask | None = None  # None: it is not started, or was stopped
        self._working: asyncio.Future[Any] | None = None  # of the tasks' thread
        self._processing = taken.tables.processing(position)
        self._isolation = Isolation(self._processing, context.failures[partition])
        self._epoch = Epoch(context.program.outputs, self._next)
        self._idle = IdleTime(context.clock, position.append_time_ms)
        self._checkpoints = Checkpoints(
            partition,
            context,
            taken.producer,
            taken.tables.all,
            position,
            taken.partitions,
            is_behind=self._is_behind,
            on_written=self.deferral.committed,
            on_done=self.wake,
        )

    @property
    def next_offset(self) -> int:
        """The next source offset this task has not worked on."""
        return self._next

    @property
    def lag_records(self) -> int:
        """Records of the source that are neither processed nor deferred."""
        return max(self.end_offset - self._next, 0)

    @property
    def position(self) -> Position:
        """Of the newest checkpoint begun."""
        return self._checkpoints.position

    @property
    def deferred_records(self) -> int:
        """Records of the backlog."""
        return self.deferral.backlog.records

    def wake(self) -> None:
        """Something has changed: look again at what is to be done."""
        self._wake.set()

    def offer(self, fetched: Fetched) -> None:
        """Take records to work on. Never blocks: a task with enough to do pauses its partition."""
        if self._is_over:
            return  # whoever takes the partition over seeks to where this task really was
        self._inbox.add(fetched)
        self.end_offset = max(self.end_offset, fetched.highwater)
        if fetched.records:
            self._idle.received(fetched.records[-1].timestamp)
        if not self._paused and self._inbox.is_full:
            self._paused = True
            self._on_pause(self._paused)
        self._wake.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._wait_for_work()
                moved = self._has_batch() and await self._work()
                if self._may_drain():
                    moved |= await self._drain()
                if self._idle_s() == 0:
                    await self._pass_time()
                if self._checkpoints.is_due(self._epoch):
                    await self._checkpoint()
                    moved = True
                # The loop also serves other tasks and queries.
                await asyncio.sleep(0 if moved else STARVED_WAIT_S)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was: this task is over
            await self._on_failed(error)

    def start(self) -> None:
        """Process what is offered, until it is stopped."""
        spawn = self._context.supervisor.spawn
        self._runner = spawn(f"task-{self.partition}", self._run(), self._runner_lost)

    def _runner_lost(self, error: BaseException) -> None:
        """The runner ended in a way that it does not know: the task is over all the same."""
        if not self._is_over:
            end = self._on_failed(error)
            self._context.supervisor.spawn(f"task-end-{self.partition}", end, lambda _: None)

    async def _wait_for_work(self) -> None:
        """Until there is a full batch to work on, or something and it is time for a checkpoint.

        A batch costs about a millisecond however small it is, so small fetches are gathered: they
        would wait for the checkpoint in any case.
        """
        self._checkpoints.reap()
        while not (
            self._has_batch() or self.deferral.is_ready() or self._is_time() or self._idle_s() == 0
        ):
            self._wake.clear()
            waits = [wait for wait in (self._wait_s(), self._idle_s()) if wait is not None]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(waits, default=None)):
                    await self._wake.wait()
            self._checkpoints.reap()

    def _idle_s(self) -> float | None:
        """How long until time alone decides something; None: nothing, or there is work to do."""
        if self._inbox or self.deferred_records:
            return None
        if self._checkpoints.is_open(self._epoch):
            return None
        return self._idle.wait_s(self._processing.next_deadline_ms)

    async def _pass_time(self) -> None:
        """Decide what the next record would first bring about, if none has come until now."""
        context = self._context
        place = TopicPartition(self._context.source.name, self.partition)
        try:
            async with asyncio.timeout(IDLE_ASK_S):
                time_ms = await self._idle.ask(context.kafka, place, self._next)
        except Exception as error:  # noqa: BLE001 - whatever it was: the broker is asked again
            log.warning("idle check failed", partition=self.partition, error=described(error))
            return
        if time_ms is not None:
            # What came meanwhile was appended after the broker was asked.
            await self._in_thread(self._processing.pass_time, time_ms, self._epoch)

    def _wait_s(self) -> float | None:
        """How long until a checkpoint is to begin; None: nothing to commit, or one in flight."""
        has_source = bool(self._inbox) and not self.deferral.holds_source()
        if not has_source and not self._checkpoints.is_open(self._epoch):
            return None
        return self._checkpoints.wait_s()

    def _is_time(self) -> bool:
        return self._wait_s() == 0

    def _has_batch(self) -> bool:
        """Whether the source's records are to be worked now."""
        if not self._inbox or self.deferral.holds_source():
            return False
        if self._context.overload.is_capped:
            return True  # the tokens decide how much
        return self._is_behind() or self._is_time()

    def _is_behind(self) -> bool:
        return self._inbox.records >= self._limits.batch_records or self._inbox.is_full

    def _may_drain(self) -> bool:
        """Whether a batch of what waits is to be worked now: the source comes first."""
        if not self.deferral.is_ready():
            return False
        if self.deferral.holds_source():
            return True
        self._turns += 1
        has_less = self._inbox.records < self._limits.batch_records
        return has_less or self._turns % DRAIN_EVERY_TURNS == 0

    async def _work(self) -> bool:
        """Process what has been fetched, as one batch of at most about `Limits.batch_records`.

        Off the event loop: a transaction is a dozen answers to wait for, and each would wait for
        the batches in between as well. False: nothing of it may be worked yet.
        """
        overload = self._context.overload
        records, end, size_bytes = self._gather()
        wanted = min(len(records), self._checkpoints.room(self._epoch))
        wanted = min(wanted, self._isolation.batch_records or wanted)
        budget = overload.tokens(wanted)
        taken, worked = await self._in_thread(self._process, records, end, budget)
        overload.give_back(budget - worked)
        if taken < len(records):
            tp = TopicPartition(self._context.source.name, self.partition)
            self._inbox.put_back(Fetched(tp, self._next, end, records[taken:], self.end_offset))
        overload.worked += worked
        self._epoch.size_bytes += size_bytes * taken // max(len(records), 1)
        self._resume_if_room()
        labels = (self._context.source.name, str(self.partition))
        self._context.metrics.source.lag_records.labels(*labels).set(self.lag_records)
        return taken > 0

    def _gather(self) -> tuple[Sequence[Record], int, int]:
        """The next records of the inbox, the position behind them, and what they take in memory."""
        parts: list[Sequence[Record]] = []
        count, end, size_bytes = 0, self._next, 0
        while self._inbox and count < self._limits.batch_records:
            fetched, of_fetch_bytes = self._inbox.take()
            if fetched.start != end:
                # A batch before this one was lost on the way, or this one is from before a seek.
                log.info(
                    "batch out of chain",
                    partition=self.partition,
                    expected=end,
                    found=fetched.start,
                )
                self._drop_inbox()
                self._on_seek(end)
                break
            if fetched.records:
                parts.append(fetched.records)
            count += len(fetched.records)
            end, size_bytes = fetched.end, size_bytes + of_fetch_bytes
        return joined(parts), end, size_bytes

    def _process(self, records: Sequence[Record], end: int, budget: int) -> tuple[int, int]:
        """Defer what has to wait, and process the rest within the budget; both are counted."""
        found = self.deferral.triage(records, self._epoch, budget)
        if found.taken < len(records):
            end = records[found.taken].offset
        self._isolation.process(self._context.source.name, found.now, end, self._epoch)
        self._expire()
        self._next = end
        return found.taken, len(found.now)

    async def _drain(self) -> bool:
        """Process a batch of what waits. False: none of it may be worked yet."""
        overload = self._context.overload
        # While the source is held for the last of the backlog, nothing of it needs a reserve.
        wanted = min(DRAIN_RECORDS, self._checkpoints.room(self._epoch))
        budget = overload.tokens(wanted, drain=not self.deferral.holds_source())
        if not budget:
            return False
        records, end = self.deferral.take(budget)
        overload.give_back(budget - len(records))
        await self._in_thread(self._process_drained, records, end)
        overload.worked += len(records)
        return True

    def _process_drained(self, records: list[RestoredRecord | None], end: int) -> None:
        waited = self.deferral.drained(records, end, self._epoch)
        deferred, position = self._context.program.deferred, self._epoch.position
        assert deferred is not None  # noqa: S101 - what is drained lies there
        self._isolation.process(deferred.name, waited, position, self._epoch)
        self._expire()

    def _expire(self) -> None:
        """Abandon old gaps of silent scopes; not while older records are deferred."""
        if not self.deferred_records:
            self._processing.expire(self._epoch)

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run in the tasks' thread. Who stops waiting does not stop it: `_stop_runner` waits."""
        loop = asyncio.get_running_loop()
        self._working = loop.run_in_executor(self._context.pool, work, *arguments)
        return await asyncio.shield(self._working)

    def _drop_inbox(self) -> None:
        self._inbox.clear()
        self._resume_if_room()

    def _resume_if_room(self) -> None:
        """A task that ends must not leave its partition paused: its successor would get nothing."""
        if self._paused and self._inbox.has_room:
            self._paused = False
            self._on_pause(self._paused)

    async def _checkpoint(self) -> None:
        """Commit the epoch; the next one grows meanwhile."""
        await self._checkpoints.settled()
        epoch, self._epoch = self._epoch, Epoch(self._context.program.outputs, self._epoch.position)
        sections = {**self.deferral.seal(epoch), **self._processing.sections()}
        self._checkpoints.begin(epoch, self._processing.stream_time_ms, sections)
        await self.deferral.rest()

    # -- the end -----------------------------------------------------------------------------

    async def suspend(self, within_s: float) -> None:
        """Stop, and commit what is open. What was offered and not processed is dropped.

        Raises:
            TimeoutError: the commit took longer.
            FencedError: someone else owns the partition.
            Exception: the outcome of the last checkpoint is unknown.
        """
        self._drop_inbox()
        await self._stop_runner()
        async with asyncio.timeout(within_s):
            await self._checkpoints.settled()
            if self._checkpoints.is_open(self._epoch):
                await self._checkpoint()
                await self._checkpoints.settled()

    async def stop(self) -> None:
        """Stop for good. What is not committed is dropped; the successor works it again."""
        self._is_over = True
        self._drop_inbox()
        await self._stop_runner()
        await self._checkpoints.cancel()

    async def _stop_runner(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None and not runner.is_current():
            await runner.close()
        if self._working is not None:
            await asyncio.wait([self._working])
