"""The canonical format: what each bad record gets, and that its neighbours are unharmed."""

import json
from decimal import Decimal

import numpy as np
import pytest

from k2_streams.core.records.schema import ROWS
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.decoding.decoded import MAX_VALUE_BYTES, RawBatch
from k2_streams.feeds.feed import CANONICAL, Kind, UnknownFeedError, feed

APPEND_MS = 1_723_161_255_342
TIME_NS = APPEND_MS * 1_000_000
KEY = b"SIM:ABC"
RECORD = {
    "exchange": "SIM",
    "symbol": "ABC",
    "price": "12.5",
    "quantity": "7",
    "exchange_time_ns": TIME_NS,
    "sequence": 17,
}


def value(without=(), **changes) -> bytes:
    fields = {name: field for name, field in (RECORD | changes).items() if name not in without}
    return json.dumps(fields).encode()


def spelt(field: str, text: str) -> bytes:
    """A record whose field is this JSON text."""
    return value(**{field: "@"}).replace(b'"@"', text.encode())


def decode(values, keys=None):
    count = len(values)
    return feed(CANONICAL).decode(
        RawBatch(
            3,
            np.arange(count, dtype=np.int64),
            np.full(count, APPEND_MS, dtype=np.int64),
            keys or [KEY] * count,
            values,
        )
    )


