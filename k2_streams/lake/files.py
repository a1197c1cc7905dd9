"""Rows to Parquet files of the table: sorted, one file per day, written by K2 itself.

pyiceberg's writer encodes every column the same way: a dictionary of times or ids is larger than
they are. Only dictionaries and plain values are used, the two encodings that every engine reads
with its defaults. Spark's reader refuses deltas, though they would save a seventh of the bytes.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.table import Table
from pyiceberg.table.locations import load_location_provider

from k2_streams.core.records.columns import as_type
from k2_streams.core.records.stream import LOG_PLACE, Stream
from k2_streams.lake.errors import TableMismatchError
from k2_streams.lake.schema import TableDescription

_DAY_US = 86_400_000_000

#: Iceberg's names of codecs, and the highest level of those that have levels.
_LEVELS = {
    "uncompressed": None, "snappy": None, "lz4": None, "gzip": 9, "brotli": 11, "zstd": 22,
}  # fmt: skip


def sort_order(stream: Stream, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The order of the files, and the day of the partition column of each row in that order.

    Rows stand by (day, the stream's sort columns, log_partition, log_offset, log_row): of trades
    that is the order of an answer within a symbol, and all that a symbol has of a day side by side.
    """
    days = rows[stream.partition].cast(pa.int64()).to_numpy() // _DAY_US
    last_first = (*reversed(LOG_PLACE), *reversed(stream.sort))
    order = np.lexsort([*(_ranks(rows[name]) for name in last_first), days])
    return order, days[order]


def write(table: Table, rows: pa.Table, described: TableDescription) -> list[DataFile]:
    """Write the rows as files of the table.

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
    stream = described.stream
    order, days = sort_order(stream, rows)
    ordered = _take(rows, order, described.file_schema)
    write_id = uuid.uuid4()
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    files = []
    for index, (start, end) in enumerate(pairwise([*starts.tolist(), len(days)])):
        name = f"{index:05d}-{write_id}.parquet"
        part = ordered.slice(start, end - start)
        files.append(_write_file(table, part, int(days[start]), name, stream.repeated))
    return files


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


def _take(rows: pa.Table, order: np.ndarray, schema: pa.Schema) -> pa.Table:
    """The rows in that order, in the columns of a file, a column at a time to spare memory."""
    indices = pa.array(order)
    columns = []
    for field in schema:
        column = rows[field.name].take(indices)
        chunks = [as_type(chunk, field.type) for chunk in column.chunks]
        columns.append(pa.chunked_array(chunks, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the table's properties say of a file."""

    codec: str
    level: int | None
    group_rows: int


def _layout_of(properties: Mapping[str, str]) -> _Layout:
    """Any engine may change them: what cannot be used is refused by its name."""
    codec = properties.get("write.parquet.compression-codec", "zstd").lower()
    level = _number(properties, "write.parquet.compression-level", 1)
    if codec not in _LEVELS:
        raise TableMismatchError(
            f"table property write.parquet.compression-codec: expected one of "
            f"{', '.join(sorted(_LEVELS))}, found {codec!r}; set it to one of them"
        )
    highest = _LEVELS[codec]
    return _Layout(
        "none" if codec == "uncompressed" else codec,
        None if highest is None else min(level, highest),
        _number(properties, "write.parquet.row-group-limit", 10_000),
    )


def _number(properties: Mapping[str, str], name: str, default: int) -> int:
    text = properties.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise TableMismatchError(
            f"table property {name}: expected a number from 1 on, found {text!r}; set it to one"
        )
    return int(text)


def _write_file(
    table: Table, rows: pa.Table, day: int, name: str, repeated: Sequence[str]
) -> DataFile:
    """Write one file.

    The columns `repeated` have a dictionary. Of all others the values stand one by one: zstd finds
    their small steps, and a dictionary would only be larger.
    """
    io, metadata = table.io, table.metadata
    schema, properties = metadata.schema(), metadata.properties
    spec = metadata.spec()
    partition = PartitionKey([PartitionFieldValue(spec.fields[0], day)], spec, schema)
    layout = _layout_of(properties)
    path = load_location_provider(metadata.location, properties).new_data_location(name, partition)
    output = io.new_output(path)
    with output.create() as stream:
        writer = pq.ParquetWriter(
            stream,
            rows.schema,
            compression=layout.codec,
            compression_level=layout.level,
            use_dictionary=list(repeated),
            store_schema=False,
        )
        with writer:
            writer.write_table(rows, row_group_size=layout.group_rows)
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=writer.writer.metadata,
        stats_columns=compute_statistics_plan(schema, properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=partition.partition,
        file_size_in_bytes=len(output),
        sort_order_id=None,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )
    file.spec_id = metadata.default_spec_id
    return file
