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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from k2_streams.clock import Clock
from k2_streams.core import sequence_codec
from k2_streams.core.sequence import ScopeState
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import RAW, TRADES, TopicInfo
from k2_streams.kafka.transactions import FencedError, TransactionalProducer
from k2_streams.runtime.epoch import Epoch
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.sequencer import Sequencer
from k2_streams.runtime.settings import Settings
from k2_streams.runtime.transport import Fetched
from k2_streams.state.codec import POSITION_KEY, Position, encode_position
from k2_streams.state.recovery import StateLostError, recover
from k2_streams.state.rocks import ROCKS_DISK, Disk
from k2_streams.state.store import STATE_VERSION, PartitionStore, StoreMeta
from k2_streams.state.table import SealedEpoch, Table

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

#: How long a record waits for its transaction, at the most, plus the transaction itself.
CHECKPOINT_EVERY_S = 0.15
CHECKPOINT_RECORDS = 65_536
#: Below the transaction time-out of 15 s: a slow checkpoint ends here, not at the broker.
CHECKPOINT_DEADLINE_S = 10.0
#: A rebalance waits for a task this long.
RELEASE_WITHIN_S = 3.0
#: Above this many fetched records waiting, the partition is paused; below half of it, resumed.
INBOX_RECORDS_MAX = 32_768
#: Worked on at once: holds the event loop for some 20 ms.
WORK_RECORDS = 8_192


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


