"""Structs as tables, so that gaps, symbols and snapshots have the formats that trades have.

The columns follow from the struct's own fields; the fields of a struct inside stand beside them.
"""

import types
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import pyarrow as pa

from k2_streams.core.records.schema import DECIMAL

_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    float: pa.float64(),
    Decimal: DECIMAL,
}


def schema_of(struct: type[msgspec.Struct]) -> pa.Schema:
    """The columns of a struct's fields.

    Raises:
        TypeError: a field's type has no column.
    """
    return pa.schema(list(_fields(struct)))


def table_of(rows: Iterable[msgspec.Struct], struct: type[msgspec.Struct]) -> pa.Table:
    """One row a struct, in the columns of `schema_of(struct)`."""
    schema = schema_of(struct)
    flat = [dict(_values(row)) for row in rows]
    columns = [pa.array([row[field.name] for row in flat], field.type) for field in schema]
    return pa.table(columns, schema=schema)


def _fields(struct: type[msgspec.Struct]) -> Iterator[pa.Field]:
    for field in msgspec.structs.fields(struct):
        kind, nullable = _without_none(field.type)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from _fields(kind)
        else:
            yield pa.field(field.name, _column_type(kind), nullable=nullable)


def _values(row: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, msgspec.Struct):
            yield from _values(value)
        else:
            yield name, list(value.items()) if isinstance(value, dict) else value


def _without_none(kind: Any) -> tuple[Any, bool]:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) not in {Union, types.UnionType}:
        return kind, False
    others = [choice for choice in get_args(kind) if choice is not types.NoneType]
    if len(others) != 1:
        raise TypeError(f"expected one type or None, found {kind}")
    return others[0], True


def _column_type(kind: Any) -> pa.DataType:
    if kind in _SCALARS:
        return _SCALARS[kind]
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return pa.map_(_column_type(arguments[0]), _column_type(arguments[1]))
    if get_origin(kind) in {tuple, list}:
        return pa.list_(pa.field("item", _column_type(arguments[0]), nullable=False))
    raise TypeError(f"expected a type that has a column, found {kind}")
