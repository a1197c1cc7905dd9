"""Rows of a log from memory: what this worker's tasks committed, for its own tail and sink.

    1 acknowledge  the broker has acknowledged the commit, and no partition lacks its marker
    2 give         the rows of the transaction's records, at their acknowledged offsets, and the
                   events and the number of dead letters of the same transaction at theirs
    3 take         a reader takes them if they continue at the position where it stands

Whatever is not taken is read from the log, which has all of it. ADR 0009 tells what breaks if two
of the steps are swapped.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import pyarrow as pa

from k2_streams.clock import Clock
from k2_streams.core.records.events import AnyEvent
from k2_streams.core.records.log_chunk import (
    MARKER_OFFSETS,
    CommittedChain,
    LogChunk,
    PublishedBeside,
)
from k2_streams.core.records.log_record import CheckpointHeaders, LogBatch
from k2_streams.runtime.task.outputs import TaskOutputs

#: A reader that was given nothing for so long reads the log: what somebody else has committed is
#: only there. Some checkpoints long, so that it is rare while records come.
FOLLOWED_FOR_S = 1.0
#: What a transaction without a row counts as: else nothing would bound how many wait.
_CHUNK_BYTES = 1_024


class MarkerMissingError(Exception):
    """A record has the offset of a marker that a reader has passed: it would be in no answer."""

    def __init__(self, partition: int, offset: int) -> None:
        super().__init__(
            f"partition {partition}: expected the marker of a committed transaction at offset "
            f"{offset}, found a record: its rows are in no answer of this worker and not in the "
            "lake; see docs/adr/0009-rows-from-memory.md"
        )


class LogRecords(NamedTuple):
    """The records that a checkpoint writes to one log, before they have offsets.

    Attributes:
        log: the topic.
        rows: of each record.
        source_partition: of the task.
        accepted_time_us: of the checkpoint.
        headers: of the last record.
    """

    log: str
    rows: tuple[pa.RecordBatch, ...]
    source_partition: int
    accepted_time_us: int
    headers: CheckpointHeaders


class _Waiting(NamedTuple):
    """A transaction that its reader has not taken."""

    chunk: LogChunk
    size_bytes: int


class RowsReader(Protocol):
    """Who is told of committed rows."""

    def give(self, chunk: LogChunk) -> None:
        """A transaction was committed."""
        ...

    def clear(self, partition: int) -> None:
        """Nothing more of this partition comes from memory."""
        ...


class RowsFeed:
    """What one reader was given and has not taken. It keeps a reader's place, never moves it.

    Args:
        clock: of this machine.
        limit_bytes: of the rows that wait; the oldest are dropped, since the log has them.
        on_given: called whenever there may be something to take, or nothing any more.
    """

    def __init__(self, clock: Clock, limit_bytes: int, on_given: Callable[[], None]) -> None:
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._on_given = on_given
        self._wanted: frozenset[int] = frozenset()
        self._waiting: dict[int, deque[_Waiting]] = {}
        self._waiting_bytes = 0
        self._taken: dict[int, tuple[int, float]] = {}  # up to this offset, and when
        self._passed: dict[int, int] = {}  # the offset behind the last marker that was assumed

    @property
    def waiting_bytes(self) -> int:
        """Of the rows that wait."""
        return self._waiting_bytes

    def want(self, partitions: Iterable[int]) -> None:
        """Be given the rows of these partitions and of no others."""
        self._wanted = frozenset(partitions)
        for partition in set(self._waiting) | set(self._taken):
            if partition not in self._wanted:
                self._forget(partition)
                self._passed.pop(partition, None)

    def give(self, chunk: LogChunk) -> None:
        """A transaction was committed."""
        if chunk.partition not in self._wanted:
            return
        size_bytes = chunk.size_bytes + _CHUNK_BYTES
        self._waiting.setdefault(chunk.partition, deque()).append(_Waiting(chunk, size_bytes))
        self._waiting_bytes += size_bytes
        while self._waiting_bytes > self._limit_bytes:
            self._drop_oldest()
        self._on_given()

    def clear(self, partition: int) -> None:
        """Nothing more of this partition comes from memory."""
        self._forget(partition)
        self._on_given()

    def take(self, partition: int, position: int) -> LogChunk | None:
        """What continues at a reader's position; None: nothing that was given does."""
        if not self._continues(partition, position):
            return None
        chunk = self._pop(partition).since(position)
        self._taken[partition] = (chunk.end, self._clock.monotonic())
        if chunk.batches and chunk.batches[-1].log_offset < chunk.end - MARKER_OFFSETS:
            self._passed[partition] = chunk.end
        return chunk

    def rest_of(self, fetched: LogChunk, position: int) -> LogChunk:
        """What was fetched of the log, from a reader's position on.

        Raises:
            MarkerMissingError: a record lies where what was taken ended with a marker. A producer
                sees to it that this cannot be (`kafka.transactions`), if it sees a broker restart.
        """
        marker = position - MARKER_OFFSETS
        if self._passed.get(fetched.partition) == position and any(
            batch.log_offset == marker for batch in fetched.batches
        ):
            raise MarkerMissingError(fetched.partition, marker)
        return fetched.since(position)

    def follows(self, partition: int, position: int) -> bool:
        """Whether a reader at this position need not read the log for now."""
        if self._continues(partition, position):
            return True
        end, at_s = self._taken.get(partition, (-1, 0.0))
        is_recent = self._clock.monotonic() - at_s < FOLLOWED_FOR_S
        return end == position and is_recent and not self._waiting.get(partition)

    def _continues(self, partition: int, position: int) -> bool:
        """Whether the oldest that waits, and is not behind the position, contains it."""
        waiting = self._waiting.get(partition)
        while waiting and waiting[0].chunk.end <= position:
            self._pop(partition)
        return waiting is not None and len(waiting) > 0 and waiting[0].chunk.start <= position

    def _pop(self, partition: int) -> LogChunk:
        chunk, size_bytes = self._waiting[partition].popleft()
        self._waiting_bytes -= size_bytes
        return chunk

    def _drop_oldest(self) -> None:
        """Of the partition of which most waits; its reader finds what was dropped in the log."""
        partition = max(self._waiting, key=self._waiting_of)
        self._pop(partition)
        self._taken.pop(partition, None)

    def _waiting_of(self, partition: int) -> int:
        return sum(one.size_bytes for one in self._waiting[partition])

    def _forget(self, partition: int) -> None:
        while self._waiting.get(partition):
            self._pop(partition)
        self._taken.pop(partition, None)


