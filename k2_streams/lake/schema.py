"""A stream's Iceberg table: columns with fixed field ids, partitions, order, properties.

The ids are those a catalog gives: to a new table the columns in order, then what is nested in them;
then to each column that is added, in the order of the adding. A table is created as its first
version had it and grows by the same steps as one that was made long ago, so that every table, the
files and this file agree on the ids.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count

import pyarrow as pa
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestamptzType,
)

from k2_streams.core.records.schema import MICROS
from k2_streams.core.records.stream import Stream

NAMESPACE = "k2"
_SCALARS: dict[pa.DataType, IcebergType] = {
    pa.string(): StringType(),
    pa.int32(): IntegerType(),
    pa.int64(): LongType(),
    pa.bool_(): BooleanType(),
    pa.date32(): DateType(),
    pa.float64(): DoubleType(),
    MICROS: TimestamptzType(),
    pa.binary(): BinaryType(),
}

#: Of every table; `TableDescription.properties` adds which columns have bounds.
_PROPERTIES = {
    "format-version": "2",  # the newest that pyiceberg writes
    "write.parquet.compression-codec": "zstd",
    "write.parquet.compression-level": "3",  # 7 % smaller than 1 for an eighth more of CPU
    "write.parquet.row-group-limit": "10000",  # rows: a filter on one symbol reads few of them
    "write.metadata.metrics.default": "counts",
    # Every commit writes a metadata file and a manifest; without these both only grow.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    "commit.manifest.target-size-bytes": str(1 << 20),
    # A conflict is another writer's short commit: try again soon, and not for half an hour.
    "commit.retry.num-retries": "4",
    "commit.retry.min-wait-ms": "20",
    "commit.retry.max-wait-ms": "1000",
    "commit.retry.total-timeout-ms": "10000",
}


@dataclass(frozen=True, eq=False)
class TableDescription:
    """What the catalog and the files hold of a stream."""

    stream: Stream

    @property
    def identifier(self) -> tuple[str, str]:
        """Namespace and name."""
        return (NAMESPACE, self.stream.name)

    @cached_property
    def created(self) -> Schema:
        """The columns of a table that has just been created."""
        return Schema(*self._fields[: len(self._fields) - len(self.stream.added)])

    @cached_property
    def schema(self) -> Schema:
        """All columns."""
        return Schema(*self._fields)

    @cached_property
    def added(self) -> list[NestedField]:
        """The columns that an earlier version's table lacks, in the order they were added."""
        return [self.schema.find_field(name) for name in self.stream.added]

    @cached_property
    def _fields(self) -> list[NestedField]:
        columns = list(self.stream.table_schema)
        first = len(columns) - len(self.stream.added)
        nested = count(first + 1)
        fields = [_field(number, columns[number - 1], nested) for number in range(1, first + 1)]
        # A catalog numbers an added column behind everything there is, then what is in it.
        return fields + [_field(next(nested), column, nested) for column in columns[first:]]

    @cached_property
    def properties(self) -> dict[str, str]:
        """Of a new table.

        The columns named have bounds, by which files are skipped. Of the others only counts are
        kept: no query asks by them, and every plan reads all that a manifest says.
        """
        stream = self.stream
        bounded = (
            *stream.key, stream.partition, stream.time, "accepted_time", *stream.bounded,
            "source_partition", "log_partition", "log_offset",
        )  # fmt: skip
        return _PROPERTIES | {
            f"write.metadata.metrics.column.{name}": "full" for name in dict.fromkeys(bounded)
        }

    @cached_property
    def partition_spec(self) -> PartitionSpec:
        """By day of the stream's partition column."""
        column = self.stream.partition
        source = self.schema.find_field(column).field_id
        return PartitionSpec(PartitionField(source, 1000, DayTransform(), f"{column}_day"))

    @cached_property
    def sort_order(self) -> SortOrder:
        """Within a file."""
        return SortOrder(
            *(
                SortField(
                    self.schema.find_field(name).field_id,
                    IdentityTransform(),
                    SortDirection.ASC,
                    NullOrder.NULLS_FIRST,
                )
                for name in self.stream.sort
            )
        )

    @cached_property
    def file_schema(self) -> pa.Schema:
        """The stream's columns with their field ids, as the columns of a data file carry them."""
        return pa.schema(
            _with_ids(column, self.schema.find_field(column.name))
            for column in self.stream.table_schema
        )


@lru_cache
def description_of(stream: Stream) -> TableDescription:
    """The table of a stream."""
    return TableDescription(stream)


def field_ids(stream: Stream) -> dict[str, int]:
    """The ids of a stream's columns, by their names."""
    return {field.name: field.field_id for field in description_of(stream).schema.fields}


def _field(field_id: int, column: pa.Field, nested: "count[int]") -> NestedField:
    return NestedField(
        field_id, column.name, _iceberg(column.type, nested), required=not column.nullable
    )


def _iceberg(kind: pa.DataType, ids: "count[int]") -> IcebergType:
    """The type, what is in it with the next ids: all of one level before what is in them."""
    if pa.types.is_list(kind):
        element = next(ids)
        value = kind.value_field
        return ListType(element, _iceberg(value.type, ids), element_required=not value.nullable)
    if pa.types.is_map(kind):
        key, value = next(ids), next(ids)
        return MapType(
            key,
            _iceberg(kind.key_type, ids),
            value,
            _iceberg(kind.item_type, ids),
            value_required=not kind.item_field.nullable,
        )
    if pa.types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        numbers = [next(ids) for _ in fields]
        return StructType(
            *(_field(number, field, ids) for number, field in zip(numbers, fields, strict=True))
        )
    if pa.types.is_decimal(kind):
        return DecimalType(kind.precision, kind.scale)
    return _SCALARS[kind]


def _with_ids(column: pa.Field, field: NestedField) -> pa.Field:
    """A column as the data files have it: with its field id, and those of what is in it."""
    kind = _type_with_ids(column.type, field.field_type)
    return _with_id(pa.field(column.name, kind, nullable=column.nullable), field.field_id)


def _type_with_ids(kind: pa.DataType, as_stored: IcebergType) -> pa.DataType:
    if isinstance(as_stored, ListType):
        element = pa.field("element", kind.value_type, nullable=kind.value_field.nullable)
        return pa.list_(_with_ids(element, as_stored.element_field))
    if isinstance(as_stored, MapType):
        key = pa.field("key", kind.key_type, nullable=False)
        value = pa.field("value", kind.item_type, nullable=kind.item_field.nullable)
        return pa.map_(_with_ids(key, as_stored.key_field), _with_ids(value, as_stored.value_field))
    if isinstance(as_stored, StructType):
        return pa.struct([_with_ids(kind.field(field.name), field) for field in as_stored.fields])
    return kind


def _with_id(field: pa.Field, field_id: int) -> pa.Field:
    return field.with_metadata({b"PARQUET:field_id": str(field_id).encode()})
