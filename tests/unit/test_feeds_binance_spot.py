"""Binance spot: what of its messages are trades, and what bad ones get."""

import json
from decimal import Decimal

import numpy as np
import pytest

from k2_streams.feeds.decoding.decoded import RawBatch
from k2_streams.feeds.feed import Kind, feed

APPEND_MS = 1_723_161_255_343
KEY = b"BINANCE:BTCUSDT"
RECEIVED_NS = 1_723_161_254_087_896_568
TRADE = {
    "e": "trade",
    "E": APPEND_MS,
    "s": "BTCUSDT",
    "t": 3_735_683_259,
    "p": "61837.63000000",
    "q": "0.02000000",
    "T": APPEND_MS - 1,
    "m": True,
    "M": True,
}


def trade(without=(), **changes) -> bytes:
    data = {name: field for name, field in (TRADE | changes).items() if name not in without}
    body = json.dumps({"stream": "btcusdt@trade", "data": data})
    return f"{RECEIVED_NS} {body}".encode()


def decode(values, keys=None):
    count = len(values)
    return feed("binance.spot").decode(
        RawBatch(
            0,
            np.arange(count, dtype=np.int64),
            np.full(count, APPEND_MS, dtype=np.int64),
            keys or [KEY] * count,
            values,
        )
    )


@pytest.mark.parametrize(
    ("value", "received"),
    [
        (trade(), RECEIVED_NS),
        (trade().partition(b" ")[2], None),
        (json.dumps(TRADE).encode(), None),
    ],
    ids=["recorded", "stream", "bare"],
)
def test_trade(value, received):
    """The trade's id is its number; the maker's side is turned into the aggressor's."""
    decoded = decode([value])
    (row,) = decoded.rows.to_pylist()
    assert (row["exchange"], row["symbol"], row["trade_id"]) == ("BINANCE", "BTCUSDT", "3735683259")
    assert (row["price"], row["quantity"]) == (Decimal("61837.63"), Decimal("0.02"))
    assert (row["side"], row["receive_time_ns"]) == ("sell", received)
    assert row["exchange_time_ns"] == (APPEND_MS - 1) * 1_000_000
    assert decoded.sequence.tolist() == [3_735_683_259]
    assert decoded.session.tolist() == [-1]


def test_buyer_was_taker():
    """Then the aggressor bought."""
    assert decode([trade(m=False)]).rows.column("side").to_pylist() == ["buy"]


CONTROL = {
    "depth": b'{"stream":"btcusdt@depth","data":{"e":"depthUpdate","E":1723161255208,'
    b'"s":"BTCUSDT","U":1,"u":2,"b":[["1.0","2.0"]],"a":[]}}',
    "book ticker": b'{"stream":"btcusdt@bookTicker","data":{"u":5,"s":"BTCUSDT","b":"1.0",'
    b'"B":"3.0","a":"2.0","A":"1.0"}}',
    "snapshot": b'1723161254206652067 {"lastUpdateId":5,"bids":[["1.0","2.0"]],"asks":[]}',
    "aggregate": b'{"e":"aggTrade","s":"BTCUSDT","p":"1.0","q":"1.0","f":1,"l":2,"T":5,"m":true}',
    "subscribed": b'{"result":null,"id":1}',
}


@pytest.mark.parametrize("value", CONTROL.values(), ids=CONTROL)
def test_control(value):
    """Known and no trade: neither row nor dead letter, and no number."""
    decoded = decode([value])
    assert decoded.kind.tolist() == [Kind.CONTROL]
    assert (decoded.scope.tolist(), decoded.sequence.tolist()) == ([0], [-1])
    assert decoded.rows.num_rows == 0
    assert not decoded.bad


NUMBER = TRADE["t"]
BAD = [
    ("null value", None, KEY, "empty", None, -1),
    ("bad JSON", b"1723161254206652067 {", KEY, "not-json", None, -1),
    ("no message", b"1723161254206652067", KEY, "not-json", None, -1),
    ("receive time", b"99999999999999999999 {}", KEY, "not-json", None, -1),
    ("receive time of letters", b"1x {}", KEY, "not-json", None, -1),
    ("invalid UTF-8", trade(x="@").replace(b"@", b"\xff"), KEY, "not-utf8", None, -1),
    ("list of numbers", b"[1]", KEY, "wrong-type", None, -1),
    ("list of an empty object", b"[{}]", KEY, "unknown-message", "e", -1),
    ("nested", b'{"b":' + b"[" * 100_000, KEY, "too-deep", None, -1),
    ("event a list", trade(e=[]), KEY, "unknown-message", "e", -1),
    ("empty object", b"{}", KEY, "unknown-message", "e", -1),
    ("null key", trade(), None, "null-key", "key", -1),
    ("null key of a book", CONTROL["depth"], None, "null-key", "key", -1),
    ("other symbol", trade(), b"BINANCE:ETHUSDT", "key-mismatch", "key", -1),
    ("exchange that cannot be", trade(), b"KRA KEN:BTCUSDT", "key-mismatch", "key", -1),
    ("no symbol", trade(["s"]), KEY, "missing-field", "s", -1),
    ("symbol a number", trade(s=5), KEY, "wrong-type", "s", -1),
    ("no id", trade(["t"]), KEY, "missing-field", "t", -1),
    ("id true", trade(t=True), KEY, "wrong-type", "t", -1),
    ("id of 2^63", trade(t=2**63), KEY, "sequence-range", "t", -1),
    ("price a number", trade(p=1.5), KEY, "wrong-type", "p", NUMBER),
    ("no price", trade(["p"]), KEY, "missing-field", "p", NUMBER),
    ("price NaN", trade(p="NaN"), KEY, "not-finite", "p", NUMBER),
    ("price zero", trade(p="0.00"), KEY, "not-positive", "p", NUMBER),
    ("quantity precise", trade(q="1e-19"), KEY, "too-precise", "q", NUMBER),
    ("no time", trade(["T"]), KEY, "missing-field", "T", NUMBER),
    ("time a float", trade(T=1.5), KEY, "wrong-type", "T", NUMBER),
    ("time of 1970", trade(T=5), KEY, "bad-time", "T", NUMBER),
    ("time negative", trade(T=-5), KEY, "bad-time", "T", NUMBER),
    ("time in two days", trade(T=APPEND_MS + 2 * 86_400_000), KEY, "bad-time", "T", NUMBER),
]


@pytest.mark.parametrize(
    ("hostile", "key", "reason", "field", "number"),
    [row[1:] for row in BAD],
    ids=[row[0] for row in BAD],
)
def test_bad_record(hostile, key, reason, field, number):
    """It gets a reason and the field; its number counts where it can; its neighbours pass."""
    decoded = decode([trade(t=1), hostile, trade(t=2)], [KEY, key, KEY])
    assert decoded.kind.tolist() == [Kind.TRADE, Kind.BAD, Kind.TRADE]
    (bad,) = decoded.bad
    assert (bad.message, bad.reason, bad.field) == (1, reason, field)
    assert decoded.sequence.tolist() == [1, number, 2]
    assert (decoded.scope[1] >= 0) == (number >= 0)
    assert decoded.rows.column("message").to_pylist() == [0, 2]
