"""What a record of a log is: one Arrow IPC batch of accepted rows, compressed with lz4.

A record is written by a task in its checkpoint's transaction and read by every sink and tail. Its
place in the log (`log_partition`, `log_offset`, `log_row`) is known only to the reader, and what
follows from other columns is computed there: `message_id`, `exchange_time`.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.records.identity import BY_TRADE_ID, SEPARATOR, escaped_column
from k2_streams.core.records.schema import MICROS
from k2_streams.core.records.stream import TRADES, Stream

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


def message_ids(rows: pa.RecordBatch, source_partition: int) -> pa.Array:
    """`EXCHANGE|SYMBOL|SESSION|` then `t:<trade_id>`, else `s:<sequence>`, else the raw position.

    Made from the data, never at random: the same trade has the same id whenever it is read again.
    A correction that repeats the id of the trade it changes is not that trade: its id is not used.
    Names and ids are escaped (`core.records.identity`), so that no two messages share an id.
    """

    def text(name: str) -> pa.Array:
        return rows.column(name).cast(pa.string())

    tail = pa.nulls(rows.num_rows, pa.string())
    if "trade_id" in rows.schema.names:
        trade_id = rows.column("trade_id")
        if _corrects(rows):
            repeats = pc.equal(trade_id, rows.column("ref_trade_id")).fill_null(fill_value=False)
            trade_id = pc.if_else(repeats, pa.scalar(None, pa.string()), trade_id)
        tail = pc.binary_join_element_wise(BY_TRADE_ID, escaped_column(trade_id), "")
    if tail.null_count:
        by_sequence = pc.binary_join_element_wise("s:", text("sequence"), "")
        tail = pc.coalesce(tail, by_sequence)
    if tail.null_count:
        by_position = pc.binary_join_element_wise(
            f"p:{source_partition}", text("source_offset"), text("source_index"), ":"
        )
        tail = pc.coalesce(tail, by_position)
    return pc.binary_join_element_wise(*_names(rows), _escaped(rows, "session"), tail, SEPARATOR)


def ref_message_ids(rows: pa.RecordBatch) -> pa.Array:
    """The `message_id` of the trade that a row changes; null of a row that changes none.

    A trade is referred to by its id, in the session that the row names, else in the row's own.
    """
    if not _corrects(rows):
        return pa.nulls(rows.num_rows, pa.string())
    ref = escaped_column(rows.column("ref_trade_id"))
    tail = pc.binary_join_element_wise(BY_TRADE_ID, ref, "")
    session = pc.coalesce(_escaped(rows, "ref_session"), _escaped(rows, "session"))
    return pc.binary_join_element_wise(*_names(rows), session, tail, SEPARATOR)


def _names(rows: pa.RecordBatch) -> list[pa.Array]:
    return [_escaped(rows, name) for name in ("exchange", "symbol")]


def _escaped(rows: pa.RecordBatch, name: str) -> pa.Array:
    return escaped_column(rows.column(name)).cast(pa.string())


def _corrects(rows: pa.RecordBatch) -> bool:
    """Whether a row changes another."""
    if "ref_trade_id" not in rows.schema.names:
        return False
    return bool(rows.column("ref_trade_id").null_count < rows.num_rows)


def in_log_columns(stream: Stream, rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of a record in the columns of a log today; those an earlier version lacked are null."""
    schema = stream.log_schema
    if rows.schema.names == schema.names:
        return rows.replace_schema_metadata(None)
    there = set(rows.schema.names)
    columns = [
        rows.column(field.name) if field.name in there else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def expand(
    batch: LogBatch, mask: pa.Array | None = None, stream: Stream = TRADES
) -> pa.RecordBatch:
    """Rows in the table's columns; with a boolean `mask`, only those where it is true."""
    rows = in_log_columns(stream, batch.rows)
    log_row = pa.array(np.arange(rows.num_rows, dtype=np.int32))
    if mask is not None:
        rows, log_row = rows.filter(mask), log_row.filter(mask)
    count = rows.num_rows
    derived = {
        "message_id": message_ids(rows, batch.source_partition),
        "ref_message_id": ref_message_ids(rows),
        "exchange_time": pc.divide(rows.column("exchange_time_ns"), 1000).cast(MICROS),
        "source_partition": pa.repeat(pa.scalar(batch.source_partition, pa.int32()), count),
        "log_partition": pa.repeat(pa.scalar(batch.log_partition, pa.int32()), count),
        "log_offset": pa.repeat(pa.scalar(batch.log_offset, pa.int64()), count),
        "log_row": log_row,
        "accepted_time": pa.repeat(pa.scalar(batch.accepted_time_us, MICROS), count),
    }
    columns = [
        derived[field.name] if field.name in derived else rows.column(field.name).cast(field.type)
        for field in stream.table_schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=stream.table_schema)
