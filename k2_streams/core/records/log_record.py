"""What a record of a log is: one Arrow IPC batch of accepted rows, compressed with lz4.

A record is written by a task in its checkpoint's transaction and read by every sink and tail. Its
place in the log (`log_partition`, `log_offset`, `log_row`) is known only to the reader, which makes
rows of the table of it (`core.records.expand`).

A checkpoint writes at least one record, if without rows. The last one has headers that say how far
the checkpoint has come (`CheckpointHeaders`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple, Protocol

import pyarrow as pa

from k2_streams.core.records.columns import with_own_words

#: 2 since rows may correct others: who cannot read that must not pass over it.
VERSION = b"2"
READABLE = frozenset({b"1", VERSION})
_VERSION_KEY = b"k2.version"
_PARTITION_KEY = b"k2.source-partition"
_ACCEPTED_KEY = b"k2.accepted-time-us"
#: One thread per column costs ten times what it saves where a record has some hundred rows.
_WRITE_OPTIONS = pa.ipc.IpcWriteOptions(
    compression="lz4", unify_dictionaries=True, use_threads=False
)
#: Dictionaries are small and lz4 is quick: threads would only add latency.
_READ_OPTIONS = pa.ipc.IpcReadOptions(use_threads=False)


#: Rows in one record: about 2 MiB, far below the topic's limit of 8 MiB.
ROWS_PER_RECORD = 32_768
#: A record above this is halved: the topic takes 8 MiB, and a row at most a raw record's 256 KiB.
#: Rows may all have large fields of the venue's own.
MAX_RECORD_BYTES = 6 * 1024 * 1024

#: Names of a record's headers with their values, as Kafka has them.
Headers = Sequence[tuple[str, bytes | None]]

_RAW_NEXT = "k2.raw-next"
_DEFERRED_FROM = "k2.deferred-from"
_DEFERRED = "k2.deferred"
_EVENTS = "k2.events"
_DEAD_LETTERS = "k2.dead-letters"
_HELD = "k2.held"


class LogFormatError(ValueError):
    """A record of a log that this version cannot read: its writer is newer, or not K2."""


class OnlyRow(NamedTuple):
    """Which row is a record's, of rows that were made together.

    Attributes:
        number: in those rows.
        size_bytes: its part of what they take in memory.
    """

    number: int
    size_bytes: int


@dataclass(frozen=True)
class LogBatch:
    """The rows of one record of a log, immutable, with its place in the log."""

    made: pa.RecordBatch  # in the log's columns, as the version that wrote them had it
    source_partition: int
    accepted_time_us: int
    log_partition: int
    log_offset: int
    only: OnlyRow | None = None  # the record's, of what was made; None: all of it is

    @property
    def rows(self) -> pa.RecordBatch:
        """The rows, in the columns of `made`; one of many is a slice, which takes some KiB."""
        return self.made if self.only is None else self.made.slice(self.only.number, 1)

    @property
    def row_count(self) -> int:
        """How many rows."""
        return int(self.made.num_rows) if self.only is None else 1

    @cached_property
    def size_bytes(self) -> int:
        """What it takes in memory; Arrow adds it up over all buffers each time."""
        return int(self.made.nbytes) if self.only is None else self.only.size_bytes


def pieces_of(batches: Iterable[LogBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of records, one after the other; those made together stay in one piece."""

    def piece(numbered: tuple[int, LogBatch]) -> tuple[int, int]:
        at, batch = numbered
        return (at, -1) if batch.only is None else (batch.only.number - at, id(batch.made))

    for _, run in groupby(enumerate(batches), key=piece):
        (_, first), *others = run
        if first.only is None:
            yield first.made
        else:
            yield first.made.slice(first.only.number, 1 + len(others))


class CheckpointHeaders(NamedTuple):
    """How far a checkpoint has come; None: an earlier version wrote the record and did not say.

    Attributes:
        raw_next: the next offset of the source.
        deferred_from: no source record below this offset is deferred; None: none is deferred at
            all.
        deferred: deferred source records.
        events: events of the partition published up to and with this checkpoint.
        dead_letters: the same of dead letters.
        held: scopes with gaps that are held for a redundant line: their events are still to come.
    """

    raw_next: int | None = None
    deferred_from: int | None = None
    deferred: int | None = None
    events: int | None = None
    dead_letters: int | None = None
    held: int | None = None

    @property
    def processed(self) -> int | None:
        """All source records below this offset are processed: none of them is deferred."""
        if self.raw_next is None or self.deferred_from is None:
            return self.raw_next
        return min(self.raw_next, self.deferred_from)

    def encode(self) -> tuple[tuple[str, bytes], ...]:
        """As a record has them; `deferred_from` is empty if nothing is deferred."""
        return tuple(
            (name, b"" if value is None else b"%d" % value)
            for name, value in zip(_HEADER_NAMES, self, strict=True)
        )


_HEADER_NAMES = (_RAW_NEXT, _DEFERRED_FROM, _DEFERRED, _EVENTS, _DEAD_LETTERS, _HELD)


class _WithHeaders(Protocol):
    """Any client's record."""

    @property
    def headers(self) -> Headers:
        """In their order."""
        ...


