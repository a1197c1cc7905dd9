"""A task: one source partition's worker, from take-over to close.

            take_over             sought
    CREATED ----> RECOVERING ----> RUNNING ----> CLOSED
                      |               |
                      |--- error -----|----> FAILED: a new task, if the group still assigns it
                      |               |
                      '--- fenced ----'----> FENCED: a new task only after a NEW assignment,
                                                     since someone else owns the partition

A task is used once: whatever goes wrong, it is closed and another one takes the partition over.
"""

import asyncio
import contextlib
import enum
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import structlog

from k2_streams.core.records.record_failures import RecordFailures
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.step import ScopeState
from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka.transactions import FencedError, TransactionalProducer
from k2_streams.runtime.control.supervisor import BackgroundTask
from k2_streams.runtime.deferral.backlog import Deferral
from k2_streams.runtime.deferral.record import Restored
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.task.checkpoint import Checkpoints, RowTable
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.epoch import Epoch, Standing
from k2_streams.runtime.task.idle import IdleTime
from k2_streams.runtime.task.ids_checkpoint import take_ids_over
from k2_streams.runtime.task.isolation import Isolation
from k2_streams.runtime.task.processing_error import ProcessingError, described
from k2_streams.runtime.task.resume import checked_offsets, dead_letters_so_far
from k2_streams.runtime.task.sequencer import Judging, Sequencer
from k2_streams.state.codec import Position
from k2_streams.state.ids_store import IdStore
from k2_streams.state.recovery import recover
from k2_streams.state.store import PartitionStore
from k2_streams.state.table import Table

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

#: A rebalance waits for a task this long.
RELEASE_WITHIN_S = 3.0
#: Above this many fetched records waiting, the partition is paused; below half of it, resumed.
INBOX_RECORDS_MAX = 32_768
#: Worked on at once: some 20 ms of the tasks' thread.
WORK_RECORDS = 8_192
#: Of what waits, less at once: the sources of all partitions come first.
DRAIN_RECORDS = 2_048
#: While the source has more than a batch, every so many batches one of what waits.
DRAIN_EVERY_TURNS = 8
#: The broker is asked so long whether anything has come; later again.
IDLE_ASK_S = 5.0
#: Under K2_MAX_RATE_PER_S: without a token a task looks again after this long.
STARVED_WAIT_S = 0.01


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


