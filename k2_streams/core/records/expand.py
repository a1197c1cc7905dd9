"""Rows of a log to rows of the table: the one place where they are made, for sink and tail alike.

What a record says once (source partition, accepted time) and what only its reader knows (its place
in the log) becomes a column; what follows from other columns is computed.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.records.columns import as_type
from k2_streams.core.records.derived import Derivation
from k2_streams.core.records.log_record import LogBatch, pieces_of
from k2_streams.core.records.schema import MICROS
from k2_streams.core.records.stream import Stream

Indices = npt.NDArray[np.int64]


def expand(
    stream: Stream, batches: Sequence[LogBatch], rows: Sequence[Indices] | None = None
) -> pa.Table:
    """The rows of the records in the table's columns, in the order of records and rows.

    Columns that are dictionaries in the log stay so: a commit of a million rows takes a third of
    the CPU that way. `cast(stream.table_schema)` gives the exact types.

    Args:
        stream: whose log.
        batches: the records; many small ones cost little more than a large one.
        rows: per record the rows wanted, by their index in it; None: all rows of all records.
    """
    if rows is None:
        wanted = [np.arange(batch.row_count, dtype=np.int64) for batch in batches]
    else:
        wanted = list(rows)
    filled = [(batch, at) for batch, at in zip(batches, wanted, strict=True) if len(at)]
    if not filled:
        return stream.table_schema.empty_table()
    pieces = pieces_of(batch for batch, _ in filled)
    log = pa.Table.from_batches([in_log_columns(stream, piece) for piece in pieces])
    if rows is not None:
        # One look-up over all records: a look-up in each costs four times as much.
        log = log.take(pa.array(_among_all(filled)))
    log = log.unify_dictionaries().combine_chunks()
    counts = np.array([len(at) for _, at in filled])
    columns = _positions(filled, counts)
    for name, derive in stream.derived.items():
        columns[name] = _derived(log, derive, [batch for batch, _ in filled], counts)
    return pa.table(
        {
            name: columns[name] if name in columns else log[name]
            for name in stream.table_schema.names
        }
    )


def log_rows(stream: Stream, rows: pa.Table) -> pa.RecordBatch:
    """The inverse of `expand`, of rows in the table's columns: the rows in those of the log.

    A session that a correction names and that is the row's own is null.
    """
    columns = []
    for field in stream.log_schema:
        recover = stream.recovered.get(field.name)
        column = rows.column(field.name).combine_chunks() if recover is None else recover(rows)
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0)
        if pa.types.is_dictionary(field.type):
            column = as_type(column, field.type.value_type).dictionary_encode()
        columns.append(as_type(column, field.type) if column.type != field.type else column)
    return pa.RecordBatch.from_arrays(columns, schema=stream.log_schema)


def in_log_columns(stream: Stream, rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of a record in the columns of a log today; those an earlier version lacked are null."""
    schema = stream.log_schema
    if rows.schema.equals(schema, check_metadata=True):
        return rows
    if rows.schema.names == schema.names:
        return rows.replace_schema_metadata(None)
    there = set(rows.schema.names)
    columns = [
        rows.column(field.name) if field.name in there else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _among_all(filled: Sequence[tuple[LogBatch, Indices]]) -> Indices:
    """The indices of the rows wanted among the rows of all records."""
    sizes = np.array([batch.row_count for batch, _ in filled])
    starts = np.cumsum(sizes) - sizes
    counts = [len(at) for _, at in filled]
    at: Indices = np.concatenate([at for _, at in filled]) + np.repeat(starts, counts)
    return at


def _positions(
    filled: Sequence[tuple[LogBatch, Indices]], counts: npt.NDArray[np.int64]
) -> dict[str, pa.Array]:
    """The columns of `POSITION`."""

    def of_record(values: Iterable[int], dtype: type[np.generic]) -> pa.Array:
        return pa.array(np.repeat(np.fromiter(values, dtype, len(filled)), counts))

    accepted = of_record((batch.accepted_time_us for batch, _ in filled), np.int64)
    return {
        "source_partition": of_record((batch.source_partition for batch, _ in filled), np.int32),
        "log_partition": of_record((batch.log_partition for batch, _ in filled), np.int32),
        "log_offset": of_record((batch.log_offset for batch, _ in filled), np.int64),
        "log_row": pa.array(np.concatenate([at for _, at in filled]).astype(np.int32)),
        "accepted_time": accepted.cast(MICROS),
    }


def _derived(
    log: pa.Table,
    derive: Derivation,
    batches: Sequence[LogBatch],
    counts: npt.NDArray[np.int64],
) -> pa.ChunkedArray:
    """A derived column; records in a row of one source partition are worked at once."""
    chunks = [
        derive(rows, partition)
        for partition, start, count in _runs(batches, counts)
        for rows in log.slice(start, count).to_batches()
    ]
    return pa.chunked_array(chunks)


def _runs(
    batches: Sequence[LogBatch], counts: npt.NDArray[np.int64]
) -> Iterator[tuple[int, int, int]]:
    """Source partition, first row and number of rows of records that follow one another."""
    start = 0
    pairs = zip(batches, counts.tolist(), strict=True)
    for partition, run in groupby(pairs, lambda pair: pair[0].source_partition):
        count = sum(rows for _, rows in run)
        yield partition, start, count
        start += count
