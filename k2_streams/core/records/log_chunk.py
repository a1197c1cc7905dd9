"""What a reader of a log takes at once: all committed records of a range of offsets, decoded.

It is the same whether it was fetched from the log or given by the task that wrote it (ADR 0009).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from k2_streams.core.records import log_record
from k2_streams.core.records.events import AnyEvent
from k2_streams.core.records.log_record import CheckpointHeaders, LogBatch, WrittenRecord
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Range

#: The offsets that the end of a transaction takes in each of its partitions.
MARKER_OFFSETS = 1
#: What an event that waits takes in memory, about.
_EVENT_BYTES = 512


def before_marker(end: int) -> int:
    """From where to read what follows an end that memory gave.

    The marker in front of it may be still to come, and no log ends behind one. At a log's
    beginning there is none.
    """
    return max(end - MARKER_OFFSETS, 0)


class PublishedBeside(NamedTuple):
    """What the transaction of a chunk published to another topic, at acknowledged offsets.

    Attributes:
        range: of offsets, of which these records are the only committed ones.
        first: the offset of the first record; they follow one another.
        records: how many there are.
        events: the records, where the topic has events.
    """

    range: Range
    first: int
    records: int
    events: tuple[AnyEvent, ...] = ()

    def contains(self, position: int) -> bool:
        """Whether a reader at this position may take it instead of reading."""
        return self.range.start <= position <= self.range.end

    def seen_by(self, position: int) -> int:
        """How many of the records a reader at this position has read."""
        return min(max(position - self.first, 0), self.records)


@dataclass(frozen=True, slots=True)
class LogChunk:
    """The committed records at offsets `[start, end)` of a partition, without exception.

    Attributes:
        partition: of the log.
        start: its first offset.
        end: the offset behind it.
        batches: the records, by offset; markers and aborted records take offsets, and are none.
        headers: of the last checkpoint that ends in it; None: none does.
        appended_ms: when its first record was appended; None: there is no record.
        events: of its transaction; None: there are none, or they are to be read.
        dead_letters: the same.
        partial_from: records from this offset on belong to a checkpoint that ends behind the chunk:
            `headers` say nothing of them; None: there are none.
    """

    partition: int
    start: int
    end: int
    batches: tuple[LogBatch, ...]
    headers: CheckpointHeaders | None
    appended_ms: int | None
    events: PublishedBeside | None = None
    dead_letters: PublishedBeside | None = None
    partial_from: int | None = None

    @classmethod
    def decoded(
        cls, stream: Stream, partition: int, start: int, end: int, records: Sequence[WrittenRecord]
    ) -> Self:
        """Of records of a stream's log as a client gives them.

        Raises:
            LogFormatError: a record is of no version that this code reads.
        """
        whole_to = log_record.last_end(records)
        is_partial = whole_to is not None and records[-1].offset >= whole_to
        return cls(
            partition,
            start,
            end,
            stream.decode(partition, records),
            log_record.last_headers(records),
            records[0].timestamp if records else None,
            partial_from=whole_to if is_partial else None,
        )

    @property
    def headers_end(self) -> int:
        """Its headers speak of all rows below this offset.

        A client may give a part of a transaction: what was published beside the rest of it is not
        counted yet, and may still be to come.
        """
        return self.end if self.partial_from is None else self.partial_from

    @property
    def range(self) -> Range:
        """Its offsets."""
        return Range(self.start, self.end)

    @property
    def rows(self) -> int:
        """Rows of all records."""
        return sum(batch.row_count for batch in self.batches)

    @property
    def size_bytes(self) -> int:
        """What rows and events take in memory."""
        events = 0 if self.events is None else self.events.records * _EVENT_BYTES
        return sum(batch.size_bytes for batch in self.batches) + events

    def since(self, position: int) -> Self:
        """What a reader at this position has still to read.

        Raises:
            ValueError: the position lies outside the range: something before it would be missing.
        """
        if not self.start <= position <= self.end:
            raise ValueError(f"expected a position in [{self.start}, {self.end}], found {position}")
        batches = tuple(batch for batch in self.batches if batch.log_offset >= position)
        return replace(self, start=position, batches=batches)


class CommittedChain:
    """The ranges of one producer's transactions in a partition that nobody else writes to.

    A range is known by the offsets that the broker acknowledged, and by them alone. It ends behind
    the transaction's marker, which is never delivered: so where the next one begins, if nothing
    lies between.
    """

    def __init__(self) -> None:
        self._end = 0  # of all that was acknowledged
        self._is_known = False  # whether the transaction before ended there
        self._is_broken = False

    def add(self, offsets: Sequence[int]) -> Range | None:
        """The range of the next committed transaction.

        Args:
            offsets: of its records in this partition, as acknowledged; at least one.

        Returns:
            All offsets of which these records are the only committed ones; None: not known, since
            other records lie between them, or the broker did not say where they are.
        """
        first, previous, was_known = offsets[0], self._end, self._is_known
        self._is_known = False
        if first < 0 or list(offsets) != list(range(first, first + len(offsets))):
            return None
        # Offsets that go back are another log's of the same name: none of them is ours.
        self._is_broken = self._is_broken or first < previous
        if self._is_broken:
            return None
        self._end, self._is_known = first + len(offsets) + MARKER_OFFSETS, True
        # A reader of the log may stand in front of a marker.
        follows = was_known and first == previous
        return Range(first - MARKER_OFFSETS if follows else first, self._end)