class WrittenRecord(_WithHeaders, Protocol):
    """The same, with all that a row can be made of."""

    @property
    def offset(self) -> int:
        """In the partition."""
        ...

    @property
    def timestamp(self) -> int:
        """When it was appended, in milliseconds."""
        ...

    @property
    def key(self) -> bytes | None:
        """As it was sent."""
        ...

    @property
    def value(self) -> bytes | None:
        """As it was sent: in most logs one batch of rows."""
        ...


def last_headers(records: Iterable[_WithHeaders]) -> CheckpointHeaders | None:
    """What the last checkpoint of these records says; None: no record is a checkpoint's last.

    What it does not say, since an earlier version wrote it, is taken from the one before it.
    """
    found: CheckpointHeaders | None = None
    for record in records:
        headers = _decoded(record.headers)
        if headers.raw_next is None:
            continue
        if found is not None:
            headers = headers._replace(
                deferred=found.deferred if headers.deferred is None else headers.deferred,
                events=found.events if headers.events is None else headers.events,
                dead_letters=(
                    found.dead_letters if headers.dead_letters is None else headers.dead_letters
                ),
                held=found.held if headers.held is None else headers.held,
            )
        found = headers
    return found


def last_end(records: Sequence[WrittenRecord]) -> int | None:
    """The offset behind the last checkpoint of these records; None: no record is one's last."""
    for record in reversed(records):
        if _decoded(record.headers).raw_next is not None:
            return record.offset + 1
    return None


def _decoded(headers: Headers) -> CheckpointHeaders:
    given = {name: int(value) for name, value in headers if name in _HEADER_NAMES and value}
    return CheckpointHeaders(*(given.get(name) for name in _HEADER_NAMES))


class EncodedRows(NamedTuple):
    """One record of a checkpoint: its rows, and its value."""

    rows: pa.RecordBatch
    value: bytes


def encode_records(
    schema: pa.Schema,
    batches: Sequence[pa.RecordBatch],
    source_partition: int,
    accepted_time_us: int,
    rows_per_record: int = ROWS_PER_RECORD,
) -> list[EncodedRows]:
    """A checkpoint's records: at least one, if of no row.

    The headers (`CheckpointHeaders`) belong to the last one.
    """
    rows = pa.concat_batches(batches) if batches else pa.RecordBatch.from_pylist([], schema=schema)
    records: list[EncodedRows] = []
    parts = [
        rows.slice(start, rows_per_record)
        for start in range(0, max(rows.num_rows, 1), rows_per_record)
    ]
    while parts:
        part = parts.pop(0)
        value = encode(part, source_partition, accepted_time_us)
        if len(value) > MAX_RECORD_BYTES and part.num_rows > 1:
            half = part.num_rows // 2
            # With all names of the whole each half would be as large as it, down to single rows.
            parts[:0] = [with_own_words(part.slice(0, half)), with_own_words(part.slice(half))]
        else:
            records.append(EncodedRows(part, value))
    return records


def encode_checkpoint(
    schema: pa.Schema,
    batches: Sequence[pa.RecordBatch],
    source_partition: int,
    accepted_time_us: int,
    rows_per_record: int = ROWS_PER_RECORD,
) -> list[bytes]:
    """The values of a checkpoint's records alone, as `encode_records`."""
    records = encode_records(schema, batches, source_partition, accepted_time_us, rows_per_record)
    return [record.value for record in records]


def encode(rows: pa.RecordBatch, source_partition: int, accepted_time_us: int) -> bytes:
    """Rows in the columns of a stream's log to a record's value."""
    schema = rows.schema.with_metadata(
        {
            _VERSION_KEY: VERSION,
            _PARTITION_KEY: str(source_partition).encode(),
            _ACCEPTED_KEY: str(accepted_time_us).encode(),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_WRITE_OPTIONS) as writer:
        writer.write_batch(rows.replace_schema_metadata(schema.metadata))
    value: bytes = sink.getvalue().to_pybytes()
    return value


def decode(value: bytes, log_partition: int, log_offset: int) -> LogBatch:
    """A record's value back to rows.

    Raises:
        LogFormatError: the value is not of a version that this code writes, or damaged.
    """
    try:
        with pa.ipc.open_stream(value, options=_READ_OPTIONS) as reader:
            metadata = reader.schema.metadata or {}
            if metadata.get(_VERSION_KEY) not in READABLE:
                found = metadata.get(_VERSION_KEY, b"none").decode()
                raise LogFormatError(
                    f"log {log_partition}:{log_offset}: expected version {VERSION.decode()} or "
                    f"less, found {found}"
                )
            rows = reader.read_next_batch()
        return LogBatch(
            rows,
            int(metadata[_PARTITION_KEY]),
            int(metadata[_ACCEPTED_KEY]),
            log_partition,
            log_offset,
        )
    # Arrow raises an OSError for bytes that end too early, or that it cannot decompress, and its
    # MemoryError, which is an ArrowException, for a length that is damaged.
    except (pa.ArrowException, OSError, ValueError, KeyError, StopIteration) as error:
        raise LogFormatError(f"log {log_partition}:{log_offset}: {error}") from error


def decode_records(partition: int, records: Sequence[WrittenRecord]) -> tuple[LogBatch, ...]:
    """The rows of records of a log, each as `decode`.

    Raises:
        LogFormatError: as `decode`.
    """
    return tuple(decode(record.value or b"", partition, record.offset) for record in records)
