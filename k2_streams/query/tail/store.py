"""The tail: the rows of a log that this node has not yet seen in a snapshot of the lake.

Of each partition it holds [E, T) of the log as immutable batches: E moves when a snapshot that
holds the rows was seen, T when a record was read. Above its memory the oldest batches go to a
spill store; nothing is ever dropped before the lake has it.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from k2_streams.core.query.keys import KeyValue
from k2_streams.core.records import log_record as trade_log
from k2_streams.core.records.columns import with_own_words
from k2_streams.core.records.log_record import LogBatch
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Range, Vector

log = structlog.get_logger(__name__)

#: K2_TAIL_MEMORY_BYTES's default: 1.5 M rows of about 170 bytes.
DEFAULT_MEMORY_BYTES = 256 * 2**20
#: Of a spilled batch, what stays in memory beside its symbols' hashes.
_SPILLED_BYTES = 400
#: What is kept of spilled batches may take this much more, as a share of the memory.
INDEX_SHARE = 0.25


class SpillStore(Protocol):
    """Bytes on this machine's disk, by partition and offset of the log."""

    def put(self, partition: int, log_offset: int, value: bytes) -> None:
        """Keep a value."""
        ...

    def get(self, partition: int, log_offset: int) -> bytes | None:
        """A value, or None where it was dropped."""
        ...

    def drop_below(self, partition: int, log_offset: int) -> None:
        """Drop the values of a partition below an offset."""
        ...

    def clear(self) -> None:
        """Drop everything."""
        ...


class TailMovedError(Exception):
    """A spilled batch of an older view was evicted meanwhile: take a new view and snapshot."""


@dataclass(frozen=True, slots=True)
class TailBatch:
    """One record of the log: in memory, or spilled with what is needed to pass over it."""

    log_partition: int
    log_offset: int
    rows: int
    size_bytes: int
    min_time_ns: int
    max_time_ns: int
    accepted_us: int
    batch: LogBatch | None
    store: SpillStore | None = None
    names: np.ndarray | None = None  # sorted hashes of a spilled batch's symbols
    spilled_bytes: int = 0

    @property
    def index_bytes(self) -> int:
        """What a spilled batch still takes in memory."""
        return 0 if self.names is None else _SPILLED_BYTES + int(self.names.nbytes)

    def load(self) -> LogBatch:
        """The rows.

        Raises:
            TailMovedError: they were spilled and are evicted by now.
        """
        if self.batch is not None:
            return self.batch
        value = None if self.store is None else self.store.get(self.log_partition, self.log_offset)
        if value is None:
            raise TailMovedError(f"{self.log_partition}:{self.log_offset} is evicted")
        return trade_log.decode(value, self.log_partition, self.log_offset)

    def may_hold(
        self, names: Iterable[KeyValue], start_ns: int | None = None, end_ns: int | None = None
    ) -> bool:
        """False only if no row is of this range and these values of the key's narrowest column.

        That column is the symbol, of trades; no value means all.
        """
        if not self.rows:
            return False
        if start_ns is not None and self.max_time_ns < start_ns:
            return False
        if end_ns is not None and self.min_time_ns >= end_ns:
            return False
        if self.names is None:
            return True
        hashes = [_hash(name) for name in names]
        return not hashes or bool(np.isin(hashes, self.names).any())


@dataclass(frozen=True, slots=True)
class PartitionView:
    """What the tail holds of a partition: [evicted, end), whatever happens to the tail later."""

    evicted: int
    end: int
    raw_next: int  # source offsets below it have been processed, in records below `end`
    batches: tuple[TailBatch, ...]  # by log_offset; those without rows are not listed
    deferred: int  # deferred source records, according to the records below `end`
    held: int | None  # scopes with gaps that a line may still fill; None: no record says
    accepted_us: int = 0  # accepted time of the last record below `end`; 0: not known
    read_to_ns: int = 0  # `end` has reached an end of the partition that was found at this time

    @property
    def range(self) -> Range:
        """[E, T)."""
        return Range(self.evicted, self.end)


