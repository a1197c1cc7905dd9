"""Which columns a log, an Iceberg table, DuckDB and an answer can all hold exactly.

Nested to any depth: lists, structs, and maps whose keys are text or integers.
"""

import re
from collections.abc import Iterator

import pyarrow as pa

#: Of a column that is no list, struct or map.
SCALARS = (
    pa.string(),
    pa.int32(),
    pa.int64(),
    pa.float64(),
    pa.bool_(),
    pa.date32(),
    pa.timestamp("us", tz="UTC"),
    pa.binary(),
)
_MAP_KEYS = (pa.string(), pa.int32(), pa.int64())
#: At the top of a log alone: few distinct values a batch.
_NAMES = pa.dictionary(pa.int32(), pa.string())
#: A name that every engine takes, if quoted where it is a word of SQL.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_EXPECTED = (
    "string, binary, int32, int64, float64, bool, date32, timestamp[us, tz=UTC], decimal128, "
    "dictionary(int32, string) at the top, or lists, structs and maps of these"
)


def unsupported(schema: pa.Schema) -> list[str]:
    """What of a log's columns cannot be stored or answered, as texts."""
    found = [*_unfit_names("the schema", schema.names)]
    for column in schema:
        if column.type != _NAMES:
            found += _unsupported(column.name, column.type)
    return found


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of a table's column: what is a dictionary in the log is plain there."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def with_own_words(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows without the words of dictionaries that none of them has."""
    columns = [
        column.dictionary_decode().dictionary_encode()
        if pa.types.is_dictionary(column.type) and len(column.dictionary) > rows.num_rows
        else column
        for column in rows.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def as_type(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values of a column in the exact type, down to the names and nullability inside it.

    An engine that does not know of nullability, or names what is in a list by itself, gives the
    same values in another type; Arrow's own cast refuses some of these.
    """
    if column.type == kind and not pa.types.is_nested(kind):
        return column
    if pa.types.is_dictionary(column.type):
        return as_type(column.dictionary_decode(), kind)
    if pa.types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        children = [as_type(column.field(each.name), each.type) for each in fields]
        mask = column.is_null() if column.null_count else None
        return pa.StructArray.from_arrays(children, fields=fields, mask=mask)
    if pa.types.is_map(kind):
        entries = pa.StructArray.from_arrays(
            [as_type(column.keys, kind.key_type), as_type(column.items, kind.item_type)],
            fields=[kind.key_field, kind.item_field],
        )
        return _with_children(column, kind, entries)
    if pa.types.is_list(kind):
        return _with_children(column, kind, as_type(column.values, kind.value_type))
    return column.cast(kind)


def table_as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`as_type` of each column of a schema; the table has columns of these names."""
    return pa.table(
        [
            pa.chunked_array(
                [as_type(chunk, field.type) for chunk in table.column(field.name).chunks],
                field.type,
            )
            for field in schema
        ],
        schema=schema,
    )


def _with_children(column: pa.Array, kind: pa.DataType, child: pa.Array) -> pa.Array:
    """A list or map of the same offsets over other children."""
    buffers = column.buffers()[:2]
    return pa.Array.from_buffers(
        kind, len(column), buffers, column.null_count, column.offset, children=[child]
    )


def _unfit_names(where: str, names: list[str]) -> Iterator[str]:
    if not names:
        yield f"{where} has no column"
    if len({name.lower() for name in names}) < len(names):
        yield f"{where} has two columns of one name (capitals do not count)"
    for name in names:
        if not _NAME.fullmatch(name):
            yield (
                f"name {name!r} in {where} must be a letter or _, then letters, digits and _, "
                "at most 128"
            )


def _unsupported(path: str, kind: pa.DataType) -> Iterator[str]:
    if kind in SCALARS or _is_exact_decimal(kind):
        return
    if pa.types.is_list(kind):
        yield from _unsupported(f"{path}[]", kind.value_type)
    elif pa.types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        yield from _unfit_names(path, [each.name for each in fields])
        for each in fields:
            yield from _unsupported(f"{path}.{each.name}", each.type)
    elif pa.types.is_map(kind):
        if kind.key_type not in _MAP_KEYS:
            yield f"column {path} is a map with keys of {kind.key_type}, not text or integers"
        yield from _unsupported(f"{path}{{}}", kind.item_type)
    else:
        yield f"column {path} has type {kind}; expected {_EXPECTED}"


def _is_exact_decimal(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal128(kind)) and 0 <= kind.scale <= kind.precision
