"""The Iceberg table `k2.trades`: columns with fixed field ids, partitions, order, properties.

The ids are those a catalog gives to a new table (columns in order, then what is nested in them),
so that the table, the files and this file agree.
"""

import pyarrow as pa
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    TimestamptzType,
)

from k2_streams.core.schema import TRADES

IDENTIFIER = ("k2", "trades")

_TEXT = StringType()
_INT = IntegerType()
_LONG = LongType()
_TIME = TimestamptzType()
_DECIMAL = DecimalType(38, 18)


def _required(field_id: int, name: str, kind: IcebergType) -> NestedField:
    return NestedField(field_id, name, kind, required=True)


def _optional(field_id: int, name: str, kind: IcebergType) -> NestedField:
    return NestedField(field_id, name, kind, required=False)


SCHEMA = Schema(
    _required(1, "message_id", _TEXT),
    _required(2, "exchange", _TEXT),
    _required(3, "symbol", _TEXT),
    _required(4, "session", _TEXT),
    _optional(5, "sequence", _LONG),
    _optional(6, "trade_id", _TEXT),
    _required(7, "price", _DECIMAL),
    _required(8, "quantity", _DECIMAL),
    _optional(9, "side", _TEXT),
    _optional(10, "conditions", ListType(27, _TEXT, element_required=False)),
    _required(11, "exchange_time", _TIME),
    _required(12, "exchange_time_ns", _LONG),
    _required(13, "ingest_time", _TIME),
    _required(14, "late", BooleanType()),
    _optional(15, "notional", _DECIMAL),
    _optional(16, "tick_direction", _TEXT),
    _required(17, "source_partition", _INT),
    _required(18, "source_offset", _LONG),
    _required(19, "source_index", _INT),
    _required(20, "log_partition", _INT),
    _required(21, "log_offset", _LONG),
    _required(22, "log_row", _INT),
    _optional(23, "receive_time_ns", _LONG),
    _required(24, "accepted_time", _TIME),
    _required(25, "trading_date", DateType()),
    _optional(26, "vendor", MapType(28, _TEXT, 29, _TEXT, value_required=False)),
)

PARTITION_SPEC = PartitionSpec(PartitionField(11, 1000, DayTransform(), "exchange_time_day"))
SORT_ORDER = SortOrder(
    SortField(3, IdentityTransform(), SortDirection.ASC, NullOrder.NULLS_FIRST),
    SortField(12, IdentityTransform(), SortDirection.ASC, NullOrder.NULLS_FIRST),
)

#: Columns whose bounds help to skip a file. Of the others only counts are kept: no query asks by
#: them, and every plan reads all that a manifest says.
_BOUNDED = (
    "exchange", "symbol", "exchange_time", "exchange_time_ns", "accepted_time", "trading_date",
    "source_partition", "source_offset", "log_partition", "log_offset",
)  # fmt: skip

PROPERTIES = {
    "format-version": "2",  # the newest that pyiceberg writes
    "write.parquet.compression-codec": "zstd",
    "write.parquet.compression-level": "1",  # level 3 is no smaller, 6 by 2 % in twice the time
    "write.parquet.row-group-limit": "10000",  # rows: a filter on one symbol reads few of them
    "write.metadata.metrics.default": "counts",
    **{f"write.metadata.metrics.column.{name}": "full" for name in _BOUNDED},
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


def _with_id(field: pa.Field, field_id: int) -> pa.Field:
    return field.with_metadata({b"PARQUET:field_id": str(field_id).encode()})


def file_schema() -> pa.Schema:
    """`TRADES` with the field id of each column, as the columns of a data file carry it."""
    fields = []
    for field in TRADES:
        nested = SCHEMA.find_field(field.name).field_type
        kind = field.type
        if isinstance(nested, ListType):
            kind = pa.list_(_with_id(pa.field("element", kind.value_type), nested.element_id))
        elif isinstance(nested, MapType):
            kind = pa.map_(
                _with_id(pa.field("key", kind.key_type, nullable=False), nested.key_id),
                _with_id(pa.field("value", kind.item_type), nested.value_id),
            )
        field_id = SCHEMA.find_field(field.name).field_id
        fields.append(_with_id(pa.field(field.name, kind, nullable=field.nullable), field_id))
    return pa.schema(fields)
