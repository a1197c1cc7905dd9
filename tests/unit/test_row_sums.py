"""The checksum of rows: blind to order and to how rows lie in memory, and to nothing else."""

import decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.maintenance.row_sums import RowSums, sums_of

SCHEMA = pa.schema(
    [
        pa.field("text", pa.string()),
        pa.field("number", pa.int64()),
        pa.field("small", pa.int32()),
        pa.field("flag", pa.bool_()),
        pa.field("price", pa.decimal128(38, 18)),
        pa.field("ratio", pa.float64()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("day", pa.date32()),
        pa.field("list", pa.list_(pa.string())),
        pa.field("map", pa.map_(pa.string(), pa.int64())),
        pa.field("struct", pa.struct([("a", pa.int64()), ("b", pa.string())])),
    ]
)
NUMBERS = st.none() | st.integers(-(2**63), 2**63 - 1)
TEXTS = st.none() | st.text(max_size=12)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": TEXTS,
            "number": NUMBERS,
            "small": st.none() | st.integers(-(2**31), 2**31 - 1),
            "flag": st.none() | st.booleans(),
            "price": st.none() | st.decimals(-(10**15), 10**15, places=18),
            "ratio": st.none() | st.floats(allow_nan=False),
            "at": st.none() | st.integers(0, 2**50),
            "day": st.none() | st.integers(0, 40_000),
            "list": st.none() | st.lists(TEXTS, max_size=3),
            "map": st.none() | st.dictionaries(st.text(max_size=3), NUMBERS, max_size=3),
            "struct": st.none() | st.fixed_dictionaries({"a": NUMBERS, "b": TEXTS}),
        }
    ),
    max_size=8,
)


def table_of(rows):
    listed = [{**row, "map": None if row["map"] is None else [*row["map"].items()]} for row in rows]
    with decimal.localcontext() as context:
        context.prec = 60
        return pa.Table.from_pylist(listed, schema=SCHEMA)


@given(ROWS, st.randoms(use_true_random=False), st.integers(0, 8))
def test_order_chunks_and_slices_make_no_difference(rows, random, cut):
    shuffled = random.sample(rows, len(rows))
    padded = table_of([*rows[:2], *shuffled, *rows[:1]]).slice(len(rows[:2]), len(rows))
    cut = min(cut, len(rows))
    expected = sums_of(table_of(rows))
    assert sums_of(padded) == expected
    assert sums_of(pa.concat_tables([padded.slice(cut), padded.slice(0, cut)])) == expected
    assert sums_of(padded.slice(0, cut)) + sums_of(padded.slice(cut)) == expected


@given(ROWS, st.data())
def test_every_value_counts(rows, data):
    found = table_of(rows)
    if not rows:
        assert sums_of(found) == RowSums()
        return
    at = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(SCHEMA.names))
    other = {
        "text": "other", "number": 1, "small": 1, "flag": True, "price": decimal.Decimal("1.5"),
        "ratio": 0.5, "at": 5, "day": 5, "list": ["x"], "map": {"x": 1},
        "struct": {"a": 1, "b": ""},
    }  # fmt: skip
    changed = [dict(row) for row in rows]
    changed[at][name] = other[name] if rows[at][name] != other[name] else None
    assert sums_of(table_of(changed)) != sums_of(found)
    assert sums_of(table_of([*rows, rows[at]])) != sums_of(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([["ab", ""]], [["a", "b"]]),
        ([["a", "b"]], [["b", "a"]]),
        ([[None]], [[]]),
        ([[]], [None]),
        ([["a\0"]], [["a"]]),
    ],
)
def test_lists_with_the_same_bytes_differ(one, other):
    kind = pa.list_(pa.string())
    sums = [sums_of(pa.table({"c": pa.array(value, kind)})) for value in (one, other)]
    assert sums[0] != sums[1]


def test_two_columns_that_swap_their_values_differ():
    one = pa.table({"a": ["x"], "b": ["y"]})
    assert sums_of(one) != sums_of(pa.table({"a": ["y"], "b": ["x"]}))


def test_a_dictionary_counts_as_its_text():
    plain = pa.table({"a": pa.array(["x", None, "y", "x"])})
    encoded = pa.table({"a": plain["a"].dictionary_encode()})
    assert sums_of(encoded) == sums_of(plain)