# Number kept: the key and the number could be read, so that a bad price is no gap.
KEPT, LOST = 17, -1
BAD = [
    # what could not be read at all
    ("null value", None, KEY, "empty", None, LOST),
    ("empty value", b"", KEY, "empty", None, LOST),
    ("blank value", b" \n", KEY, "empty", None, LOST),
    ("bad JSON", b'{"exchange":', KEY, "not-json", None, LOST),
    ("two objects", value() + value(), KEY, "not-json", None, LOST),
    ("a list", b"[]", KEY, "wrong-type", None, LOST),
    ("invalid UTF-8", value(trade_id="@").replace(b"@", b"\xff"), KEY, "not-utf8", None, LOST),
    ("half a surrogate", spelt("trade_id", '"\\ud800"'), KEY, "not-json", None, LOST),
    ("oversized", value(note="x" * MAX_VALUE_BYTES), KEY, "oversized", None, LOST),
    ("nested", spelt("note", "[" * 65 + "]" * 65), KEY, "too-deep", None, LOST),
    ("nested without end", b'{"price":' + b"[" * 100_000, KEY, "too-deep", None, LOST),
    ("NaN", spelt("price", "NaN"), KEY, "not-json", None, LOST),
    ("infinite", spelt("price", "-Infinity"), KEY, "not-json", None, LOST),
    # keys
    ("null key", value(), None, "null-key", "key", LOST),
    ("contradicting key", value(), b"SIM:ABD", "key-mismatch", "key", LOST),
    ("other exchange", value(), b"SIN:ABC", "key-mismatch", "key", LOST),
    ("no scope's key", value(), b"ABC", "key-mismatch", "key", LOST),
    ("key of bytes", value(), b"\xff\xfe", "key-mismatch", "key", LOST),
    # numbers
    ("NaN text", value(price="NaN"), KEY, "not-finite", "price", KEPT),
    ("infinite text", value(quantity="-inf"), KEY, "not-finite", "quantity", KEPT),
    ("negative", value(price="-12.5"), KEY, "not-positive", "price", KEPT),
    ("negative number", value(price=-1), KEY, "not-positive", "price", KEPT),
    ("zero", value(price="0.000"), KEY, "not-positive", "price", KEPT),
    ("zero number", value(quantity=0), KEY, "not-positive", "quantity", KEPT),
    ("19 decimals", value(price="0.0000000000000000001"), KEY, "too-precise", "price", KEPT),
    ("number of 19 decimals", spelt("price", "1e-19"), KEY, "too-precise", "price", KEPT),
    ("21 digits", value(quantity="1" * 21), KEY, "out-of-range", "quantity", KEPT),
    ("wraps at 2^128", value(price=str(2**128 + 1)), KEY, "out-of-range", "price", KEPT),
    ("wraps with exponent", value(price="1e30"), KEY, "out-of-range", "price", KEPT),
    ("hostile exponent", spelt("price", "1e999999999"), KEY, "out-of-range", "price", KEPT),
    ("no number", value(price="abc"), KEY, "not-a-number", "price", KEPT),
    ("no text", value(price=""), KEY, "not-a-number", "price", KEPT),
    ("list", value(price=["1"]), KEY, "wrong-type", "price", KEPT),
    ("true", value(quantity=True), KEY, "wrong-type", "quantity", KEPT),
    # fields absent
    ("no exchange", value(["exchange"]), KEY, "missing-field", "exchange", KEPT),
    ("no symbol", value(["symbol"]), KEY, "missing-field", "symbol", KEPT),
    ("no price", value(["price"]), KEY, "missing-field", "price", KEPT),
    ("null price", value(price=None), KEY, "missing-field", "price", KEPT),
    ("no time", value(["exchange_time_ns"]), KEY, "missing-field", "exchange_time_ns", KEPT),
    ("no symbol, other key", value(["symbol"]), b"SIN:A", "missing-field", "symbol", LOST),
    # names
    ("symbol a number", value(symbol=5), KEY, "wrong-type", "symbol", KEPT),
    ("symbol empty", value(symbol=""), KEY, "bad-symbol", "symbol", LOST),
    ("symbol long", value(symbol="x" * 65), b"SIM:" + b"x" * 65, "bad-symbol", "symbol", LOST),
    (
        "symbol not NFC",
        value(symbol="e\u0301"),
        "SIM:e\u0301".encode(),
        "bad-symbol",
        "symbol",
        LOST,
    ),
    ("exchange blank", value(exchange="S M"), b"S M:ABC", "bad-exchange", "exchange", LOST),
    # times
    ("time a string", value(exchange_time_ns="x"), KEY, "wrong-type", "exchange_time_ns", KEPT),
    ("time a float", value(exchange_time_ns=1e18), KEY, "wrong-type", "exchange_time_ns", KEPT),
    ("1989", value(exchange_time_ns=631151999999999999), KEY, "bad-time", "exchange_time_ns", KEPT),
    (
        "two days ahead",
        value(exchange_time_ns=TIME_NS + 2 * 86_400 * 10**9),
        KEY,
        "bad-time",
        "exchange_time_ns",
        KEPT,
    ),
    ("time of 2^64", value(exchange_time_ns=2**64), KEY, "bad-time", "exchange_time_ns", KEPT),
    # the rest
    ("sequence 2^63", value(sequence=2**63), KEY, "sequence-range", "sequence", LOST),
    ("sequence huge", spelt("sequence", "1" * 5_000), KEY, "sequence-range", "sequence", LOST),
    ("sequence negative", value(sequence=-1), KEY, "sequence-range", "sequence", LOST),
    ("sequence a string", value(sequence="17"), KEY, "wrong-type", "sequence", LOST),
    ("sequence a float", value(sequence=17.0), KEY, "wrong-type", "sequence", LOST),
    ("trade id empty", value(trade_id=""), KEY, "bad-trade-id", "trade_id", KEPT),
    ("trade id long", value(trade_id="x" * 129), KEY, "bad-trade-id", "trade_id", KEPT),
    ("trade id a number", value(trade_id=5), KEY, "wrong-type", "trade_id", KEPT),
    ("session empty", value(session=""), KEY, "bad-session", "session", LOST),
    ("session with a newline", value(session="a\n"), KEY, "bad-session", "session", LOST),
    ("action", value(action="BUST"), KEY, "bad-action", "action", KEPT),
]


@pytest.mark.parametrize(
    ("hostile", "key", "reason", "field", "number"),
    [row[1:] for row in BAD],
    ids=[row[0] for row in BAD],
)
def test_bad_record(hostile, key, reason, field, number):
    """It gets a reason and the field; its number counts where it can; its neighbours pass."""
    values = [value(sequence=16), hostile, value(sequence=18)]
    decoded = decode(values, [KEY, key, KEY])
    assert decoded.kind.tolist() == [Kind.TRADE, Kind.BAD, Kind.TRADE]
    (bad,) = decoded.bad
    assert (bad.message, bad.reason, bad.field) == (1, reason, field)
    assert bad.detail.startswith("expected ")
    assert len(bad.detail) < 500
    assert decoded.sequence.tolist() == [16, number, 18]
    assert (decoded.scope[1] >= 0) == (number == KEPT)
    assert decoded.rows.column("message").to_pylist() == [0, 2]
    assert decoded.rows.column("price").to_pylist() == [Decimal("12.5")] * 2


