"""Notional: the quick ways give what the plain one gives, and a query what the stream gave."""

from decimal import Decimal
from fractions import Fraction

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from k2_streams.core.enrich import notional as enrichment
from k2_streams.core.records.schema import DECIMAL, TRADES

NUMBERS = st.one_of(
    st.decimals("0.001", "99999", places=3),
    st.decimals("0.000000001", "999999999", places=9),
    st.decimals("0.000000000000000001", "1", places=18),
    st.decimals("1", "99999999999999999999", places=18),
    st.decimals("-5", "5", places=2),
)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20)


def column(numbers: list[Decimal]) -> pa.Array:
    return pa.array(numbers, DECIMAL)


def plain(price: Decimal, quantity: Decimal) -> Decimal | None:
    """By fractions: Python rounds them half to even."""
    whole = round(Fraction(price) * Fraction(quantity) * 10**18)
    return Decimal(f"{whole}e-18") if abs(whole) < 10**38 else None


@given(PAIRS)
@example([(Decimal("0.000000000000000001"), Decimal("0.5"))])
@example([(Decimal("0.000000000000000003"), Decimal("0.5"))])
@example([(Decimal(99999999999999999999), Decimal(2)), (Decimal(1), Decimal(1))])
def test_every_way_to_the_product_gives_the_same(pairs: list[tuple[Decimal, Decimal]]) -> None:
    """Narrow, wide and row by row: exact, half to even, null where it does not fit."""
    price, quantity = column([p for p, _ in pairs]), column([q for _, q in pairs])
    found = enrichment.notional(price, quantity)
    assert found.type == DECIMAL
    assert found.to_pylist() == [plain(p, q) for p, q in pairs]
    ones = column([Decimal(1)] * len(pairs))
    assert enrichment.notional(price, quantity, ones).equals(found)


@given(PAIRS, st.data())
def test_a_query_fills_what_was_left_out(
    pairs: list[tuple[Decimal, Decimal]], data: st.DataObject
) -> None:
    """Whichever rows were made at SOFT: the answer is the same."""
    price, quantity = column([p for p, _ in pairs]), column([q for _, q in pairs])
    made = enrichment.notional(price, quantity)
    left_out = data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    partly = pa.array(
        [None if out else value for out, value in zip(left_out, made.to_pylist(), strict=True)],
        DECIMAL,
    )
    empty = {field.name: pa.nulls(len(pairs), field.type) for field in TRADES}
    schema = pa.schema([field.with_nullable(nullable=True) for field in TRADES])
    rows = pa.table(empty | {"price": price, "quantity": quantity, "notional": partly}, schema)
    chunked = pa.concat_tables([rows.slice(0, 1), rows.slice(1)])
    found = enrichment.filled(chunked)
    assert found.column("notional").to_pylist() == made.to_pylist()
    assert found.drop_columns("notional").equals(chunked.drop_columns("notional"))
