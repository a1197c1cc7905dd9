"""Columns as text: the vectorised writers say what a value-by-value reference says."""

import datetime as dt
import json
import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.records.schema import DECIMAL, MICROS, NAME, VENDOR
from k2_streams.web.http.texts import content, json_parts, json_texts, plain_texts

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MICROSECONDS = st.integers(min_value=-(10**15), max_value=4 * 10**15)


def exact(number: int) -> Decimal:
    sign, digits, _ = Decimal(number).as_tuple()
    return Decimal((sign, digits, -18))


def written(values, kind):
    """What `json_texts` and `json_parts` write, both, as one list of JSON texts."""
    column = pa.array(values, kind)
    texts = json_texts(column).to_pylist()
    before, value, after = json_parts(column)
    parts = [value] * len(column) if isinstance(value, str) else value.to_pylist()
    assert [before + part + after for part in parts] == texts
    # A slice of a column must not show its neighbours.
    assert json_texts(column.slice(1)).to_pylist() == texts[1:]
    return [json.loads(text) for text in texts]


@given(st.lists(st.none() | TEXT, min_size=1))
def test_texts_come_back_from_json(values):
    assert written(values, pa.string()) == values


@given(st.lists(st.none() | st.sampled_from(["", "a", '"', "\\", "\n", "é"]), min_size=1))
def test_dictionary_columns_come_back_from_json(values):
    assert written(values, NAME) == values


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_come_back_from_json(values):
    assert written(values, pa.int64()) == values


@given(st.lists(st.none() | st.booleans(), min_size=1))
def test_booleans_come_back_from_json(values):
    assert written(values, pa.bool_()) == values


@given(st.lists(st.none() | st.integers(-(10**38) + 1, 10**38 - 1).map(exact), min_size=1))
def test_decimals_are_exact_plain_and_without_trailing_zeros(values):
    for value, text in zip(values, written(values, DECIMAL), strict=True):
        if value is None:
            assert text is None
            continue
        assert Decimal(text) == value
        assert "E" not in text
        assert "." not in text or text[-1] in "123456789"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("61837.63", "61837.63"),
        ("100", "100"),
        ("0.000000000000000001", "0.000000000000000001"),
        ("0.0000001200", "0.00000012"),
        ("0", "0"),
        ("-5.50", "-5.5"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
    ],
)
def test_decimal_examples(value, text):
    assert plain_texts(pa.array([Decimal(value)], DECIMAL)).to_pylist() == [text]


@given(st.lists(st.none() | MICROSECONDS, min_size=1))
def test_times_are_rfc3339_in_utc_to_the_microsecond(values):
    for value, text in zip(values, written(values, MICROS), strict=True):
        if value is None:
            assert text is None
            continue
        when = EPOCH + dt.timedelta(microseconds=value)
        assert text == when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@given(st.lists(st.none() | st.dates(dt.date(1990, 1, 1), dt.date(2200, 1, 1)), min_size=1))
def test_dates_are_iso(values):
    expected = [None if value is None else value.isoformat() for value in values]
    assert written(values, pa.date32()) == expected


@given(st.lists(st.none() | st.lists(st.none() | TEXT, max_size=3), min_size=1))
def test_lists_come_back_from_json(values):
    assert written(values, pa.list_(pa.string())) == values


@given(st.lists(st.none() | st.lists(st.tuples(TEXT, st.none() | TEXT), max_size=3), min_size=1))
def test_maps_come_back_from_json(values):
    expected = [None if value is None else dict(value) for value in values]
    assert written(values, VENDOR) == expected


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**62))), min_size=1))
def test_keys_that_are_numbers_become_texts(values):
    expected = [{str(key): value for key, value in pairs} for pairs in values]
    assert written(values, pa.map_(pa.int64(), pa.int64())) == expected


LEVEL = pa.struct([("price", DECIMAL), ("sizes", pa.list_(pa.int64())), ('a "b"', pa.string())])
LEVELS = st.fixed_dictionaries(
    {
        "price": st.none() | st.integers(-(10**9), 10**9).map(Decimal),
        "sizes": st.none() | st.lists(st.none() | st.integers(0, 9), max_size=2),
        'a "b"': st.none() | TEXT,
    }
)


def level_written(level):
    """What JSON holds of a struct: decimals are texts."""
    price = level["price"]
    return level | {"price": None if price is None else str(price)}


@given(st.lists(st.none() | LEVELS, min_size=1))
def test_structs_are_objects(values):
    expected = [None if value is None else level_written(value) for value in values]
    assert written(values, LEVEL) == expected


@given(st.lists(st.none() | st.lists(st.none() | LEVELS, max_size=3), min_size=1))
def test_lists_of_structs_are_arrays_of_objects(values):
    expected = [
        None
        if value is None
        else [None if level is None else level_written(level) for level in value]
        for value in values
    ]
    assert written(values, pa.list_(LEVEL)) == expected


@given(st.lists(st.none() | st.dictionaries(TEXT, st.none() | LEVELS, max_size=2), min_size=1))
def test_maps_of_structs_are_objects_of_objects(values):
    pairs = [None if value is None else list(value.items()) for value in values]
    expected = [
        None
        if value is None
        else {
            name: None if level is None else level_written(level) for name, level in value.items()
        }
        for value in values
    ]
    assert written(pairs, pa.map_(pa.string(), LEVEL)) == expected


@given(st.lists(st.none() | st.floats(), min_size=1))
def test_floats_are_numbers_and_null_where_json_has_none(values):
    expected = [None if value is None or not math.isfinite(value) else value for value in values]
    assert written(values, pa.float64()) == expected


def test_a_struct_in_a_cell_is_json():
    column = pa.array([{"price": Decimal(1), "sizes": [2], 'a "b"': None}, None], LEVEL)
    assert plain_texts(column).to_pylist() == ['{"price":"1","sizes":[2],"a \\"b\\"":null}', None]


@given(st.lists(TEXT), st.integers(0, 3))
def test_content_is_the_bytes_of_a_slice(values, start):
    column = pa.array(values, pa.string()).slice(start)
    assert bytes(content(column)) == "".join(values[start:]).encode()