def test_plain_trade():
    """Every column, in the schema's order and types."""
    full = value(
        trade_id="T1",
        session="2024-08-08",
        side="buy",
        conditions=["A", "B"],
        vendor={"v": "1"},
        receive_time_ns=5,
    )
    decoded = decode([full])
    assert decoded.rows.schema == ROWS
    (row,) = decoded.rows.to_pylist()
    assert (row["exchange"], row["symbol"], row["trade_id"]) == ("SIM", "ABC", "T1")
    assert (row["price"], row["quantity"]) == (Decimal("12.5"), Decimal(7))
    assert (row["side"], row["conditions"], row["vendor"]) == ("buy", ["A", "B"], [("v", "1")])
    assert (row["exchange_time_ns"], row["receive_time_ns"]) == (TIME_NS, 5)
    assert str(row["trading_date"]) == "2024-08-08"
    assert (row["message"], row["source_index"]) == (0, 0)
    assert (decoded.scopes, decoded.sessions) == (["SIM:ABC"], ["2024-08-08"])
    assert decoded.sequence.tolist() == [17]
    assert decoded.event_time_ns.tolist() == [TIME_NS]


def test_json_numbers_are_exact():
    """A price keeps its digits where a float would not."""
    exact = "12345678901234567890.123456789012345678"
    decoded = decode([spelt("price", exact), spelt("price", "0.1"), spelt("price", "1E-18")])
    assert decoded.rows.column("price").to_pylist() == [
        Decimal(exact),
        Decimal("0.1"),
        Decimal("1E-18"),
    ]


def test_zeros_beyond_the_scale_are_no_loss():
    """Judged by value: the text may be longer than the type."""
    decoded = decode([value(price="1." + "0" * 60), value(price="0" * 60 + "1")])
    assert decoded.rows.column("price").to_pylist() == [Decimal(1)] * 2


def test_unknown_fields_go_to_vendor():
    """Strings as themselves, anything else as its JSON text, and nothing replaces anything."""
    text = '{"a": [1, 2.50]}'
    record = value(vendor={"v": "1", "$.v": "2"}, v="3", w="4", x="@").replace(
        b'"@"', text.encode()
    )
    for batch in ([record], [value(), record], [record, b"", value()]):
        decoded = decode(batch)
        vendors = [vendor for vendor in decoded.rows.column("vendor").to_pylist() if vendor]
        assert vendors == [[("v", "1"), ("$.v", "2"), ("$.$.v", "3"), ("w", "4"), ("x", text)]]


def test_number_without_sequence():
    """A record without a sequence is a trade; null is the same as absent."""
    decoded = decode([value(["sequence"], trade_id="T1"), value(sequence=None)])
    assert decoded.sequence.tolist() == [-1, -1]
    assert decoded.scope.tolist() == [0, 0]
    assert decoded.rows.num_rows == 2


def test_bad_record_keeps_its_session():
    """Its number counts in the session that it names."""
    decoded = decode([value(session="a"), value(session="b", price="0")])
    assert [decoded.sessions[index] for index in decoded.session] == ["a", "b"]


def test_bad_time_is_unknown():
    """A time that is out of bounds must not move a session: it is not passed on."""
    hostile = TIME_NS + 2 * 86_400 * 10**9
    decoded = decode([value(exchange_time_ns=hostile), value(price="0")])
    assert decoded.event_time_ns.tolist() == [0, TIME_NS]


def test_all_bad_and_none():
    """A batch of which nothing survives, and an empty one, still have the columns."""
    for values in ([], [None, b"", b"{"]):
        decoded = decode(values)
        assert decoded.rows.num_rows == 0
        assert decoded.rows.schema == ROWS
        assert len(decoded.bad) == len(values)


def test_symbols_of_two_exchanges():
    """The same symbol on two exchanges is two scopes and one entry of the dictionary."""
    decoded = decode([value(), value(exchange="SIN")], [KEY, b"SIN:ABC"])
    assert decoded.scopes == ["SIM:ABC", "SIN:ABC"]
    assert decoded.rows.column("symbol").dictionary.to_pylist() == ["ABC"]
    assert decoded.rows.column("exchange").to_pylist() == ["SIM", "SIN"]


def test_feeds_by_name():
    """The known ones, and a clear error for the others."""
    rules = {
        name: feed(name).description.session_rule
        for name in ("canonical", "binance.spot", "asx.csv")
    }
    assert rules == {
        "canonical": SessionRule.DECLARED,
        "binance.spot": SessionRule.NEVER,
        "asx.csv": SessionRule.ORDERED,
    }
    with pytest.raises(UnknownFeedError, match=r"canonical.*found 'nasdaq'"):
        feed("nasdaq")
