"""What is read of the log and not yet in the lake: a buffer, and its commits.

The buffer lives on the event loop (`offer`, `due`, `take`); `commit` blocks and runs in the lake's
thread with what `take` handed out. Nothing else is shared between the two.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from k2_streams.core.records.expand import expand
from k2_streams.core.records.log_record import LogBatch
from k2_streams.core.records.vector import Range
from k2_streams.lake.snapshots import Committed
from k2_streams.lake.table import Lake

#: Rows wait this long at most. The tail serves them meanwhile, so freshness does not depend on it;
#: ten seconds make 8,640 files a day, and compaction has little to do.
COMMIT_EVERY_S = 10.0
#: A file of this many rows is some 20 to 40 MB: large enough to scan well, 200 MB in memory.
COMMIT_ROWS = 1_000_000
#: The same for rows of unusual size.
COMMIT_BYTES = 256 << 20
#: A vector that moved without a row (all duplicates) waits so many times as long: it keeps a
#: restart from reading the same again, at one small metadata file a minute.
EMPTY_EVERY_COMMITS = 6
#: With this many commits' worth in memory the lake is behind, and the source has to pause: one on
#: its way, and one that waits for it.
FULL_COMMITS = 2


@dataclass(frozen=True, slots=True)
class Pending:
    """One batch on its way to the lake: the ranges, the records that hold rows, and its name."""

    commit_id: str
    ranges: dict[int, Range]
    batches: tuple[LogBatch, ...]
    rows: int
    size_bytes: int
    deferred: dict[int, int]  # raw records that wait at the end of a range
    events: dict[int, int]  # sequence events that were published up to there


def _new_commit_id() -> str:
    return uuid.uuid4().hex


class Sink:
    """Collects consecutive ranges of a topic's partitions and commits them to the lake."""

    def __init__(
        self,
        lake: Lake,
        topic: str,
        topic_id: str,
        new_commit_id: Callable[[], str] = _new_commit_id,
        *,
        commit_every_s: float = COMMIT_EVERY_S,
        commit_rows: int = COMMIT_ROWS,
    ) -> None:
        """Of this topic.

        Args:
            lake: used by `commit` alone.
            topic: the log's name, as in the vector.
            topic_id: the id that its offsets count in.
            new_commit_id: gives each batch a name that no other batch ever had.
            commit_every_s: rows wait this long at most.
            commit_rows: so many rows do not wait.
        """
        self._lake = lake
        self._topic = topic
        self._topic_id = topic_id
        self._new_commit_id = new_commit_id
        self._commit_every_s = commit_every_s
        self._commit_rows = commit_rows
        self._ranges: dict[int, Range] = {}
        self._batches: dict[int, list[LogBatch]] = {}
        self._ends: dict[int, int] = {}
        self._deferred: dict[int, int] = {}
        self._events: dict[int, int] = {}
        self._rows = 0
        self._size_bytes = 0
        self._moved_since_s: float | None = None
        self._rows_since_s: float | None = None

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return self._rows

    @property
    def size_bytes(self) -> int:
        """Memory of the rows that wait."""
        return self._size_bytes

    def full(self, on_its_way: Pending | None = None) -> bool:
        """Whether the source has to pause until a commit is through.

        Args:
            on_its_way: what was taken and is not in the lake yet: it takes memory as well.
        """
        rows, size_bytes = self._rows, self._size_bytes
        if on_its_way is not None:
            rows, size_bytes = rows + on_its_way.rows, size_bytes + on_its_way.size_bytes
        return rows >= FULL_COMMITS * self._commit_rows or size_bytes >= FULL_COMMITS * COMMIT_BYTES

    def seek(self, partition: int, position: int) -> None:
        """Start a partition at `position`, without what was offered of it and not yet taken."""
        self.forget(partition)
        self._ends[partition] = position

    def forget(self, partition: int) -> None:
        """Drop what was offered of a partition and not yet taken: it is no longer ours."""
        self._ends.pop(partition, None)
        self._ranges.pop(partition, None)
        self._deferred.pop(partition, None)
        self._events.pop(partition, None)
        dropped = self._batches.pop(partition, [])
        self._rows -= sum(batch.row_count for batch in dropped)
        self._size_bytes -= sum(batch.size_bytes for batch in dropped)
        if not self._rows:
            self._rows_since_s = None

    @property
    def starts(self) -> dict[int, int]:
        """Where the table must end in each partition for what waits to be committed."""
        return {p: self._ranges[p].start if p in self._ranges else e for p, e in self._ends.items()}

    def drop_waiting(self) -> dict[int, int]:
        """Drop all that was offered and not taken; where each partition has to be read on from."""
        starts = self.starts
        for partition, start in starts.items():
            self.seek(partition, start)
        self._moved_since_s = None
        return starts

    def offer(
        self,
        partition: int,
        held: Range,
        batches: Sequence[LogBatch],
        deferred: int | None = None,
        events: int | None = None,
    ) -> None:
        """Add the positions `held` of a partition and the records that were in them.

        Args:
            partition: of the topic.
            held: the positions.
            batches: the records.
            deferred: raw records that wait at the end; None: nothing says so.
            events: sequence events that were published up to the last checkpoint; the same.

        Raises:
            ValueError: the range does not start where the partition's last one ended, or a record
                lies outside it.
        """
        end = self._ends.get(partition)
        if end is not None and held.start != end:
            raise ValueError(
                f"{self._topic}-{partition}: expected a range from {end}, found {held}"
            )
        for batch in batches:
            if batch.log_partition != partition or not held.start <= batch.log_offset < held.end:
                raise ValueError(
                    f"{self._topic}-{partition}: expected records of {held}, "
                    f"found {batch.log_partition}:{batch.log_offset}"
                )
        waiting = self._ranges.get(partition)
        self._ranges[partition] = Range(waiting.start if waiting else held.start, held.end)
        self._ends[partition] = held.end
        if deferred is not None:
            self._deferred[partition] = deferred
        if events is not None:
            self._events[partition] = events
        filled = [batch for batch in batches if batch.row_count]
        self._batches.setdefault(partition, []).extend(filled)
        self._rows += sum(batch.row_count for batch in filled)
        self._size_bytes += sum(batch.size_bytes for batch in filled)

    def due(self, now_s: float) -> bool:
        """Whether to `take` and `commit` now. Ask often: waiting counts from the first asking.

        Args:
            now_s: monotonic.
        """
        if not any(held.start < held.end for held in self._ranges.values()):
            return False
        if self._moved_since_s is None:
            self._moved_since_s = now_s
        if not self._rows:
            return now_s - self._moved_since_s >= EMPTY_EVERY_COMMITS * self._commit_every_s
        if self._rows_since_s is None:
            self._rows_since_s = now_s
        return (
            self._rows >= self._commit_rows
            or self._size_bytes >= COMMIT_BYTES
            or now_s - self._rows_since_s >= self._commit_every_s
        )

    def take(self) -> Pending | None:
        """Hand out all that waits, as one batch; None if no position moved."""
        ranges = {p: held for p, held in sorted(self._ranges.items()) if held.start < held.end}
        if not ranges:
            return None
        batches = tuple(batch for p in ranges for batch in self._batches.get(p, ()))
        pending = Pending(
            self._new_commit_id(),
            ranges,
            batches,
            self._rows,
            self._size_bytes,
            self._deferred,
            self._events,
        )
        self._ranges, self._batches, self._deferred, self._events = {}, {}, {}, {}
        self._rows = self._size_bytes = 0
        self._moved_since_s = self._rows_since_s = None
        return pending

    def commit(self, pending: Pending) -> Committed:
        """Write the batch to the lake, once. Blocks.

        After `LakeUnavailableError` (which includes "unknown") call it again with the same batch.
        Batches are committed in the order taken: the next one starts where this one ends.

        Raises:
            LakeUnavailableError, VectorMovedError, LakeConfigError: as `Lake.append`.
        """
        try:
            return self._lake.append(
                expand(self._lake.stream, pending.batches),
                pending.ranges,
                topic=self._topic,
                topic_id=self._topic_id,
                commit_id=pending.commit_id,
                deferred=pending.deferred,
                events=pending.events,
            )
        finally:
            # Arrow's allocator keeps what this thread has freed, until the next commit: as much as
            # the largest one took.
            pa.default_memory_pool().release_unused()