@dataclass(frozen=True, slots=True)
class TailView:
    """All partitions, at one moment each."""

    partitions: dict[int, PartitionView]

    @property
    def holds_gaps(self) -> bool:
        """Whether a gap may be held for a line, and become known only later."""
        return any(view.held != 0 for view in self.partitions.values())

    @property
    def ranges(self) -> dict[int, Range]:
        """[E, T) per partition."""
        return {partition: view.range for partition, view in self.partitions.items()}

    def batches(self, wanted: Mapping[int, Range]) -> Iterator[TailBatch]:
        """The batches of these offsets."""
        for partition, range_ in wanted.items():
            view = self.partitions.get(partition)
            for batch in () if view is None else view.batches:
                if range_.start <= batch.log_offset < range_.end:
                    yield batch


class _Partition:
    """One partition's part, under the tail's lock."""

    def __init__(
        self, offset: int, ready_at: int, raw_next: int, deferred: int, held: int | None
    ) -> None:
        self.evicted = offset
        self.end = offset
        self.ready_at = ready_at
        self.raw_next = raw_next
        self.deferred = deferred
        self.held = held
        self.accepted_us = 0
        self.read_to_ns = 0
        self.ahead: tuple[int, int] | None = None  # an end that is not reached yet, and when
        self.batches: deque[TailBatch] = deque()
        self.spilled = 0  # how many of the first batches are on disk
        self.view: PartitionView | None = None

    def reach(self) -> None:
        """Take note of an end that has been reached."""
        if self.ahead is not None and self.end >= self.ahead[0]:
            self.read_to_ns, self.ahead = self.ahead[1], None
            self.view = None

    def seen(self) -> PartitionView:
        if self.view is None:
            self.view = PartitionView(
                self.evicted,
                self.end,
                self.raw_next,
                tuple(self.batches),
                self.deferred,
                self.held,
                self.accepted_us,
                self.read_to_ns,
            )
        return self.view


