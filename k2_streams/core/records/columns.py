"""Which column types a log, an Iceberg table, DuckDB and an answer can all hold exactly.

Nested to any depth: lists, structs, and maps whose keys are text or integers.
"""

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
)
_MAP_KEYS = (pa.string(), pa.int32(), pa.int64())
_EXPECTED = (
    "string, int32, int64, float64, bool, date32, timestamp[us, tz=UTC], decimal128, "
    "dictionary(int32, string) at the top, or lists, structs and maps of these"
)


def unsupported(column: pa.Field) -> str | None:
    """Why a column of a log cannot be stored or answered, as a text; None: it can."""
    kind = column.type
    if pa.types.is_dictionary(kind) and kind == pa.dictionary(pa.int32(), pa.string()):
        return None
    found = next(_unsupported(column.name, kind), None)
    return None if found is None else f"{found}; expected {_EXPECTED}"


def _unsupported(path: str, kind: pa.DataType) -> Iterator[str]:
    if kind in SCALARS or _is_exact_decimal(kind):
        return
    if pa.types.is_list(kind):
        yield from _unsupported(f"{path}[]", kind.value_type)
    elif pa.types.is_struct(kind):
        names = [kind.field(at).name for at in range(kind.num_fields)]
        if not names or len({name.lower() for name in names}) < len(names):
            yield f"column {path} is a struct without fields, or with two of one name"
        for at, name in enumerate(names):
            yield from _unsupported(f"{path}.{name}", kind.field(at).type)
    elif pa.types.is_map(kind):
        if kind.key_type not in _MAP_KEYS:
            yield f"column {path} is a map with keys of {kind.key_type}, not text or integers"
        yield from _unsupported(f"{path}{{}}", kind.item_type)
    else:
        yield f"column {path} has type {kind}"


def _is_exact_decimal(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal128(kind)) and 0 <= kind.scale <= kind.precision