class CommittedRows:
    """What is committed to one log, for this worker's readers of it.

    Args:
        clock: of this machine.
        limit_bytes: of what waits for one reader; 0: every reader reads the log.
    """

    def __init__(self, clock: Clock, limit_bytes: int) -> None:
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._readers: list[RowsReader] = []

    def feed(self, on_given: Callable[[], None]) -> RowsFeed:
        """What waits for one more reader."""
        feed = RowsFeed(self._clock, self._limit_bytes, on_given)
        self.tell(feed)
        return feed

    def tell(self, reader: RowsReader) -> None:
        """Tell one more reader."""
        self._readers.append(reader)

    def give(self, chunk: LogChunk) -> None:
        """A transaction was committed: its commit was acknowledged, and its offsets are known."""
        for reader in self._readers:
            reader.give(chunk)

    def clear(self, partition: int) -> None:
        """No task of this worker writes this partition any more."""
        for reader in self._readers:
            reader.clear(partition)


class HandOver:
    """One task's side: gives what its checkpoints commit to the readers of its logs.

    Args:
        partition: of the task.
        logs: those that have readers here, by topic.
        outputs: of the task: where its events and dead letters go.
        clock: of this machine.
    """

    def __init__(
        self, partition: int, logs: Mapping[str, CommittedRows], outputs: TaskOutputs, clock: Clock
    ) -> None:
        self._partition = partition
        self._logs = logs
        self._outputs = outputs
        self._clock = clock
        self._chains = {topic: CommittedChain() for topic in outputs.topics}

    def give(
        self,
        written: Sequence[LogRecords],
        offsets: Mapping[str, Sequence[int]],
        found: Sequence[AnyEvent],
    ) -> None:
        """A checkpoint was committed.

        Args:
            written: its records, by log.
            offsets: of the records of each topic, as they were acknowledged.
            found: the events among them, in their order.
        """
        events = self._beside(self._outputs.events, offsets, found)
        dead_letters = self._beside(self._outputs.dead_letter, offsets)
        for records in written:
            if records.log in self._logs:
                self._give(records, offsets[records.log], events, dead_letters)

    def _beside(
        self,
        topic: str | None,
        offsets: Mapping[str, Sequence[int]],
        found: Sequence[AnyEvent] = (),
    ) -> PublishedBeside | None:
        """What was published to a topic; None: nothing, or it is not known where."""
        placed = offsets.get(topic, ()) if topic is not None else ()
        if topic is None or not placed:
            return None
        within = self._chains[topic].add(placed)
        if within is None:
            return None
        return PublishedBeside(within, placed[0], len(placed), tuple(found))

    def _give(
        self,
        records: LogRecords,
        offsets: Sequence[int],
        events: PublishedBeside | None,
        dead_letters: PublishedBeside | None,
    ) -> None:
        found = self._chains[records.log].add(offsets)
        if found is None:
            return
        batches = tuple(
            LogBatch(
                rows, records.source_partition, records.accepted_time_us, self._partition, offset
            )
            for rows, offset in zip(records.rows, offsets, strict=True)
        )
        appended_ms = self._clock.time_ns() // 1_000_000
        self._logs[records.log].give(
            LogChunk(
                self._partition,
                found.start,
                found.end,
                batches,
                records.headers,
                appended_ms,
                events,
                dead_letters,
            )
        )

    def close(self) -> None:
        """The task is over: whatever its successor commits, here or elsewhere, is in the log."""
        for log in self._logs.values():
            log.clear(self._partition)
