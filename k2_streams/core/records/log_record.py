"""What a record of a log is: one Arrow IPC batch of accepted rows, compressed with lz4.

A record is written by a task in its checkpoint's transaction and read by every sink and tail. Its
place in the log (`log_partition`, `log_offset`, `log_row`) is known only to the reader, which makes
rows of the table of it (`core.records.expand`).
"""

from dataclasses import dataclass

import pyarrow as pa

#: 2 since rows may correct others: who cannot read that must not pass over it.
VERSION = b"2"
READABLE = frozenset({b"1", VERSION})
_VERSION_KEY = b"k2.version"
_PARTITION_KEY = b"k2.source-partition"
_ACCEPTED_KEY = b"k2.accepted-time-us"
#: A thread a column costs ten times what it saves where a record has some hundred rows.
_WRITE_OPTIONS = pa.ipc.IpcWriteOptions(
    compression="lz4", unify_dictionaries=True, use_threads=False
)
#: Dictionaries are small and lz4 is quick: threads would only add latency.
_READ_OPTIONS = pa.ipc.IpcReadOptions(use_threads=False)


class LogFormatError(ValueError):
    """A record of a log that this version cannot read: its writer is newer, or not K2."""


@dataclass(frozen=True, slots=True)
class LogBatch:
    """The rows of one record of a log, immutable, with its place in the log."""

    rows: pa.RecordBatch  # in the log's columns, as the version that wrote them had it
    source_partition: int
    accepted_time_us: int
    log_partition: int
    log_offset: int

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return int(self.rows.nbytes)


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
        LogFormatError: the value is not of a version that this code writes.
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
    except (pa.ArrowInvalid, KeyError, StopIteration) as error:
        raise LogFormatError(f"log {log_partition}:{log_offset}: {error}") from error
