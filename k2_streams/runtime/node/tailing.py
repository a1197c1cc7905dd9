"""What a query node reads for itself: the log beyond the lake, and what was published beside it.

With its own committed readers, assigned by hand, outside Faust's group: every node answers alone.
What a task of this worker committed comes from memory, at the commit (ADR 0009).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog

from k2_streams.clock import Clock
from k2_streams.core.records import events, log_record
from k2_streams.core.records.log_chunk import LogChunk, PublishedBeside, before_marker
from k2_streams.core.records.log_record import CheckpointHeaders, LogBatch
from k2_streams.core.records.schema import INGEST_TIME
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Vector
from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import Chunk, LogError, LogReader
from k2_streams.kafka.partition_faults import PartitionFault, PartitionFaults
from k2_streams.query.errors import RetryLaterError
from k2_streams.query.gaps import GapsView
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.committed_rows import CommittedRows, MarkerMissingError
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics.table import TailMetrics
from k2_streams.runtime.node.log_topics import LogTopics
from k2_streams.runtime.node.published import Published

log = structlog.get_logger(__name__)

#: After an error the reader is built again; the tail keeps its rows.
RESTART_AFTER_S = 1.0
#: A tail without room is looked at again after this long.
FULL_PAUSE_S = 0.25
#: Records a poll: bounds how long the event loop is held.
POLL_RECORDS = 64
POLL_EVENTS = 2_000
#: The two readers, in errors and logs.
_LOG, _EVENTS = "log", "events"
#: Where the rows came from, in metrics.
_FROM_LOG, _FROM_MEMORY = "log", "memory"
#: Rows wait at most this long for their events; then they are shown without.
EVENTS_WAIT_S = 0.25
#: The last stable offset may stand below the log's end for a checkpoint, not longer.
STALLED_AFTER_S = 2.0
#: Of a partition before its first checkpoint.
NOTHING_WRITTEN = CheckpointHeaders(0, None, 0, 0, 0, 0)
#: How often the ends of the log's partitions are looked up: of one without new records it is known
#: by these up to when it has been read.
OBSERVE_EVERY_S = 1.0
#: Offsets below the lake's vector that are looked at first for the newest `k2.raw-next`.
LOOK_BACK_OFFSETS = 64


class TailReader:
    """Follows the log from the lake's vector, and what is published beside it from its start.

    Args:
        stream: whose log.
        beside: the topics that the log's checkpoints publish to beside it.
        kafka: the brokers.
        partitions: of the log and of the topics beside it.
        tail: takes the log's records.
        gaps: takes the sequence events; None: the log has none, and dead letters alone are read.
        metrics: of the log's tail.
        clock: of this machine.
        vector: where the lake ends.
        committed: what tasks of this worker give at their commits.
        limits: how long the broker holds an empty fetch.
    """

    def __init__(  # noqa: PLR0913 - called once, where everything is wired
        self,
        stream: Stream,
        beside: LogTopics,
        kafka: KafkaConfig,
        partitions: int,
        tail: Tail,
        gaps: GapsView | None,
        metrics: TailMetrics,
        clock: Clock,
        *,
        vector: Callable[[], Awaitable[Vector]],
        committed: CommittedRows,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.stalled: set[int] = set()  # partitions of the log that an open transaction holds back
        self.dead_letters = Published()
        self._published = Published()  # events
        self._events_moved = asyncio.Condition()
        self.has_deferred = False  # a source record was deferred, now or ever
        #: Of all partitions of the source, where `beside` names it: not processed as far as the
        #: log's newest record says. Deferred ones count as processed, as a worker's own lag has it.
        self.source_lag_records = 0
        self._observe_at_s = 0.0
        self._stable: dict[int, tuple[int, float]] = {}
        self._stream = stream
        self._beside = beside
        self._has_ingest_time = INGEST_TIME in stream.log_schema
        self._kafka = kafka
        self._partitions = range(partitions)
        self._tail = tail
        self._gaps = gaps
        self._metrics = metrics
        self._clock = clock
        self._vector = vector
        self._fetch_ms = limits.tail_fetch_ms
        #: Per reader why it does not read now.
        self._errors = {_LOG: "starting"}
        if beside.counted:
            self._errors[_EVENTS] = "starting"
        self._faults: dict[str, PartitionFaults] = {}
        self._event_positions: dict[TopicPartition, int] = {}
        self._is_given = asyncio.Event()
        self._given = committed.feed(self._is_given.set)
        self._given.want(self._partitions)
        self._resting: set[int] = set()  # partitions that follow what is given
        #: Both sources of rows append in turn, each where the other one ended.
        self._appending = asyncio.Lock()

    @property
    def faults(self) -> list[PartitionFault]:
        """Partitions of the log and of the topics beside it that cannot be read."""
        return [fault for faults in self._faults.values() for fault in faults.now]

    async def run_log(self) -> None:
        """Read the log for ever."""
        await self._forever(_LOG, self._log)

    async def run_given(self) -> None:
        """Take what tasks of this worker give, for ever."""
        while True:
            await self._is_given.wait()
            self._is_given.clear()
            await self._take_given()

    async def run_events(self) -> None:
        """Read events and dead letters for ever."""
        await self._forever(_EVENTS, self._events)

    @property
    def error(self) -> str | None:
        """Why one of the readers does not read now; None: both do."""
        return next(iter(self._errors.values()), None)

    async def _forever(self, name: str, read: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await read()
            except (LogError, OSError, RetryLaterError) as error:
                self._errors[name] = f"{type(error).__name__}: {error}"
                log.warning("tail reader starts again", reader=name, error=self._errors[name])
            except Exception as error:  # shown until the reader runs again
                self._errors[name] = f"{type(error).__name__}: {error}"
                raise  # the supervisor logs it and starts the reader again
            await asyncio.sleep(RESTART_AFTER_S)

    async def _log(self) -> None:
        log_partitions = [TopicPartition(self._stream.log, p) for p in self._partitions]
        async with LogReader(self._kafka, max_wait_ms=self._fetch_ms) as reader:
            ends = await reader.end_offsets(log_partitions)
            followed = self._tail.view().partitions  # all of them after an error
            fresh = [tp for tp in log_partitions if tp.partition not in followed]
            if fresh:
                vector = await self._vector()
                begins = await reader.begin_offsets(fresh)
                for tp in fresh:
                    offset = vector.next_of(tp.topic, tp.partition) or 0
                    headers = NOTHING_WRITTEN
                    if not self._stream.is_ledger:
                        headers = await _headers_before(reader, tp, offset, begins[tp])
                    self._published.expect(tp.partition, headers.events or 0, offset)
                    self.dead_letters.expect(tp.partition, headers.dead_letters, offset)
                    self._tail.seek(
                        tp.partition,
                        offset,
                        ready_at=ends[tp],
                        raw_next=headers.processed or 0,
                        deferred=headers.deferred or 0,
                        held=headers.held,
                    )
                followed = self._tail.view().partitions
            reader.assign({tp: followed[tp.partition].end for tp in log_partitions})
            self._resting.clear()
            reader.isolate = True
            self._faults["tail"] = reader.faults
            self._errors.pop(_LOG, None)
            while True:
                if self._tail.is_full:  # answers are older, and as exact as ever
                    await asyncio.sleep(FULL_PAUSE_S)
                    continue
                await self._take_given()
                await self._choose(reader)
                for chunk in await reader.poll(timeout_ms=self._fetch_ms, max_records=POLL_RECORDS):
                    async with self._appending:
                        await self._take_fetched(reader, chunk)
                self._watch_stalls(reader)
                await self._observe(reader)
                self._metrics.tail_rows.set(self._tail.rows)
                self._metrics.tail_memory_bytes.set(
                    self._tail.memory_bytes + self._tail.index_bytes
                )

    async def _choose(self, reader: LogReader) -> None:
        """Fetch the partitions of which nothing continues in memory, and no others."""
        log_topic = self._stream.log
        left = []
        for partition, end in self._tail.ends.items():
            follows, rests = self._given.follows(partition, end), partition in self._resting
            if rests and not follows:
                left.append(TopicPartition(log_topic, partition))
            elif follows and not rests:
                reader.rest(log_topic, partition, end)
                self._resting.add(partition)
        if not left:
            return
        for tp, begin in (await reader.begin_offsets(left)).items():
            # A log that its retention has emptied begins where it ends, behind the marker.
            end = self._tail.ends[tp.partition]
            reader.go_on(*tp, max(before_marker(end), min(begin, end)))
            self._resting.discard(tp.partition)

    async def _take_given(self) -> None:
        """Append what continues where the tail ends."""
        async with self._appending:
            for partition in self._tail.ends:
                while not self._tail.is_full:
                    chunk = self._given.take(partition, self._tail.ends[partition])
                    if chunk is None:
                        break
                    await failpoint_in_loop("tail.taken")
                    self._take_beside(chunk)
                    await self._events_of(chunk)
                    self._append(chunk, _FROM_MEMORY)

    async def _take_fetched(self, reader: LogReader, fetched: Chunk) -> None:
        """Append what was fetched, but for what memory was ahead with."""
        end = self._tail.ends[fetched.partition]
        if fetched.end <= end:
            return
        chunk = _decoded(self._stream, reader, fetched)
        if chunk is None:
            return
        try:
            chunk = self._given.rest_of(chunk, end)
        except MarkerMissingError as error:
            reader.reject(fetched, error)
            return
        await self._events_of(chunk)
        self._append(chunk, _FROM_LOG)

    async def _observe(self, reader: LogReader) -> None:
        """Look up how far log and source go, and whether a record was ever deferred."""
        if self._clock.monotonic() < self._observe_at_s:
            return
        self._observe_at_s = self._clock.monotonic() + OBSERVE_EVERY_S
        log_topic, deferred, source = self._stream.log, self._beside.deferred, self._beside.source
        topics = [one for one in (log_topic, deferred, source) if one is not None]
        tps = [TopicPartition(topic, p) for topic in topics for p in self._partitions]
        at_ns = self._clock.time_ns()  # before the ends are asked for: they are of then or later
        ends = await reader.end_offsets(tps)
        self.has_deferred |= any(end for tp, end in ends.items() if tp.topic == deferred)
        found = {tp.partition: end for tp, end in ends.items() if tp.topic == log_topic}
        self._tail.observe(found, at_ns)
        processed = self._tail.view().partitions
        self.source_lag_records = sum(
            max(end - processed[tp.partition].raw_next, 0)
            for tp, end in ends.items()
            if tp.topic == source
        )

    def _watch_stalls(self, reader: LogReader) -> None:
        """A transaction left open holds every committed reader back, until Kafka aborts it."""
        now_s = self._clock.monotonic()
        for partition in self._partitions:
            if partition in self._resting:  # nothing is fetched, so nothing is known, and no need
                self._stable.pop(partition, None)
                self._metrics.log_stalled.labels(str(partition)).set(0)
                self.stalled.discard(partition)
                continue
            stable, end = reader.stable_and_end(self._stream.log, partition)
            last, since_s = self._stable.get(partition, (-1, now_s))
            if stable != last or stable >= end:
                self._stable[partition] = (stable, now_s)
                since_s = now_s
            stalled = now_s - since_s > STALLED_AFTER_S
            self._metrics.log_stalled.labels(str(partition)).set(stalled)
            (self.stalled.add if stalled else self.stalled.discard)(partition)

    def _append(self, chunk: LogChunk, origin: str) -> None:
        headers, batches = chunk.headers or CheckpointHeaders(), chunk.batches
        self.has_deferred |= bool(headers.deferred)
        self._tail.append(
            chunk.partition,
            chunk.range,
            batches,
            raw_next=headers.processed,
            deferred=headers.deferred,
            held=headers.held,
        )
        self._metrics.tail_rows_read_total.labels(origin).inc(chunk.rows)
        if batches and batches[-1].row_count:
            age_s = self._clock.time_ns() / 1e9 - self._since_us(batches[-1]) / 1e6
            self._metrics.freshness_seconds.observe(max(age_s, 0.0))

    def _since_us(self, batch: LogBatch) -> int:
        """When the newest row came in: appended to the source, or else its checkpoint."""
        if not self._has_ingest_time:
            return batch.accepted_time_us
        newest_us: int = batch.rows.column(INGEST_TIME.name)[-1].value
        return newest_us

    async def _events(self) -> None:
        beside = self._beside
        tps = [TopicPartition(topic, p) for topic in beside.counted for p in self._partitions]
        async with LogReader(self._kafka, max_wait_ms=self._fetch_ms) as reader:
            begins, ends = await reader.begin_offsets(tps), await reader.end_offsets(tps)
            starts = {tp: self._event_positions.setdefault(tp, begins[tp]) for tp in tps}
            if self._gaps is not None:
                unread = (tp for tp in tps if tp.topic == beside.events and ends[tp] > starts[tp])
                self._gaps.expect({tp.partition: ends[tp] for tp in unread})
            reader.assign(starts)
            reader.isolate = True
            self._faults["events"] = reader.faults
            self._errors.pop(_EVENTS, None)
            while True:
                await self._poll_events(reader)

    async def _poll_events(self, reader: LogReader) -> None:
        for chunk in await reader.poll(timeout_ms=self._fetch_ms, max_records=POLL_EVENTS):
            place = TopicPartition(chunk.topic, chunk.partition)
            position = self._event_positions[place]
            if chunk.end <= position:  # memory was ahead
                continue
            records = [one for one in chunk.records if one.offset >= position]
            if chunk.topic == self._beside.dead_letters:
                self.dead_letters.read(chunk.partition, len(records))
            elif self._gaps is not None:
                self._fold(chunk, records, self._gaps)
            self._event_positions[place] = chunk.end
        async with self._events_moved:
            self._cover()
            self._events_moved.notify_all()

    def _take_beside(self, chunk: LogChunk) -> None:
        """Take what was published with these rows, where it continues what has been read."""
        partition, gaps, beside = chunk.partition, self._gaps, self._beside
        found = chunk.events
        if found is not None and gaps is not None and beside.events is not None:
            place = TopicPartition(beside.events, partition)
            read = self._continued(place, found)
            if read is not None:
                for number, event in enumerate(found.events[read:], found.first + read):
                    gaps.apply(event, partition, number + 1)
                gaps.advance(partition, found.range.end)
                self._published.read(partition, found.records - read)
        found = chunk.dead_letters
        if found is not None and beside.dead_letters is not None:
            read = self._continued(TopicPartition(beside.dead_letters, partition), found)
            if read is not None:
                self.dead_letters.read(partition, found.records - read)

    def _continued(self, place: TopicPartition, found: PublishedBeside) -> int | None:
        """Stand behind it; how much of it had been read. None: something before it was not."""
        position = self._event_positions.get(place, -1)  # -1: nobody reads yet
        if not found.contains(position):
            return None
        self._event_positions[place] = found.range.end
        return found.seen_by(position)

    async def _events_of(self, chunk: LogChunk) -> None:
        """Wait, a little, until the events and dead letters of these records have been read.

        They are in the same transaction, but may come by another fetch. An answer whose rows are
        ahead of them has `gaps_complete: false`, or `dead_letters_complete: false`.
        """
        partition, both = chunk.partition, (self._published, self.dead_letters)
        self._expect(chunk)
        async with self._events_moved:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVENTS_WAIT_S):
                    await self._events_moved.wait_for(
                        lambda: all(one.has(partition) for one in both)
                    )
            self._cover()

    def _expect(self, chunk: LogChunk) -> None:
        """What is published beside the log belongs to its checkpoints, of which it says how many.

        A chunk may hold none: of an aborted transaction, or of markers alone. Nothing may come
        behind it for hours, and what is known in front of it is complete behind it.
        """
        partition, end = chunk.partition, chunk.headers_end
        headers = chunk.headers or CheckpointHeaders()
        if self._stream.is_ledger:  # nothing is published beside it
            headers, end = NOTHING_WRITTEN, chunk.end
        elif not chunk.batches and chunk.headers is None:
            self._published.expect_none(partition, chunk.start, chunk.end)
            self.dead_letters.expect_none(partition, chunk.start, chunk.end)
            return
        self._published.expect(partition, headers.events, end)
        self.dead_letters.expect(partition, headers.dead_letters, end)

    def _cover(self) -> None:
        """Record how far into the log the events reach."""
        if self._gaps is not None:
            self._gaps.cover(self._published.reached())

    def _fold(self, chunk: Chunk, records: Sequence[Any], gaps: GapsView) -> None:
        for record in records:
            try:
                event = events.decode(record.value or b"")
            except msgspec.MsgspecError as error:
                # Of a newer version, or of another program: skipped, so that the others count.
                log.error(  # noqa: TRY400 - the trace says nothing more
                    "sequence event not readable",
                    topic=chunk.topic,
                    partition=chunk.partition,
                    offset=record.offset,
                    error=str(error),
                )
                continue
            gaps.apply(event, chunk.partition, record.offset + 1)
            self._published.read(chunk.partition, 1)
        gaps.advance(chunk.partition, chunk.end)


def _decoded(stream: Stream, reader: LogReader, chunk: Chunk) -> LogChunk | None:
    """The rows of a chunk; None: it is not readable, and its partition stands still before it."""
    try:
        return LogChunk.decoded(stream, chunk.partition, chunk.start, chunk.end, chunk.records)
    except Exception as error:  # noqa: BLE001 - bytes that are no batch raise whatever they make
        reader.reject(chunk, error)
        return None


async def _headers_before(
    reader: LogReader, tp: TopicPartition, offset: int, begin: int
) -> CheckpointHeaders:
    """The headers of the newest checkpoint among the records below `offset`.

    Every checkpoint writes a record that has them; markers and aborted records lie between.
    """
    span = LOOK_BACK_OFFSETS
    while True:
        start = max(offset - span, begin)
        reader.assign({tp: start})
        found: CheckpointHeaders | None = None
        while start < offset and reader.position(*tp) < offset:
            for chunk in await reader.poll(max_records=POLL_RECORDS):
                below = [record for record in chunk.records if record.offset < offset]
                found = log_record.last_headers(below) or found
        if found is not None or start == begin:
            return found or NOTHING_WRITTEN
        span *= 8
