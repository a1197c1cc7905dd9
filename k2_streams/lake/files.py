"""Rows to Parquet files of the table: sorted, one file per day."""

import uuid
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_streams.core.records.columns import as_type
from k2_streams.core.records.stream import LOG_PLACE, Stream
from k2_streams.lake.data_file import part_rows, write_file
from k2_streams.lake.schema import TableDescription

_DAY_US = 86_400_000_000
#: Up to so many values a dictionary of the log goes to the file as it is: to make text of it, and a
#: dictionary again, is half of what bringing rows in order costs. It stands whole in each row
#: group, so a larger one, of which a group needs a few values, would make files larger.
KEPT_DICTIONARY_VALUES = 256


def sort_order(stream: Stream, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The order of the files, and the day of the partition column of each row in that order.

    Rows stand by (day, the stream's sort columns, log_partition, log_offset, log_row): of trades
    that is the order of an answer within a symbol, and all that a symbol has of a day side by side.
    """
    days = days_of(stream, rows)
    last_first = (*reversed(LOG_PLACE), *reversed(stream.sort))
    order = np.lexsort([*(_ranks(rows[name]) for name in last_first), days])
    return order, days[order]


def days_of(stream: Stream, rows: pa.Table) -> np.ndarray:
    """The day of the partition column of each row, since 1970."""
    days: np.ndarray = rows[stream.partition].cast(pa.int64()).to_numpy() // _DAY_US
    return days


def write(table: Table, rows: pa.Table, described: TableDescription) -> list[DataFile]:
    """Write the rows as files of the table, a part in order at a time.

    Nothing refers to the files until a commit does.

    Args:
        table: where they will belong.
        rows: in the columns of the table; names may be dictionaries.
        described: whose columns they are.

    Raises:
        TableMismatchError: a property of the table says how to write, and cannot be followed.
        OSError: the store refused.
    """
    if rows.num_rows == 0:
        return []
    order, days = sort_order(described.stream, rows)
    schema = _with_dictionaries(described.file_schema, rows)
    write_id = uuid.uuid4()
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    files = []
    for index, (start, end) in enumerate(pairwise([*starts.tolist(), len(days)])):
        name = f"{index:05d}-{write_id}.parquet"
        count = end - start
        parts = _parts(rows, order[start:end], schema, part_rows(table, count))
        files.append(write_file(table, parts, count, int(days[start]), name, described, schema))
    return files


def in_file_order(rows: pa.Table, described: TableDescription) -> pa.Table:
    """The rows in `file_schema`, as they stand in files."""
    order, _ = sort_order(described.stream, rows)
    return _take(rows, order, described.file_schema)


def _ranks(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers in the order of a column's values; of text in the order of its bytes."""
    if not (pa.types.is_dictionary(column.type) or pa.types.is_string(column.type)):
        values: np.ndarray = column.to_numpy()
        return values
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # none or one chunk, depending on the version
        encoded = encoded.chunk(0)
    ranks = np.empty(len(encoded.dictionary), np.int32)
    ranks[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(ranks), dtype=np.int32)
    places: np.ndarray = ranks[encoded.indices.to_numpy()]
    return places


def _with_dictionaries(schema: pa.Schema, rows: pa.Table) -> pa.Schema:
    """The columns of a file; those that rows have as small dictionaries are of that type."""
    return pa.schema(
        field.with_type(rows[field.name].type) if _is_kept(rows[field.name]) else field
        for field in schema
    )


def _is_kept(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_dictionary(column.type) or column.num_chunks != 1:
        return False
    return len(column.chunk(0).dictionary) <= KEPT_DICTIONARY_VALUES


def _parts(
    rows: pa.Table, order: np.ndarray, schema: pa.Schema, rows_of_part: int
) -> Iterator[pa.Table]:
    """The rows in that order: a copy of all of them would be as large as the rows themselves."""
    for start in range(0, len(order), rows_of_part):
        yield _take(rows, order[start : start + rows_of_part], schema)


def _take(rows: pa.Table, order: np.ndarray, schema: pa.Schema) -> pa.Table:
    """The rows in that order, in the columns of a file, a column at a time to spare memory."""
    indices = pa.array(order)
    columns = []
    for field in schema:
        column = rows[field.name]
        # What is in a nested column may be required: only its own nulls have valid values beneath.
        if column.null_count == len(column) and not pa.types.is_nested(field.type):
            columns.append(pa.chunked_array([pa.nulls(len(order), field.type)]))
            continue
        column = column.take(indices)
        chunks = [as_type(chunk, field.type) for chunk in column.chunks]
        columns.append(pa.chunked_array(chunks, field.type))
    return pa.Table.from_arrays(columns, schema=schema)
