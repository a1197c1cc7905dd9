"""Decimal text to decimal(38,18): exactly or not at all."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_streams.feeds.decoding import decimals
from k2_streams.feeds.decoding.decimals import DecimalTextError, column, number

EXACT = [
    ("1", "1"),
    ("+1", "1"),
    (".5", "0.5"),
    ("5.", "5"),
    ("1e3", "1000"),
    ("1E-18", "0.000000000000000001"),
    ("10e-19", "0.000000000000000001"),
    ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
    ("0.5" + "0" * 60, "0.5"),
    ("0" * 60 + "5", "5"),
]
REFUSED = [
    ("", "not-a-number"),
    (".", "not-a-number"),
    ("1_0", "not-a-number"),
    (" 1", "not-a-number"),
    ("\uff11", "not-a-number"),
    ("0x10", "not-a-number"),
    ("1/2", "not-a-number"),
    ("1.2.3", "not-a-number"),
    ("nan", "not-finite"),
    ("sNaN", "not-finite"),
    ("-Infinity", "not-finite"),
    ("0", "not-positive"),
    ("0e99", "not-positive"),
    ("-0", "not-positive"),
    ("-5", "not-positive"),
    ("1e-19", "too-precise"),
    ("1e-999999999", "too-precise"),
    ("1.5e-18", "too-precise"),
    ("100000000000000000000", "out-of-range"),
    ("1e30", "out-of-range"),  # Arrow's cast alone gives 18960114910927365649.47
    ("340282366920938463463374607431768211457", "out-of-range"),  # and here 1
    ("1e999999999999999999999", "out-of-range"),
    ("9" * 100_000, "out-of-range"),
]


@pytest.mark.parametrize(("text", "value"), EXACT)
def test_exact(text, value):
    """The value itself, alone and in a column of others."""
    assert number(text) == Decimal(value)
    values, problems = column(["7.25", text, "0.5"])
    assert values.to_pylist() == [Decimal("7.25"), Decimal(value), Decimal("0.5")]
    assert not problems


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_refused(text, reason):
    """With its reason, alone and in a column, whose other values are unharmed."""
    with pytest.raises(DecimalTextError) as raised:
        number(text)
    assert raised.value.reason == reason
    for texts, binary in (([text], False), ([text.encode()], True)):
        values, problems = column(["7.25", *texts, "0.5"], binary=binary)
        assert values.to_pylist() == [Decimal("7.25"), None, Decimal("0.5")]
        assert {index: fault.reason for index, fault in problems.items()} == {1: reason}


@settings(deadline=None)
@given(
    st.lists(st.from_regex(r"[-+]?[0-9]{0,45}\.?[0-9]{0,25}([eE][-+]?[0-9]{1,3})?", fullmatch=True))
)
def test_column_is_value_by_value(texts):
    """Arrow's cast is asked only where it gives what Python's decimal gives."""
    values, problems = column(texts)
    found = [
        problems[index].reason if index in problems else value
        for index, value in enumerate(values.to_pylist())
    ]
    assert found == [judged(text) for text in texts]


def judged(text):
    """The value of a text, or the reason why it has none."""
    try:
        return number(text)
    except DecimalTextError as error:
        return error.reason


@settings(deadline=None)
@given(st.decimals(min_value="1e-18", max_value="99999999999999999999", places=18))
def test_plain_text(value):
    """The shortest text gives the value again."""
    text = decimals.plain_text(number(str(value)))
    assert number(text) == value
    assert "E" not in text
    assert not ("." in text and text.endswith(("0", ".")))


def test_bytes_that_are_no_text():
    """A column of bytes may hold anything."""
    values, problems = column([b"1.5", b"\xff", "2"], binary=True)
    assert values.to_pylist() == [Decimal("1.5"), None, Decimal(2)]
    assert list(problems) == [1]
