"""What becomes of an answer's columns: times to the nanosecond, and prices as the caller wants."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

import pyarrow as pa

Prices: TypeAlias = Literal["decimal", "float64", "str"]
PRICES = ("decimal", "float64", "str")

_NANOS = pa.timestamp("ns", "UTC")
#: Columns that end so hold the nanoseconds of the column without the ending.
_NS = "_ns"


class ColumnShape(NamedTuple):
    """Which columns are wanted (None: all), in their order, and prices as what."""

    columns: Sequence[str] | None = None
    prices: Prices = "decimal"


def shaped(table: pa.Table, shape: ColumnShape) -> pa.Table:
    """The wanted columns.

    A time whose nanoseconds stand in a column beside it has them itself. Decimals stay, become
    the nearest float, or the text without trailing zeros.

    Raises:
        ValueError: there is no such column, or no such kind of prices.
    """
    columns, prices = shape
    if prices not in PRICES:
        raise ValueError(f"prices: expected one of {', '.join(PRICES)}, found {prices!r}")
    names = table.column_names
    wanted = list(names if columns is None else columns)
    for name in wanted:
        if name not in names:
            raise ValueError(f"there is no column {name!r}: expected of {', '.join(names)}")
    found = [_shaped(table, name, prices) for name in wanted]
    return pa.table(dict(zip(wanted, found, strict=True)))


def _shaped(table: pa.Table, name: str, prices: Prices) -> pa.ChunkedArray:
    column = table[name]
    if pa.types.is_timestamp(column.type) and name + _NS in table.column_names:
        return table[name + _NS].cast(_NANOS)
    if pa.types.is_decimal(column.type) and prices != "decimal":
        texts = pa.chunked_array(map(_decimal_texts, column.chunks), pa.string())
        return texts if prices == "str" else texts.cast(pa.float64())
    return column


def _decimal_texts(column: pa.Array) -> pa.Array:
    """The text of each value, plain, without trailing zeros."""
    import pyarrow.compute as pc  # noqa: PLC0415 - 60 ms, of those who want other prices

    texts = column.cast(pa.string())
    scientific = pc.match_substring(texts, "E")  # as Arrow writes values below 1e-6
    if pc.any(scientific).as_py():
        plain = [format(Decimal(text), "f") for text in texts.filter(scientific).to_pylist()]
        where = pc.fill_null(scientific, fill_value=False)
        texts = pc.replace_with_mask(texts, where, pa.array(plain, pa.string()))
    if column.type.scale > 0:
        texts = pc.ascii_rtrim(pc.ascii_rtrim(texts, "0"), ".")
    return texts
