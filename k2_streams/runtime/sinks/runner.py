"""A log's sink: its records into a buffer, and from there into the table, off the event loop."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow.compute as pc
import structlog

from k2_streams import traces
from k2_streams.clock import Clock
from k2_streams.core.ledger.streams import has_repairs
from k2_streams.core.load.circuit_breaker import BreakerState
from k2_streams.core.records.log_chunk import MARKER_OFFSETS, LogChunk, before_marker
from k2_streams.core.records.log_record import CheckpointHeaders
from k2_streams.core.records.vector import Vector
from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogError, LogReader
from k2_streams.kafka.topics import WEEK_MS, TopicInfo
from k2_streams.lake.breaker import BreakerOpenError, Guard
from k2_streams.lake.errors import LakeConfigError, LakeUnavailableError, VectorMovedError
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.sink import Pending, Sink
from k2_streams.lake.table import Lake
from k2_streams.runtime.committed_rows import CommittedRows
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics.table import LakeMetrics

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

#: A sink without a commit asks so often whether the table still ends where it thinks: set back by
#: another engine, the table would lack rows until the next message comes.
HEAD_EVERY_S = 30.0
#: Rows older than this share of the log's retention and not in the lake are a warning.
WARN_AFTER_MS = WEEK_MS // 2
#: At this share the source is paused: better late in the lake than never.
PAUSE_AFTER_MS = WEEK_MS * 8 // 10


class LakeBehindError(LakeConfigError):
    """The log no longer holds what the lake lacks, or never held what the lake says it has."""


class MarkerPendingError(LogError):  # type: ignore[misc] # aiokafka has no types
    """The lake has a transaction whose marker its coordinator has not written yet."""


class SinkRunner:
    """Buffers the records of this worker's partitions of the log and commits them.

    One thread does everything that touches the lake: a table's handle is not shared.

    While the breaker is open, or the table is one that K2 must not write to, nothing is buffered
    but the batch that could not be committed: it is the trial. The log keeps what comes behind it,
    and is read on from there once the batch is in. A refused table (`error`) is tried again with
    growing pauses: what another engine changed it can change back, and then the sink goes on.

    While a task of this worker gives the rows of a partition at its commits (ADR 0009), nothing of
    that partition is fetched. Whatever the sink was not given it fetches, from where it stands.
    """

    def __init__(  # noqa: PLR0913 - called once, where everything is wired
        self,
        lake: Lake,
        kafka: KafkaConfig,
        topic: TopicInfo,
        metrics: LakeMetrics,
        clock: Clock,
        *,
        commit_every_s: float,
        commit_rows: int,
        on_pause: Callable[[set[int], bool], None],
        on_seek: Callable[[Mapping[int, int]], None],
        on_memory: Callable[[set[int], bool], None],
        on_committed: Callable[[Vector], None],
        committed: CommittedRows,
        thread: ThreadPoolExecutor,
        guard: Guard | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.guard = guard or Guard(clock=clock)
        self.error: str | None = None
        self.retrying: str | None = None
        self._lake = lake
        self._kafka = kafka
        self._topic = topic
        self._metrics = metrics
        self._clock = clock
        self._on_pause = on_pause
        self._on_seek = on_seek
        self._on_memory = on_memory
        self._is_given = asyncio.Event()
        self._given = committed.feed(self._is_given.set)
        self._in_memory: set[int] = set()  # partitions of which nothing is fetched
        self._on_committed = on_committed
        self._sink = Sink(
            lake, topic.name, topic.id, commit_every_s=commit_every_s, commit_rows=commit_rows
        )
        self._positions: dict[int, int] = {}
        self._thread = thread
        self._limits = limits
        self._ensured = False
        self._paused = False
        self._waits_for_lake = False
        self._expire_at = limits.snapshots_kept + limits.snapshots_spare  # in the table
        self._oldest_ms: dict[int, int] = {}  # append time of what was read after the last commit
        self._pending: Pending | None = None
        self._retry_at_s = 0.0
        self._seen_head_at_s = clock.monotonic()  # the table's end was as it should be
        self._attempts = 0  # failed, of the pending batch
        self._changing = asyncio.Lock()

    @property
    def buffered_rows(self) -> int:
        """Rows read and not yet committed."""
        return self._sink.rows + (self._pending.rows if self._pending else 0)

    @property
    def is_far_behind(self) -> bool:
        """Whether rows may leave the log before they are in the lake: the source has to wait."""
        now_ms = self._clock.time_ns() // 1_000_000
        return any(now_ms - oldest_ms > PAUSE_AFTER_MS for oldest_ms in self._oldest_ms.values())

    @property
    def positions(self) -> dict[int, int]:
        """Per partition, the next offset of the log to be read."""
        return dict(self._positions)

    async def assign(self, partitions: set[int]) -> dict[int, int]:
        """Work on these partitions and no others; where each is read on from.

        A partition that stays keeps its buffer. A new one starts at the table's vector, which is
        the truth: the group's offsets are for lag tools.

        Raises:
            LakeUnavailableError: the catalog does not answer.
            LakeConfigError: log and lake do not belong together; nothing is skipped.
        """
        async with self._changing:
            for partition in set(self._positions) - partitions:
                self._sink.forget(partition)
                self._oldest_ms.pop(partition, None)
                del self._positions[partition]
            self._given.want(partitions)
            self._set_in_memory(self._in_memory - partitions, in_memory=False)
            fresh = partitions - set(self._positions)
            if fresh:
                self._follow(await self._checked(fresh))
            # What filled it may have gone with a partition; if not, no new one is read either.
            if self._paused:
                self._pause(paused=self._waits_for_lake or self._sink.full(self._pending))
            if self._pending is None:
                self._accepted()
            return dict(self._positions)

    def _follow(self, starts: Mapping[int, int]) -> None:
        for partition, offset in starts.items():
            self._sink.seek(partition, offset)
            self._positions[partition] = offset

    async def _checked(self, partitions: set[int]) -> dict[int, int]:
        """Where the table ends in these partitions, if the log can go on from there."""
        vector = (await self._call(self._lake.head)).vector
        topic = self._topic
        found = vector.id_of(topic.name)
        if found not in (None, topic.id):
            raise LakeBehindError(
                f"{topic.name}: the lake holds offsets of topic id {found}, the broker has "
                f"{topic.id}: it was created anew; put it back, or use a new warehouse"
            )
        tps = [TopicPartition(topic.name, partition) for partition in sorted(partitions)]
        async with LogReader(self._kafka) as reader:
            begins = await reader.begin_offsets(tps)
            # Not the last stable offset: what came from memory may be in the lake before its
            # transaction's marker is in the log.
            ends = await reader.high_watermarks(tps)
        starts = {}
        for tp in tps:
            start = vector.next_of(tp.topic, tp.partition) or 0
            if start == ends[tp] + MARKER_OFFSETS:
                raise MarkerPendingError(f"{tp}: the marker at offset {ends[tp]} is still to come")
            if not begins[tp] <= start <= ends[tp]:
                raise LakeBehindError(
                    f"{topic.name}-{tp.partition}: the lake ends at offset {start}, the log holds "
                    f"[{begins[tp]}, {ends[tp]}]; nothing is skipped by itself"
                )
            starts[tp.partition] = start
        return starts

    def offer(self, fetched: Fetched) -> None:
        """Take records in. A batch out of chain is dropped, and the partition sought anew.

        Raises:
            LogFormatError, MarkerMissingError: the records cannot be used.
        """
        partition = fetched.tp.partition
        self._take_given()  # it may be ahead of what was fetched
        expected = self._positions.get(partition)
        if expected is None or self._waits_for_lake or partition in self._in_memory:
            return
        if not fetched.start <= expected <= fetched.end:
            self._on_seek({partition: expected})
            return
        if expected == fetched.end:
            return  # all of it came from memory
        chunk = LogChunk.decoded(
            self._lake.stream, partition, fetched.start, fetched.end, fetched.records
        )
        self._take(self._given.rest_of(chunk, expected), "log")
        self._take_given()

    async def run_given(self) -> None:
        """Take what tasks of this worker give, for ever; also while a commit is under way."""
        while True:
            await self._is_given.wait()
            self._is_given.clear()
            self._take_given()

    def _take_given(self) -> None:
        """Take what continues where the sink stands, and fetch no more than the rest."""
        for partition in self._positions:
            while not self._takes_nothing and (
                chunk := self._given.take(partition, self._positions[partition])
            ):
                self._take(chunk, "memory")
        self._choose()

    @property
    def _takes_nothing(self) -> bool:
        return self._waits_for_lake or self._paused

    def _take(self, chunk: LogChunk, origin: str) -> None:
        partition = chunk.partition
        headers = chunk.headers or CheckpointHeaders()
        self._sink.offer(partition, chunk.range, chunk.batches, headers.deferred, headers.events)
        self._positions[partition] = chunk.end
        self._metrics.sink_rows_read_total.labels(origin).inc(chunk.rows)
        if has_repairs(self._lake.stream):
            self._count_repairs(chunk)
        self._metrics.sink_buffered_rows.set(self.buffered_rows)
        # Of a log that is kept for ever nothing can leave before it is in the lake.
        if chunk.appended_ms is not None and not self._lake.stream.is_ledger:
            oldest_ms = self._oldest_ms.setdefault(partition, chunk.appended_ms)
            age_ms = self._clock.time_ns() // 1_000_000 - oldest_ms
            if age_ms > WARN_AFTER_MS:
                log.warning("lake far behind", partition=partition, age_ms=age_ms)
        if not self._paused and self._sink.full(self._pending):
            self._pause(paused=True)

    def _count_repairs(self, chunk: LogChunk) -> None:
        for batch in chunk.batches:
            asked, filled = (pc.sum(batch.rows.column(name)) for name in ("asked", "filled"))
            self._metrics.repair_asked_total.inc(asked.as_py())
            self._metrics.repair_filled_total.inc(filled.as_py())

    def _choose(self) -> None:
        """Fetch the partitions of which nothing continues in memory, and no others."""
        follows = {p for p, at in self._positions.items() if self._given.follows(p, at)}
        left = self._in_memory - follows
        self._set_in_memory(follows - self._in_memory, in_memory=True)
        self._set_in_memory(left, in_memory=False)
        if left:
            self._on_seek({p: before_marker(self._positions[p]) for p in left})

    def _set_in_memory(self, partitions: set[int], *, in_memory: bool) -> None:
        if partitions:
            change = self._in_memory.update if in_memory else self._in_memory.difference_update
            change(partitions)
            self._on_memory(partitions, in_memory)

    def _wait_for_lake(self) -> None:
        """The lake takes nothing: keep the batch on its way, and leave the rest in the log."""
        self._waits_for_lake = True
        self._pause(paused=True)
        self._positions.update(self._sink.drop_waiting())
        self._metrics.sink_buffered_rows.set(self.buffered_rows)

    def _go_on(self) -> None:
        """The lake took the batch: read on behind it."""
        self._waits_for_lake = False
        self._on_seek(dict(self._positions))

    def _pause(self, *, paused: bool) -> None:
        self._paused = paused
        self._on_pause(set(self._positions), paused)

    async def run(self) -> None:
        """Commit for ever."""
        while True:
            await asyncio.sleep(self._limits.sink_tick_s)
            await self.look()

    async def look(self) -> None:
        """Commit what is due, or what is to be tried again."""
        self._take_given()
        now_s = self._clock.monotonic()
        if self._pending is None and self._sink.due(now_s):
            self._pending, self._retry_at_s = self._sink.take(), now_s
        if self._pending is not None and now_s >= self._retry_at_s:
            await self._attempt(self._pending)
        elif (
            self._pending is None
            and self._positions
            and now_s - self._seen_head_at_s >= HEAD_EVERY_S
        ):
            await self._check_head()

    async def _check_head(self) -> None:
        """Read on from the table's end where another engine set the table back."""
        self._seen_head_at_s = self._clock.monotonic()
        try:
            await self._follow_back((await self._call(self._lake.head)).vector)
        except (LakeUnavailableError, LogError, OSError) as error:
            log.warning("lake away", error=str(error))
        except LakeConfigError as error:
            self.refuse(error)
        else:
            self._accepted()

    async def _follow_back(self, vector: Vector) -> None:
        """Read those partitions again of which the table holds less than the sink put there."""
        back = {
            partition
            for partition, start in self._sink.starts.items()
            if (vector.next_of(self._topic.name, partition) or 0) < start
        }
        if back:
            log.warning("lake set back, starting again at its vector", partitions=sorted(back))
            await self._start_again(back)

    async def _attempt(self, pending: Pending) -> None:
        """Commit once; keep the batch for another attempt if the lake did not take it."""
        try:
            await self._commit(pending)
        except BreakerOpenError as error:
            self._retry_later(error, at_least_s=error.retry_after_s)
            return
        except (LakeUnavailableError, LogError, OSError) as error:
            self._metrics.lake_commit_failures_total.labels("unavailable").inc()
            self._attempts += 1
            self._retry_later(error)
            return
        except LakeConfigError as error:
            self._metrics.lake_commit_failures_total.labels("config").inc()
            self._attempts += 1
            self.refuse(error)
            self._retry_at_s = self._clock.monotonic() + self.guard.pause_s(self._attempts)
            if not self._waits_for_lake:
                self._wait_for_lake()
            return
        self._pending, self.retrying, self._attempts = None, None, 0
        self._accepted()
        self._metrics.sink_buffered_rows.set(self.buffered_rows)
        if self._waits_for_lake:
            self._go_on()
        if self._paused and not self._sink.full(self._pending):
            self._pause(paused=False)
            self._take_given()

    async def _commit(self, pending: Pending) -> None:
        """Commit, or find out that someone else has and where to go on."""
        started = self._clock.monotonic()
        try:
            with traces.span(
                "lake commit", stream=self._lake.stream.name, rows=pending.rows
            ) as span:
                done = await self._call(lambda: self._sink.commit(pending))
                span.set("snapshot", str(done.head.snapshot_id))
        except VectorMovedError as error:
            self._metrics.lake_commit_failures_total.labels("moved").inc()
            log.warning("lake moved, starting again at its vector", error=str(error))
            await self._start_again(set(pending.ranges))
            return
        self._metrics.lake_commit_seconds.observe(self._clock.monotonic() - started)
        self._metrics.lake_committed_rows_total.inc(pending.rows)
        self._seen_head_at_s = self._clock.monotonic()
        self._oldest_ms.clear()  # of rows that are in the lake now
        self._on_committed(done.head.vector)
        await self._expire(done.snapshots)
        log.info("lake commit", rows=pending.rows, snapshot=done.head.snapshot_id)
        # A commit is refused for the partitions it holds; of the others nobody has looked.
        await self._follow_back(done.head.vector)

    def refuse(self, error: LakeConfigError) -> None:
        """The table is not one that the sink may write to, until someone changes it back."""
        if self.error != str(error):
            log.error("sink refused", error=str(error))
        self.error = str(error)
        self._metrics.sink_refused.set(1)

    def _accepted(self) -> None:
        if self.error is not None:
            log.info("sink accepted")
        self.error = None
        self._metrics.sink_refused.set(0)

    def _retry_later(self, error: Exception, at_least_s: float = 0.0) -> None:
        """The same batch again: its commit may have landed unheard, and only it can find out."""
        wait_s = self.guard.pause_s(max(self._attempts, 1), at_least_s)
        self.retrying = str(error)
        self._retry_at_s = self._clock.monotonic() + wait_s
        log.warning("lake away", error=str(error), retry_in_s=round(wait_s, 3))
        if self.guard.state is BreakerState.OPEN and not self._waits_for_lake:
            self._wait_for_lake()

    async def _expire(self, snapshots: int) -> None:
        """Keep the table's metadata small. No file goes, and older tokens stay answerable.

        The table's snapshots count, and not this worker's commits: it may not live to make many.
        """
        if snapshots < self._expire_at:
            return
        left, kept = snapshots, self._limits.snapshots_kept
        now_ms = self._clock.time_ns() // 1_000_000
        await failpoint_in_loop("lake.expiring")
        try:
            gone = await self._call(
                lambda: expire_snapshots(self._lake, keep=kept, older_than_ms=now_ms)
            )
        except (LakeUnavailableError, LakeConfigError) as error:
            log.warning("snapshots not expired", error=str(error))
        else:
            left -= len(gone.snapshot_ids)
            log.info("snapshots expired", count=len(gone.snapshot_ids))
        # What could not go (tags, a catalog that is away) is not asked for with every commit.
        self._expire_at = max(left, kept) + self._limits.snapshots_spare

    async def _start_again(self, partitions: set[int]) -> None:
        """Someone else committed these partitions: read them on from where the table now ends."""
        starts = await self._checked(partitions & set(self._positions))
        self._follow(starts)
        self._on_seek(starts)

    async def _call(self, work: Callable[[], Result]) -> Result:
        def run() -> Result:
            if not self._ensured:
                self._lake.ensure()
                self._ensured = True
            return work()

        async def in_thread() -> Result:
            return await asyncio.get_running_loop().run_in_executor(self._thread, run)

        return await self.guard.call(in_thread)

    async def close(self) -> None:
        """Disconnect. What is buffered is read again later; a commit under way is waited for."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._lake.close)
        self._thread.shutdown(wait=True)
