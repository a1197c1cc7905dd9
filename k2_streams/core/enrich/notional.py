"""What follows from a trade's own fields, and costs time: a worker under load leaves it out.

A query computes what is null by the same functions, so an answer does not depend on the level at
which a row was made.
"""

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.records.schema import DECIMAL

#: Nine digits before and nine behind the point: nearly every venue's prices and sizes.
_NARROW = pa.decimal128(18, 9)
#: As wide as a product can be without leaving Arrow's widest decimal, of 76 digits.
_WIDE = pa.decimal256(37, 18)
_EXACT = Context(prec=100)
_PLACES = Decimal(1).scaleb(-DECIMAL.scale)
_LIMIT = Decimal(10) ** (DECIMAL.precision - DECIMAL.scale)


def notional(price: pa.Array, quantity: pa.Array, multiplier: pa.Array | None = None) -> pa.Array:
    """Price times quantity, as `DECIMAL`; null where the product is too large for it.

    Exact where 18 decimals hold the product, else rounded half to even.

    Args:
        price: `DECIMAL`, no nulls.
        quantity: the same.
        multiplier: of contracts, `DECIMAL`; None: 1 for all.
    """
    if multiplier is not None:
        return _by_value(price, quantity, multiplier)
    try:
        # A cast that would lose a digit raises; the product of two such numbers is always exact.
        return pc.multiply(price.cast(_NARROW), quantity.cast(_NARROW)).cast(DECIMAL)
    except pa.ArrowInvalid:
        pass
    try:
        product = pc.multiply(price.cast(_WIDE), quantity.cast(_WIDE))
        return pc.round(product, DECIMAL.scale, round_mode="half_to_even").cast(DECIMAL)
    except pa.ArrowInvalid:
        return _by_value(price, quantity)


#: The notional of rows that have a price and a quantity.
Notional = Callable[[pa.RecordBatch | pa.Table], pa.Array]


def of_ones(rows: pa.RecordBatch | pa.Table) -> pa.Array:
    """The notional where no reference table says otherwise: of a multiplier of 1."""
    return notional(*(plain(rows.column(name)) for name in ("price", "quantity")))


def filled(rows: pa.Table, made_by: Notional = of_ones) -> pa.Table:
    """An answer's rows with what was left out when they were made; of quotes nothing is."""
    at = rows.schema.get_field_index("notional")
    if at < 0:
        return rows
    column = rows.column(at)
    if not column.null_count:
        return rows
    missing = column.is_null().combine_chunks()
    without = rows.filter(missing)
    made = pc.replace_with_mask(column.combine_chunks(), missing, made_by(without))
    return rows.set_column(at, rows.schema.field(at), made)


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _by_value(*factors: pa.Array) -> pa.Array:
    """The same, a row at a time: the plain way, for numbers that no type of Arrow's multiplies."""
    columns: Sequence[Sequence[Any]] = [factor.to_pylist() for factor in factors]
    return pa.array([_product(row) for row in zip(*columns, strict=True)], DECIMAL)


def _product(factors: Sequence[Decimal]) -> Decimal | None:
    product = Decimal(1)
    for factor in factors:
        product = _EXACT.multiply(product, factor)
    try:
        rounded = product.quantize(_PLACES, ROUND_HALF_EVEN, context=_EXACT)
    except InvalidOperation:
        return None
    return rounded if abs(rounded) < _LIMIT else None