class Tail:
    """The tail of one log. Any thread may call it; views are immutable.

    Args:
        stream: whose records it holds.
        topic_id: of the stream's log; offsets of another topic of the same name mean nothing here.
        memory_bytes: above it batches go to `spill`, the oldest first; without `spill` they stay.
        spill: where to; it is emptied here, since the log is the truth after a start.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        topic_id: str = "",
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        spill: SpillStore | None = None,
    ) -> None:
        self.topic = stream.log  # as the lake's vector names it
        self._stream = stream
        self.topic_id = topic_id
        self._memory_bytes = memory_bytes
        self._spill = spill
        self._lock = threading.Lock()
        self._partitions: dict[int, _Partition] = {}
        self._listeners: list[Callable[[], None]] = []
        self._rows = 0
        self._in_memory_bytes = 0
        self._index_bytes = 0
        self._spilled_bytes = 0
        self._version = 0
        self.spill_limit_bytes: int | None = None  # of the disk; set by who watches it
        if spill is not None:
            spill.clear()

    @property
    def version(self) -> int:
        """Another one after every append and seek."""
        return self._version

    @property
    def rows(self) -> int:
        """Rows held, in memory and spilled."""
        return self._rows

    @property
    def memory_bytes(self) -> int:
        """What the batches in memory take."""
        return self._in_memory_bytes

    @property
    def index_bytes(self) -> int:
        """What is kept in memory of spilled batches."""
        return self._index_bytes

    @property
    def spilled_bytes(self) -> int:
        """What the spilled batches take on disk."""
        return self._spilled_bytes

    @property
    def index_limit_bytes(self) -> int:
        """What may be kept in memory of spilled batches."""
        return int(INDEX_SHARE * self._memory_bytes)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for more, in memory and on disk: read no further."""
        if self._spill is None:
            return False
        limit = self.spill_limit_bytes
        on_disk = limit is not None and self._spilled_bytes >= max(limit, 1)
        return on_disk or self._index_bytes > self.index_limit_bytes

    def seek(
        self,
        partition: int,
        offset: int,
        *,
        ready_at: int | None = None,
        raw_next: int = 0,
        deferred: int = 0,
        held: int | None = 0,
    ) -> None:
        """Follow a partition from an offset on (the lake's vector); what was held of it goes.

        Args:
            partition: of the log.
            offset: the next one to be appended.
            ready_at: the partition is ready when it has been read up to here.
            raw_next: if known, source offsets below it were processed in records before `offset`.
            deferred: source records that were deferred there.
            held: scopes with gaps that were held for a line there; None: not known.
        """
        with self._lock:
            old = self._partitions.get(partition)
            if old is not None:
                self._drop(partition, old, old.end)
            self._partitions[partition] = _Partition(
                offset, offset if ready_at is None else ready_at, raw_next, deferred, held
            )
        self._changed()

    def append(
        self,
        partition: int,
        range_: Range,
        batches: Sequence[LogBatch],
        *,
        raw_next: int | None = None,
        deferred: int | None = None,
        held: int | None = None,
    ) -> None:
        """Take the records of `range_` (of the consumer's position) in.

        Args:
            partition: of the log.
            range_: starts where the last one ended.
            batches: the records in it, by offset.
            raw_next: source offsets below it are processed, if a header of the records has it.
            deferred: deferred source records, by the last header that has them.
            held: scopes with gaps held for a line, in the same way.

        Raises:
            ValueError: the partition is not followed, the range leaves a hole or goes back, or a
                batch lies outside of it: a mistake of the reader's; nothing was taken in.
        """
        taken = [_taken(self._stream, batch) for batch in batches]
        with self._lock:
            part = self._partitions.get(partition)
            if part is None:
                raise ValueError(f"{self.topic}-{partition} is not followed: seek first")
            if range_.start != part.end:
                raise ValueError(
                    f"{self.topic}-{partition}: expected offsets from {part.end}, "
                    f"found {range_.start}"
                )
            floor = range_.start
            for batch in taken:
                if batch.log_partition != partition or not floor <= batch.log_offset < range_.end:
                    raise ValueError(
                        f"{self.topic}-{partition}: {batch.log_partition}:{batch.log_offset} "
                        f"is not in order within [{floor}, {range_.end})"
                    )
                floor = batch.log_offset + 1
            for batch in taken:
                if batch.rows:
                    part.batches.append(batch)
                    self._rows += batch.rows
                    self._in_memory_bytes += batch.size_bytes
            part.end = range_.end
            part.raw_next = max(part.raw_next, raw_next or 0)
            part.deferred = part.deferred if deferred is None else deferred
            part.held = part.held if held is None else held
            if batches:
                part.accepted_us = batches[-1].accepted_time_us
            part.view = None
            part.reach()
            self._spill_oldest()
        self._changed()

    def observe(self, ends: Mapping[int, int], at_ns: int) -> None:
        """Ends of partitions that the log was found to have at a time or later.

        Of a partition that has been read up to such an end it is known that nothing else was
        committed by then, also where it has no newer record.
        """
        with self._lock:
            for partition, end in ends.items():
                part = self._partitions.get(partition)
                if part is not None and part.ahead is None:
                    part.ahead = (end, at_ns)
                    part.reach()
        self._changed()

    def evict(self, vector: Vector) -> int:
        """Drop what a snapshot *that this node's queries see from now on* holds.

        The order matters: first the snapshot is what queries take, then its rows go. Turned round,
        a query between the two finds the rows in neither part.

        Returns:
            The number of rows dropped.
        """
        with self._lock:
            before = self._rows
            if self.topic_id and vector.id_of(self.topic) not in (None, self.topic_id):
                return 0
            for partition, part in self._partitions.items():
                held = vector.next_of(self.topic, partition)
                if held is not None and held > part.evicted:
                    self._drop(partition, part, min(held, part.end))
            return before - self._rows

    def view(self) -> TailView:
        """What is held now."""
        with self._lock:
            return TailView({number: part.seen() for number, part in self._partitions.items()})

    @property
    def ends(self) -> dict[int, int]:
        """Of each partition that is followed the next offset to be appended."""
        with self._lock:
            return {number: part.end for number, part in self._partitions.items()}

    def ready(self, partition: int) -> bool:
        """Whether the partition has been read up to the end that the log had at the start."""
        with self._lock:
            part = self._partitions.get(partition)
            return part is not None and part.end >= part.ready_at

    def ready_at(self, partition: int) -> int:
        """The end that the log had at the start; 0 of a partition that is not followed."""
        with self._lock:
            part = self._partitions.get(partition)
            return 0 if part is None else part.ready_at

    def all_ready(self) -> bool:
        """Whether every partition is ready, and there is one."""
        with self._lock:
            parts = self._partitions.values()
            return bool(parts) and all(part.end >= part.ready_at for part in parts)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every append and seek, on the thread that made it."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        self._version += 1
        for listener in self._listeners:
            listener()

    def _drop(self, partition: int, part: _Partition, offset: int) -> None:
        """Forget offsets below `offset`; under the lock."""
        spilled = part.spilled
        while part.batches and part.batches[0].log_offset < offset:
            gone = part.batches.popleft()
            self._rows -= gone.rows
            if gone.batch is None:
                part.spilled -= 1
                self._index_bytes -= gone.index_bytes
                self._spilled_bytes -= gone.spilled_bytes
            else:
                self._in_memory_bytes -= gone.size_bytes
        if self._spill is not None and part.spilled < spilled:
            self._spill.drop_below(partition, offset)
        part.evicted = offset
        part.view = None

    def _spill_oldest(self) -> None:
        """Put the oldest batches of whichever partition has most in memory on disk."""
        while self._spill is not None and self._in_memory_bytes > self._memory_bytes:
            number, part = max(
                self._partitions.items(), key=lambda item: len(item[1].batches) - item[1].spilled
            )
            if part.spilled == len(part.batches):
                return
            kept = part.batches[part.spilled]
            left = part.batches[part.spilled] = _spilled(self._stream, kept, self._spill)
            part.spilled += 1
            part.view = None
            self._in_memory_bytes -= kept.size_bytes
            self._index_bytes += left.index_bytes
            self._spilled_bytes += left.spilled_bytes
            if part.spilled == 1:
                log.info("tail spills", partition=number, memory_bytes=self._in_memory_bytes)


