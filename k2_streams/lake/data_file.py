"""One data file of the table, written by K2 itself.

pyiceberg's writer encodes every column the same way: a dictionary of times or ids is larger than
they are. Only dictionaries and plain values are used, the two encodings that every engine reads
with its defaults. Spark's reader refuses deltas, though they would save a seventh of the bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
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

from k2_streams.lake.errors import TableMismatchError
from k2_streams.lake.schema import TableDescription

#: Iceberg's names of codecs, and the highest level of those that have levels.
_LEVELS = {
    "uncompressed": None, "snappy": None, "lz4": None, "gzip": 9, "brotli": 11, "zstd": 22,
}  # fmt: skip

#: A query for one symbol decodes one row group of each file, whatever it wants of it. In a small
#: file (a few seconds of commits) groups are smaller: so many of them, and a footer of at most
#: 150 KB.
SMALL_FILE_GROUPS = 32
#: Rows of a group at the least: of fewer rows the columns cost more than what is in them.
MIN_GROUP_ROWS = 2_000
#: Rows that are in order at once, about: 20 MiB. Of fewer the calls would cost what is saved.
PART_ROWS = 50_000


def write_file(
    table: Table,
    parts: Iterable[pa.Table],
    rows: int,
    day: int,
    name: str,
    described: TableDescription,
    schema: pa.Schema | None = None,
) -> DataFile:
    """Write the parts, one behind the other, as one file of a day. Nothing refers to it yet.

    The columns that the stream calls `repeated` have a dictionary. Of all others the values stand
    one by one: zstd finds their small steps, and a dictionary would only be larger.

    Args:
        table: where it will belong.
        parts: in the order of the file.
        rows: in all parts.
        day: of all rows, since 1970.
        name: of the file, below the folder of its day.
        described: whose columns they are.
        schema: of the parts, where a text column is a dictionary; None: as `file_schema` has it.
            The file is of the same types and encodings either way.

    Raises:
        TableMismatchError: a property of the table says how to write, and cannot be followed.
        OSError: the store refused.
    """
    io, metadata = table.io, table.metadata
    stored, properties = metadata.schema(), metadata.properties
    spec = metadata.spec()
    partition = PartitionKey([PartitionFieldValue(spec.fields[0], day)], spec, stored)
    layout = _layout_of(properties)
    path = load_location_provider(metadata.location, properties).new_data_location(name, partition)
    output = io.new_output(path)
    with output.create() as stream:
        writer = pq.ParquetWriter(
            stream,
            schema or described.file_schema,
            compression=layout.codec,
            compression_level=layout.level,
            use_dictionary=list(described.stream.repeated),
            store_schema=False,
        )
        with writer:
            for part in parts:
                writer.write_table(part, row_group_size=layout.group_rows(rows))
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=writer.writer.metadata,
        stats_columns=compute_statistics_plan(stored, properties),
        parquet_column_mapping=parquet_path_to_id_mapping(stored),
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


def part_rows(table: Table, rows: int) -> int:
    """Rows of each part of a file of so many rows but its last: parts end where row groups do.

    Raises:
        TableMismatchError: as `write_file`.
    """
    of_group = _layout_of(table.metadata.properties).group_rows(rows)
    return max(PART_ROWS // of_group, 1) * of_group


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the table's properties say of a file."""

    codec: str
    level: int | None
    max_group_rows: int

    def group_rows(self, rows: int) -> int:
        """Rows per row group of a file of so many rows."""
        return min(self.max_group_rows, max(MIN_GROUP_ROWS, rows // SMALL_FILE_GROUPS))


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