class Task:
    """Owns a partition of the source: its producer, its table, its position."""

    def __init__(
        self,
        partition: int,
        context: TaskContext,
        *,
        on_pause: Callable[[bool], None],
        on_seek: Callable[[int], None],
        on_ended: Callable[["Task"], None],
    ) -> None:
        self.partition = partition
        self.state = TaskState.CREATED
        self.error: BaseException | None = None
        self.deferral: Deferral | None = None
        self.end_offset = 0  # of the source, as last seen
        self._next = 0
        self._context = context
        self._on_pause = on_pause
        self._on_seek = on_seek
        self._on_ended = on_ended
        self._producer: TransactionalProducer | None = None
        path = context.settings.worker_dir / "sequence" / str(partition)
        self._store = PartitionStore(path, context.disk)
        ids_path = context.settings.worker_dir / "dedup" / str(partition)
        self._id_store = IdStore(ids_path, context.disk)
        self._inbox: deque[Fetched] = deque()
        self._inbox_records = 0
        self._paused = False
        self._turns = 0
        self._wake = asyncio.Event()
        self._runner: BackgroundTask | None = None
        self._checkpoints: Checkpoints | None = None
        self._working: asyncio.Future[Any] | None = None
        self._idle: IdleTime | None = None

    # -- take-over ---------------------------------------------------------------------------

    async def take_over(self) -> int:
        """Own the partition; returns the source offset to read on from.

        Raises:
            FencedError: someone else took it over meanwhile.
            PositionError, StateLostError: a person must decide.
            Exception: the broker or the disk failed; another task may try again.
        """
        self._to(TaskState.RECOVERING)
        started = self._context.clock.monotonic()
        try:
            offset = await self._take_over()
        except BaseException as error:
            await self._end(
                TaskState.FENCED if isinstance(error, FencedError) else TaskState.FAILED, error
            )
            raise
        self._to(TaskState.RUNNING)
        self._context.metrics.take_over_seconds.observe(self._context.clock.monotonic() - started)
        self._runner = self._spawn_runner()
        return offset

    async def _take_over(self) -> int:
        context, settings = self._context, self._context.settings
        await failpoint_in_loop("take-over.begun")
        # 1 Start the producer: Kafka aborts what the predecessor left open and fences it. Before
        #   this, the changelog's committed end may still move under the replay. What Kafka itself
        #   left without a marker is settled here, too.
        self._producer = TransactionalProducer(
            context.kafka, f"{settings.app_id}-{context.raw.name}-{self.partition}", self.partition
        )
        await context.settling.start(self._producer, self._places())
        await failpoint_in_loop("take-over.fenced")
        # 2 Open the store, and 3 replay the changelog to its committed end.
        recovered = await recover(context.kafka, context.changelog, self.partition, self._store)
        position = recovered.position
        await failpoint_in_loop("take-over.recovered")
        # 4 The state says where the source, and what waits, are read on from. The group's offsets
        #   are for tools.
        offset, drain_from = await checked_offsets(context, self.partition, position)
        await failpoint_in_loop("take-over.positioned")
        # 5 The ids: their filters see all that the store and the changelog hold, before one is
        #   asked.
        ids = await take_ids_over(context, self.partition, self._id_store, recovered, offset)
        position = position or Position(
            source_id=context.raw.id,
            partitions=settings.partitions,
            next_offset=offset,
            epoch=0,
            events=0,
            accepted_time_us=0,
            rows=0,
            checksum=0,
            oldest_gap_ms=0,
            dead_letters=0,
        )
        position = msgspec.structs.replace(
            position,
            deferred_id=context.deferred.id,
            deferred_next=drain_from,
            dead_letters=await dead_letters_so_far(context, self.partition, position),
        )
        table: Table[ScopeState] = Table(
            self._store,
            sequence_codec.encode,
            sequence_codec.decode,
            position.rows,
            position.checksum,
        )
        self.deferral = self._deferral = Deferral(
            context.deferred,
            self.partition,
            position,
            self._store,
            context.overload,
            context.kafka,
            self._wake.set,
            context.supervisor,
        )
        self._checkpoints = Checkpoints(
            self.partition,
            context,
            self._producer,
            [RowTable(self.partition, table, self._store, context.changelog, self.deferral)],
            ids,
            position,
            self._places(),
            on_done=self._wake.set,
        )
        self._sequencer = Sequencer(
            context.source,
            context.feeds,
            self.partition,
            settings.partitions,
            table,
            ids,
            judging=Judging(
                settings.check_partition,
                settings.late_horizon_s * 1000,
                context.price_domains,
                settings.conflict_tolerance_ms,
            ),
            enriches=lambda: context.overload.enriches,
            standing=Standing(
                position.append_time_ms, position.lines, position.held, position.oldest_gap_ms
            ),
            notional=context.notional,
        )
        self._isolation = Isolation(self._sequencer, context.failures[self.partition])
        self._epoch = Epoch(context.source, offset)
        self._idle = IdleTime(context.clock, position.append_time_ms)
        self._next = offset
        log.info(
            "task took over",
            partition=self.partition,
            offset=offset,
            rows=position.rows,
            deferred=position.deferred_records,
            ids=ids.ids,
            replayed=recovered.replayed,
            wiped=recovered.wiped,
        )
        return offset

    def _places(self) -> list[tuple[str, int]]:
        """All that this task, and nobody else, writes to."""
        source, context = self._context.source, self._context
        topics = (source.stream.log, source.events, source.dead_letter)
        own = (context.deferred.name, context.changelog.name, context.ids_changelog.name)
        return [(topic, self.partition) for topic in (*topics, *own)]

    # -- the flow ----------------------------------------------------------------------------

    @property
    def next_offset(self) -> int:
        """The next source offset this task has not worked on."""
        return self._next

    @property
    def lag_records(self) -> int:
        """Records of the source that this task has neither worked nor put off."""
        return max(self.end_offset - self._next, 0)

    @property
    def deferred_records(self) -> int:
        """Records that were put off and wait."""
        return self.deferral.backlog.records if self.deferral else 0

    @property
    def topic(self) -> str:
        """Of the source."""
        return self._context.raw.name

    @property
    def failures(self) -> RecordFailures:
        """Records of this partition that could not be processed, in this task or one before."""
        return self._context.failures[self.partition]

    def wake(self) -> None:
        """The level is another one: look again at what is to be done."""
        self._wake.set()

    @property
    def position(self) -> Position | None:
        """Of the newest checkpoint begun; None before the take-over."""
        return self._checkpoints.position if self._checkpoints else None

    def offer(self, fetched: Fetched) -> None:
        """Take records to work on. Never blocks: a task with enough to do pauses its partition."""
        if self.state is not TaskState.RUNNING:
            return  # whoever takes the partition over seeks to where this task really was
        self._inbox.append(fetched)
        self._inbox_records += len(fetched.records)
        self.end_offset = max(self.end_offset, fetched.highwater)
        if self._idle is not None and fetched.records:
            self._idle.received(fetched.records[-1].timestamp)
        if not self._paused and self._inbox_records > INBOX_RECORDS_MAX:
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
                if self._commits.is_due(self._epoch):
                    await self._checkpoint()
                    moved = True
                # The loop also serves other tasks and queries.
                await asyncio.sleep(0 if moved else STARVED_WAIT_S)
        except asyncio.CancelledError:
            raise
        except FencedError as error:
            await self._end(TaskState.FENCED, error)
        except Exception as error:  # noqa: BLE001 - whatever it was: this task is over
            await self._end(TaskState.FAILED, error)

    def _spawn_runner(self) -> BackgroundTask:
        spawn = self._context.supervisor.spawn
        return spawn(f"task-{self.partition}", self._run(), self._runner_lost)

    def _runner_lost(self, error: BaseException) -> None:
        """The runner ended in a way that it does not know: the task is over all the same."""
        if self.state is TaskState.RUNNING:
            end = self._end(TaskState.FAILED, error)
            self._context.supervisor.spawn(f"task-end-{self.partition}", end, lambda _: None)

    async def _wait_for_work(self) -> None:
        """Until there is a full batch to work on, or something and it is time for a checkpoint.

        A batch costs about a millisecond however small it is, so small fetches are gathered: they
        would wait for the checkpoint in any case.
        """
        self._commits.reap()
        while not (
            self._has_batch() or self._deferral.is_ready() or self._is_time() or self._idle_s() == 0
        ):
            self._wake.clear()
            waits = [wait for wait in (self._wait_s(), self._idle_s()) if wait is not None]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(waits, default=None)):
                    await self._wake.wait()
            self._commits.reap()

    def _idle_s(self) -> float | None:
        """How long until time alone decides something; None: nothing, or there is work to do."""
        if self._idle is None or self._inbox or self.deferred_records:
            return None
        if self._commits.is_open(self._epoch):
            return None
        return self._idle.wait_s(self._sequencer.next_deadline_ms)

    async def _pass_time(self) -> None:
        """Decide what the next record would first bring about, if none has come until now."""
        assert self._idle is not None  # noqa: S101 - asked before
        context, place = self._context, (self._context.raw.name, self.partition)
        try:
            async with asyncio.timeout(IDLE_ASK_S):
                time_ms = await self._idle.ask(context.kafka, place, self._next)
        except Exception as error:  # noqa: BLE001 - whatever it was: the broker is asked again
            log.warning("idle check failed", partition=self.partition, error=described(error))
            return
        if time_ms is not None:
            # What came meanwhile was appended after the broker was asked.
            await self._in_thread(self._sequencer.pass_time, time_ms, self._epoch)

    def _wait_s(self) -> float | None:
        """How long until a checkpoint is to begin; None: nothing to commit, or one in flight."""
        has_source = bool(self._inbox) and not self._deferral.holds_source()
        if not has_source and not self._commits.is_open(self._epoch):
            return None
        return self._commits.wait_s()

    def _is_time(self) -> bool:
        return self._wait_s() == 0

    def _has_batch(self) -> bool:
        """Whether the source's records are to be worked now."""
        if not self._inbox or self._deferral.holds_source():
            return False
        if self._context.overload.is_capped:
            return True  # the tokens decide how much
        return self._inbox_records >= WORK_RECORDS or self._is_time()

    def _may_drain(self) -> bool:
        """Whether a batch of what waits is to be worked now: the source comes first."""
        if not self._deferral.is_ready():
            return False
        if self._deferral.holds_source():
            return True
        self._turns += 1
        return self._inbox_records < WORK_RECORDS or self._turns % DRAIN_EVERY_TURNS == 0

    async def _work(self) -> bool:
        """Process what has been fetched, as one batch of at most about `WORK_RECORDS`.

        Off the event loop: a transaction is a dozen answers to wait for, and each would wait for
        the batches in between as well. False: nothing of it may be worked yet.
        """
        overload = self._context.overload
        records, end = self._gather()
        wanted = min(len(records), self._isolation.batch_records or len(records))
        budget = overload.tokens(wanted)
        taken, worked = await self._in_thread(self._process, records, end, budget)
        overload.give_back(budget - worked)
        if taken < len(records):
            tp = TopicPartition(self._context.raw.name, self.partition)
            self._inbox.appendleft(Fetched(tp, self._next, end, records[taken:], self.end_offset))
            self._inbox_records += len(records) - taken
        overload.worked += worked
        self._resume_if_room()
        self._context.metrics.lag_records.labels(str(self.partition)).set(self.lag_records)
        return taken > 0

    def _gather(self) -> tuple[list[Any], int]:
        """The next records of the inbox, and the position behind them."""
        records: list[Any] = []
        end = self._next
        while self._inbox and len(records) < WORK_RECORDS:
            fetched = self._inbox.popleft()
            self._inbox_records -= len(fetched.records)
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
            records += fetched.records
            end = fetched.end
        return records, end

    def _process(self, records: list[Any], end: int, budget: int) -> tuple[int, int]:
        """Put off what has to wait, work the rest within the budget; both counted."""
        found = self._deferral.triage(records, self._epoch, budget)
        if found.taken < len(records):
            end = records[found.taken].offset
        self._isolation.process(self._context.raw.name, found.now, end, self._epoch)
        self._expire()
        self._next = end
        return found.taken, len(found.now)

    async def _drain(self) -> bool:
        """Process a batch of what waits. False: none of it may be worked yet."""
        overload = self._context.overload
        # While the source is held for the last of the backlog, nothing of it needs a reserve.
        budget = overload.tokens(DRAIN_RECORDS, drain=not self._deferral.holds_source())
        if not budget:
            return False
        records, end = self._deferral.take(budget)
        overload.give_back(budget - len(records))
        await self._in_thread(self._process_drained, records, end)
        overload.worked += len(records)
        return True

    def _process_drained(self, records: list[Restored | None], end: int) -> None:
        waited = self._deferral.drained(records, end, self._epoch)
        topic, position = self._context.deferred.name, self._epoch.position
        self._isolation.process(topic, waited, position, self._epoch)
        self._expire()

    def _expire(self) -> None:
        """Abandon old gaps of silent scopes; not while older records are deferred."""
        if not self.deferred_records:
            self._sequencer.expire(self._epoch)

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run in the tasks' thread. Who stops waiting does not stop it: `_stop_runner` waits."""
        loop = asyncio.get_running_loop()
        self._working = loop.run_in_executor(self._context.pool, work, *arguments)
        return await asyncio.shield(self._working)

    def _drop_inbox(self) -> None:
        self._inbox.clear()
        self._inbox_records = 0
        self._resume_if_room()

    def _resume_if_room(self) -> None:
        """A task that ends must not leave its partition paused: its successor would get nothing."""
        if self._paused and self._inbox_records < INBOX_RECORDS_MAX // 2:
            self._paused = False
            self._on_pause(self._paused)

    @property
    def _commits(self) -> Checkpoints:
        assert self._checkpoints is not None  # noqa: S101 - a running task has them
        return self._checkpoints

    async def _checkpoint(self) -> None:
        """Commit the epoch; the next one grows meanwhile."""
        await self._commits.settled()
        epoch, self._epoch = self._epoch, Epoch(self._context.source, self._epoch.position)
        self._deferral.end(epoch)
        self._commits.begin(epoch)
        await self._deferral.rest()

    # -- the end -----------------------------------------------------------------------------

    async def release(self) -> None:
        """A rebalance has begun: commit what is open, within a bound, and go on waiting.

        What could not be committed in time is dropped with the task.
        """
        if self.state is not TaskState.RUNNING:
            return
        self._drop_inbox()
        await self._stop_runner()
        try:
            async with asyncio.timeout(RELEASE_WITHIN_S):
                await self._commits.settled()
                if self._commits.is_open(self._epoch):
                    await self._checkpoint()
                    await self._commits.settled()
        except FencedError as error:
            await self._end(TaskState.FENCED, error)
        except Exception as error:  # noqa: BLE001 - a time-out too: the outcome is unknown
            await self._end(TaskState.FAILED, error)
        else:
            self._runner = self._spawn_runner()

    async def close(self) -> None:
        """End the task. What is not committed is dropped; the successor works it again."""
        if self.state is TaskState.CLOSED:
            return
        await self._stop_runner()
        await self._let_go()
        self._to(TaskState.CLOSED)

    async def _stop_runner(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None and not runner.is_current():
            await runner.close()
        if self._working is not None:
            await asyncio.wait([self._working])

    async def _end(self, state: TaskState, error: BaseException) -> None:
        self.error = error
        self._to(state)
        self._context.metrics.checkpoint_failures.labels(state.value).inc()
        failed = error if isinstance(error, ProcessingError) else None
        log.warning(
            "task ended",
            state=state.value,
            topic=self._context.raw.name,
            partition=self.partition,
            offset=failed.start if failed else self._next,
            last_offset=failed.end - 1 if failed else None,
            feed=failed.feed if failed else None,
            error=failed.error if failed else described(error),
            failures=self.failures.last.count if failed and self.failures.last else None,
        )
        try:
            await self._let_go()
        finally:  # whatever fails to close: the partition needs another task
            self._on_ended(self)

    async def _let_go(self) -> None:
        self._drop_inbox()
        if self._checkpoints is not None:
            await self._checkpoints.cancel()
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                async with asyncio.timeout(RELEASE_WITHIN_S):
                    await producer.stop()
            except Exception as error:  # noqa: BLE001 - the broker aborts what is left open
                log.warning("producer did not stop", partition=self.partition, error=str(error))
        if self.deferral is not None:
            await self.deferral.close()
        # Behind what is still being written in the tasks' thread.
        await asyncio.get_running_loop().run_in_executor(self._context.pool, self._close_stores)

    def _close_stores(self) -> None:
        self._store.close()
        self._id_store.close()

    def _to(self, state: TaskState) -> None:
        if state not in _TRANSITIONS[self.state]:
            raise AssertionError(f"task {self.partition}: {self.state.value} to {state.value}")
        self.state = state