def _taken(stream: Stream, batch: LogBatch) -> TailBatch:
    rows = batch.row_count
    least_ns, most_ns = _times_ns(batch.rows.column(stream.time)) if rows else (0, 0)
    return TailBatch(
        batch.log_partition,
        batch.log_offset,
        rows,
        batch.size_bytes,
        least_ns,
        most_ns,
        batch.accepted_time_us,
        batch,
    )


def _times_ns(column: pa.Array) -> tuple[int, int]:
    """The least and the greatest; most batches of a ledger have one row."""
    if len(column) == 1:
        only: int = column[0].as_py()
        return only, only
    times = pc.min_max(column).as_py()
    return times["min"], times["max"]


def _spilled(stream: Stream, kept: TailBatch, store: SpillStore) -> TailBatch:
    batch = kept.load()
    rows = with_own_words(batch.rows)
    value = trade_log.encode(rows, batch.source_partition, batch.accepted_time_us)
    store.put(kept.log_partition, kept.log_offset, value)
    names = pc.unique(batch.rows.column(stream.name_column)).to_pylist()
    return TailBatch(
        kept.log_partition,
        kept.log_offset,
        kept.rows,
        kept.size_bytes,
        kept.min_time_ns,
        kept.max_time_ns,
        kept.accepted_us,
        None,
        store,
        np.array(sorted(_hash(name) for name in names), dtype=np.uint32),
        len(value),
    )


def _hash(name: KeyValue) -> int:
    return int(mmh3.hash(str(name), signed=False))