class PositionError(Exception):
    """The source is not the one the state was made from, or no longer holds what comes next."""


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What all tasks of a worker share."""

    settings: Settings
    kafka: KafkaConfig
    clock: Clock
    metrics: Metrics
    pool: ThreadPoolExecutor  # of one thread, which all tasks share
    raw: TopicInfo
    changelog: TopicInfo
    disk: Disk = ROCKS_DISK


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
        self.position: Position | None = None
        self.lag_records = 0
        self._context = context
        self._on_pause = on_pause
        self._on_seek = on_seek
        self._on_ended = on_ended
        self._producer: TransactionalProducer | None = None
        path = context.settings.worker_dir / "sequence" / str(partition)
        self._store = PartitionStore(path, context.disk)
        self._inbox: deque[Fetched] = deque()
        self._inbox_records = 0
        self._paused = False
        self._wake = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._commit: asyncio.Task[None] | None = None
        self._working: asyncio.Future[Any] | None = None

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
        self._runner = asyncio.create_task(self._run(), name=f"task-{self.partition}")
        return offset

    async def _take_over(self) -> int:
        context, settings = self._context, self._context.settings
        # 1 Start the producer: Kafka aborts what the predecessor left open and fences it. Before
        #   this, the changelog's committed end may still move under the replay.
        self._producer = TransactionalProducer(
            context.kafka, f"{settings.app_id}-{RAW}-{self.partition}", self.partition
        )
        await self._producer.start()
        # 2 Open the store, and 3 replay the changelog to its committed end.
        recovered = await recover(context.kafka, context.changelog, self.partition, self._store)
        position = recovered.position
        # 4 The state says where the source is read on from. The group's offsets are for tools.
        offset = await self._checked_offset(position)
        self.position = position or Position(
            source_id=context.raw.id,
            partitions=settings.partitions,
            next_offset=offset,
            epoch=0,
            events=0,
            accepted_time_us=0,
            rows=0,
            checksum=0,
        )
        self._table: Table[ScopeState] = Table(
            self._store,
            sequence_codec.encode,
            sequence_codec.decode,
            self.position.rows,
            self.position.checksum,
        )
        self._sequencer = Sequencer(
            self.partition,
            settings.partitions,
            self._table,
            check_partition=settings.check_partition,
        )
        self._epoch = Epoch(offset)
        self._next = offset
        self._last_checkpoint = context.clock.monotonic()
        log.info(
            "task took over",
            partition=self.partition,
            offset=offset,
            rows=self.position.rows,
            replayed=recovered.replayed,
            wiped=recovered.wiped,
        )
        return offset

    async def _checked_offset(self, position: Position | None) -> int:
        raw, partitions = self._context.raw, self._context.settings.partitions
        at, out = (RAW, self.partition), (TRADES, self.partition)
        async with LogReader(self._context.kafka) as reader:
            begin = (await reader.begin_offsets([at]))[at]
            end = (await reader.end_offsets([at]))[at]
            orphaned = position is None and await _holds_records(reader, out)
        if position is None:
            if orphaned:
                raise StateLostError(
                    f"{TRADES}-{self.partition} holds committed records, and the changelog no "
                    f"position: the state was lost. `k2 changelog sequence --partition "
                    f"{self.partition}` shows what is left; the README says how to start "
                    "afresh"
                )
            return begin
        how = (
            "nothing is reset by itself: put the topic back, or start afresh as the README says; "
            f"`k2 changelog sequence --partition {self.partition}` shows the position"
        )
        if position.source_id != raw.id:
            raise PositionError(
                f"{RAW}: expected topic id {position.source_id}, found {raw.id}: it was created "
                f"anew; {how}"
            )
        if position.partitions != partitions:
            raise PositionError(
                f"{RAW}: the state was made with {position.partitions} partitions, found "
                f"{partitions}; {how}"
            )
        if not begin <= position.next_offset <= end:
            raise PositionError(
                f"{RAW}-{self.partition}: expected offset {position.next_offset} in "
                f"[{begin}, {end}]; {how}"
            )
        return position.next_offset

    # -- the flow ----------------------------------------------------------------------------

    @property
    def next_offset(self) -> int:
        """The next source offset this task has not worked on."""
        return self._next

    def offer(self, fetched: Fetched) -> None:
        """Take records to work on. Never blocks: a task with enough to do pauses its partition."""
        if self.state is not TaskState.RUNNING:
            return  # whoever takes the partition over seeks to where this task really was
        self._inbox.append(fetched)
        self._inbox_records += len(fetched.records)
        if not self._paused and self._inbox_records > INBOX_RECORDS_MAX:
            self._paused = True
            self._on_pause(self._paused)
        self._wake.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._wait_for_work()
                if self._inbox_records >= WORK_RECORDS or self._is_time():
                    await self._work()
                if self._is_due():
                    await self._checkpoint()
                # The loop also serves other tasks and queries.
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise
        except FencedError as error:
            await self._end(TaskState.FENCED, error)
        except Exception as error:  # noqa: BLE001 - whatever it was: this task is over
            await self._end(TaskState.FAILED, error)

    async def _wait_for_work(self) -> None:
        """Until there is a full batch to work on, or something and it is time for a checkpoint.

        A batch costs about a millisecond however small it is, so small fetches are gathered: they
        would wait for the checkpoint in any case.
        """
        self._reap()
        while self._inbox_records < WORK_RECORDS and not self._is_time():
            self._wake.clear()
            timeout = None
            if self._commit is None and self._has_open_work():
                elapsed = self._context.clock.monotonic() - self._last_checkpoint
                timeout = max(CHECKPOINT_EVERY_S - elapsed, 0.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout)
            self._reap()

    def _has_open_work(self) -> bool:
        return bool(self._inbox) or self._epoch.position > self._sealed_position

    def _is_time(self) -> bool:
        """Whether a checkpoint may begin and there is something for it."""
        if self._commit is not None or not self._has_open_work():
            return False
        return self._context.clock.monotonic() - self._last_checkpoint >= CHECKPOINT_EVERY_S

    async def _work(self) -> None:
        """Process what has been fetched, as one batch of at most about `WORK_RECORDS`.

        Off the event loop: a transaction is a dozen answers to wait for, and each would wait for
        the batches in between as well.
        """
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
            self.lag_records = max(fetched.highwater - fetched.end, 0)
        await self._in_thread(self._process, records, end)
        if self._paused and self._inbox_records < INBOX_RECORDS_MAX // 2:
            self._paused = False
            self._on_pause(self._paused)
        self._context.metrics.lag_records.labels(str(self.partition)).set(self.lag_records)

    def _process(self, records: list[Any], end: int) -> None:
        self._sequencer.process(records, end, self._epoch)
        self._next = end

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run in the tasks' thread. Who stops waiting does not stop it: `_stop_runner` waits."""
        loop = asyncio.get_running_loop()
        self._working = loop.run_in_executor(self._context.pool, work, *arguments)
        return await asyncio.shield(self._working)

    def _drop_inbox(self) -> None:
        self._inbox.clear()
        self._inbox_records = 0

    # -- checkpoint --------------------------------------------------------------------------

    @property
    def _sealed_position(self) -> int:
        assert self.position is not None  # noqa: S101 - a running task has one
        return self.position.next_offset

    def _is_due(self) -> bool:
        if self._epoch.position <= self._sealed_position:
            return False
        return self._epoch.records >= CHECKPOINT_RECORDS or self._is_time()

    async def _checkpoint(self) -> None:
        """Seal the epoch and start its transaction; the next epoch grows meanwhile."""
        await self._settled()
        assert self.position is not None  # noqa: S101 - a running task has one
        # 1 Stop adding to the epoch. Its changes are in memory: the store is never ahead of the
        #   changelog.
        epoch, self._epoch = self._epoch, Epoch(self._epoch.position)
        epoch.seal(self.partition)
        sealed = self._table.seal()
        now_us = self._context.clock.time_ns() // 1000
        position = Position(
            source_id=self.position.source_id,
            partitions=self.position.partitions,
            next_offset=epoch.position,
            epoch=self.position.epoch + 1,
            events=self.position.events + len(epoch.events),
            accepted_time_us=max(now_us, self.position.accepted_time_us),
            rows=sealed.count,
            checksum=sealed.checksum,
        )
        self.position = position
        self._last_checkpoint = self._context.clock.monotonic()
        self._commit = asyncio.create_task(
            self._transact(epoch, sealed, position), name=f"checkpoint-{self.partition}"
        )
        self._commit.add_done_callback(lambda _: self._wake.set())

    async def _transact(self, epoch: Epoch, sealed: SealedEpoch, position: Position) -> None:
        context = self._context
        started = context.clock.monotonic()
        assert self._producer is not None  # noqa: S101 - a running task has one
        # 2 Outputs, changelog rows, the position (last of the rows) and the group's offsets are
        #   one transaction. Its outcome is known, or the task ends.
        outputs = await asyncio.get_running_loop().run_in_executor(
            context.pool, epoch.outputs, self.partition, position.accepted_time_us, position.events
        )
        async with asyncio.timeout(CHECKPOINT_DEADLINE_S):
            changelog_offset = await self._producer.commit(
                outputs,
                context.changelog.name,
                [*sealed.rows.items(), (POSITION_KEY, encode_position(position))],
                context.settings.app_id,
                {(RAW, self.partition): position.next_offset},
            )
        # 3 Only now the store, in one write batch. Before 2 it could be ahead of the changelog
        #   after a kill: replayed records would look like duplicates, and be lost.
        self._store.write(
            sealed.rows,
            StoreMeta(STATE_VERSION, context.changelog.id, changelog_offset, position),
        )
        self._table.written()
        context.metrics.checkpoint_seconds.observe(context.clock.monotonic() - started)
        self._count(epoch)

    def _count(self, epoch: Epoch) -> None:
        """Metrics count what was committed, so that a replay counts once."""
        metrics = self._context.metrics
        for verdict, count in epoch.verdicts.items():
            metrics.verdicts.labels(verdict).inc(count)
        for reason, count in epoch.reasons.items():
            metrics.dead_letters.labels(reason).inc(count)
        for name, count in epoch.feeds.items():
            metrics.records.labels(name).inc(count)
        metrics.control.inc(epoch.control)
        metrics.accepted_rows.inc(epoch.row_count)

    async def _settled(self) -> None:
        """Wait for the transaction in flight; raises what it raised."""
        if self._commit is not None:
            # Whoever stops waiting must not stop the transaction.
            await asyncio.wait([self._commit])
            self._reap()

    def _reap(self) -> None:
        if self._commit is not None and self._commit.done():
            commit, self._commit = self._commit, None
            commit.result()

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
                await self._settled()
                if self._epoch.position > self._sealed_position:
                    await self._checkpoint()
                    await self._settled()
        except FencedError as error:
            await self._end(TaskState.FENCED, error)
        except Exception as error:  # noqa: BLE001 - a time-out too: the outcome is unknown
            await self._end(TaskState.FAILED, error)
        else:
            self._paused = False
            self._runner = asyncio.create_task(self._run(), name=f"task-{self.partition}")

    async def close(self) -> None:
        """End the task. What is not committed is dropped; the successor works it again."""
        if self.state is TaskState.CLOSED:
            return
        await self._stop_runner()
        await self._let_go()
        self._to(TaskState.CLOSED)

    async def _stop_runner(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None and runner is not asyncio.current_task():
            runner.cancel()
            await asyncio.wait([runner])
        if self._working is not None:
            await asyncio.wait([self._working])

    async def _end(self, state: TaskState, error: BaseException) -> None:
        self.error = error
        self._to(state)
        self._context.metrics.checkpoint_failures.labels(state.value).inc()
        log.warning(
            "task ended",
            partition=self.partition,
            state=state.value,
            error=f"{type(error).__name__}: {error}",
        )
        await self._let_go()
        self._on_ended(self)

    async def _let_go(self) -> None:
        self._drop_inbox()
        commit, self._commit = self._commit, None
        if commit is not None:
            commit.cancel()
            await asyncio.wait([commit])
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                async with asyncio.timeout(RELEASE_WITHIN_S):
                    await producer.stop()
            except Exception as error:  # noqa: BLE001 - the broker aborts what is left open
                log.warning("producer did not stop", partition=self.partition, error=str(error))
        self._store.close()

    def _to(self, state: TaskState) -> None:
        if state not in _TRANSITIONS[self.state]:
            raise AssertionError(f"task {self.partition}: {self.state.value} to {state.value}")
        self.state = state


async def _holds_records(reader: LogReader, at: tuple[str, int]) -> bool:
    """Whether a partition holds a committed record; an aborted one takes offsets too."""
    begin, end = (await reader.begin_offsets([at]))[at], (await reader.end_offsets([at]))[at]
    reader.assign({at: begin})
    while reader.position(*at) < end:
        if any(chunk.records for chunk in await reader.poll(max_records=1)):
            return True
    return False
