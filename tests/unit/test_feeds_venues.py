"""Venues' messages: what is a trade, what is control, and what bad ones get."""

import json
from decimal import Decimal

import pytest
from venue_records import APPEND_MS, CONTROL, RECORDED, STAMP, TRADES, decode

from k2_streams.feeds.decoding.decoded import Kind
from k2_streams.feeds.feed import FEEDS

NATIVE = sorted(set(TRADES) - {"canonical", "asx.csv"})
RECEIVED_NS = 1_786_310_000_000_000_001

ROWS = {
    "binance.spot": [("BINANCE", "BTCUSDT", "7", "buy", None)],
    "binance.usdm": [("BINANCE", "usdm:BTCUSDT@aggTrade", "7", "buy", None)],
    "binance.coinm": [("BINANCE", "coinm:BTCUSD_PERP", "7", "buy", None)],
    "bybit.v5": [
        ("BYBIT", "linear:BTCUSDT", "x", "buy", None),
        ("BYBIT", "linear:BTCUSDT", "y", "sell", ["block"]),
    ],
    "coinbase.advanced": [
        ("COINBASE", "BTC-USD", "9", "buy", None),
        ("COINBASE", "ETH-USD", "3", "sell", None),
    ],
    "coinbase.exchange": [("COINBASE", "BTC-USD", "7", "buy", None)],
    "hitbtc.v2": [
        ("HITBTC", "ETHBTC", "9", "buy", None),
        ("HITBTC", "ETHBTC", "10", "sell", None),
    ],
    "kraken.v1": [
        ("KRAKEN", "XBT/USD", None, "buy", ["limit"]),
        ("KRAKEN", "XBT/USD", None, "sell", ["market", "x", "y"]),
    ],
}
NUMBERS = {"bybit.v5": -1, "hitbtc.v2": -1, "kraken.v1": -1}  # 7 else
TIMES_NS = {
    "coinbase.advanced": [1_786_310_000_000_001_000, 1_786_309_999_000_000_000],
    "coinbase.exchange": [1_786_310_000_089_723_000],
    "hitbtc.v2": [1_786_310_000_658_000_000] * 2,
    "kraken.v1": [1_786_310_000_557_535_000, 1_786_310_000_557_536_000],
}


def test_every_feed_has_its_messages():
    """So that no feed goes without the tests below."""
    assert FEEDS.keys() == TRADES.keys()
    assert set(RECORDED) | {"binance.coinm", "canonical"} == set(TRADES)


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("stamp", ["", "1786310000000000001 "], ids=["bare", "stamped"])
def test_trades(name, stamp):
    """Each trade of a message is a row; the aggressor's side; the message's number once."""
    key, value = TRADES[name]
    if value[:1] not in b"0123456789":
        value = stamp.encode() + value
    decoded = decode(name, [(key, value)])
    assert decoded.bad == []
    rows = decoded.rows.to_pylist()
    assert [
        tuple(row[field] for field in ("exchange", "symbol", "trade_id", "side", "conditions"))
        for row in rows
    ] == ROWS[name]
    assert [row["source_index"] for row in rows] == list(range(len(rows)))
    assert [(row["price"], row["quantity"]) for row in rows] == [
        (Decimal("1.5"), Decimal(2)),
        (Decimal("1.4"), Decimal(3)),
    ][: len(rows)]
    assert [row["exchange_time_ns"] for row in rows] == TIMES_NS.get(
        name, [1_786_310_000_000_000_000] * len(rows)
    )
    stamped = value[:1] in b"0123456789"
    assert {row["receive_time_ns"] for row in rows} == {RECEIVED_NS if stamped else None}
    assert decoded.kind.tolist() == [Kind.TRADE]
    assert decoded.scopes == [key.decode()]
    assert decoded.sequence.tolist() == [NUMBERS.get(name, 7)]


@pytest.mark.parametrize(
    ("name", "key", "value", "number"),
    [(name, *message) for name, messages in CONTROL.items() for message in messages],
)
def test_control(name, key, value, number):
    """Known and without a trade: neither row nor dead letter; a number counts where it is one."""
    decoded = decode(name, [(key, value)])
    assert decoded.bad == []
    assert decoded.kind.tolist() == [Kind.CONTROL]
    assert decoded.rows.num_rows == 0
    assert decoded.sequence.tolist() == [number]
    assert decoded.scopes == [key.decode()]


def test_sessions_of_connections():
    """Named by their begin, so that the order of the names is that of time."""
    key, value = TRADES["coinbase.advanced"]
    earlier = value.replace(b" 1786310000000000000 ", b" 999999999 ", 1)
    decoded = decode("coinbase.advanced", [(key, value), (key, earlier)])
    names = [decoded.sessions[at] for at in decoded.session]
    assert names == ["1786310000000000000", "0000000000999999999"]
    assert sorted(names) == names[::-1]


def test_a_message_is_taken_whole_or_not_at_all():
    """One trade at fault: none of the message's is a row, its number counts, neighbours pass."""
    key, value = TRADES["coinbase.advanced"]
    for fault in (b'"price":"1.4"', b'"time":"2026-08-09T21:13:19Z"'):
        field = json.loads(b"{" + fault + b"}").popitem()[0]
        spoilt = value.replace(fault, b'"%s":"-7"' % field.encode())
        assert spoilt != value
        decoded = decode("coinbase.advanced", [(key, value), (key, spoilt), (key, value)])
        assert decoded.kind.tolist() == [Kind.TRADE, Kind.BAD, Kind.TRADE]
        assert decoded.rows.column("message").to_pylist() == [0, 0, 2, 2]
        assert [(bad.message, bad.field) for bad in decoded.bad] == [(1, field)]
        assert decoded.sequence.tolist() == [7, 7, 7]
        assert decoded.session.tolist() == [0, 0, 0]


def changed(name, old: bytes, new: bytes):
    key, value = TRADES[name]
    assert old in value
    return name, key, value.replace(old, new, 1)


def keyed(name, key: bytes):
    return name, key, TRADES[name].value


#: Name, key, value, reason, field, and the number that counts all the same (-1: none).
BAD = [
    (*changed("binance.usdm", b'"a":7', b'"a":-7'), "sequence-range", "a", -1),
    (*changed("binance.usdm", b'"a":7', b'"a":"7"'), "wrong-type", "a", -1),
    (*changed("binance.coinm", b'"p":"1.5"', b'"p":"0"'), "not-positive", "p", 7),
    (*keyed("binance.coinm", b"BINANCE:BTCUSD_PERP"), "key-mismatch", "key", -1),
    (*keyed("binance.coinm", b"BINANCE:usdm:BTCUSD_PERP"), "key-mismatch", "key", -1),
    (*keyed("binance.coinm", b"BINANCE:coinm:BTCUSD_PERP@aggTrade"), "key-mismatch", "key", -1),
    (*keyed("bybit.v5", b"BYBIT:BTCUSDT"), "key-mismatch", "key", -1),
    (*keyed("bybit.v5", b"BYBIT:futures:BTCUSDT"), "key-mismatch", "key", -1),
    (*keyed("bybit.v5", b"BYBIT:linear:BTCUSDT@publicTrade"), "key-mismatch", "key", -1),
    (
        "bybit.v5",
        b"BYBIT:linear:BTCUSDT@orderbook.50",
        CONTROL["bybit.v5"][1][1],
        "key-mismatch",
        "key",
        -1,
    ),
    (*changed("bybit.v5", b'"i":"y"', b'"i":""'), "bad-trade-id", "i", -1),
    (*changed("bybit.v5", b'"s":"BTCUSDT"', b'"s":"ETHUSDT"'), "bad-symbol", "s", -1),
    (*changed("coinbase.advanced", STAMP, b""), "bad-session", None, -1),
    (*changed("coinbase.advanced", STAMP, b"5 "), "bad-session", None, -1),
    (*changed("coinbase.advanced", b'"sequence_num":7,', b""), "missing-field", "sequence_num", -1),
    (
        *changed("coinbase.advanced", b'"trade_id":"9"', b'"trade_id":1.5'),
        "wrong-type",
        "trade_id",
        7,
    ),
    (
        *changed("coinbase.advanced", b'"trade_id":"9"', b'"trade_id":-1'),
        "wrong-type",
        "trade_id",
        7,
    ),
    (
        *changed("coinbase.advanced", b"ETH-USD", "ETH-\u200b".encode()),
        "bad-symbol",
        "product_id",
        7,
    ),
    (*changed("coinbase.advanced", b'"trades":[', b'"trades":[5,'), "wrong-type", "events", 7),
    (*changed("coinbase.advanced", b'"trades"', b'"deals"'), "missing-field", "trades", 7),
    (*keyed("coinbase.advanced", b"COINBASE:BTC-USD"), "key-mismatch", "key", -1),
    (
        *changed("coinbase.exchange", b'"trade_id":7', b'"trade_id":null'),
        "missing-field",
        "trade_id",
        -1,
    ),
    (*changed("coinbase.exchange", b"2026-08-09T", b"2026-13-09T"), "bad-time", "time", 7),
    (*changed("coinbase.exchange", b"2026-08-09T", b"1980-08-09T"), "bad-time", "time", 7),
    (*changed("coinbase.exchange", b"20.089723Z", b"20.0897230001Z"), "bad-time", "time", 7),
    (*changed("coinbase.exchange", b"20.089723Z", b"20.089723"), "bad-time", "time", 7),
    (*changed("coinbase.exchange", b'"size":"2"', b'"size":2'), "wrong-type", "size", 7),
    (*changed("hitbtc.v2", b'"id":10', b'"id":[]'), "wrong-type", "id", -1),
    (*changed("hitbtc.v2", b'"data":[{', b'"data":{"x":[{'), "not-json", None, -1),
    (*changed("hitbtc.v2", b'"params"', b'"args"'), "missing-field", "params", -1),
    (*changed("hitbtc.v2", b'"symbol":"ETHBTC"', b'"symbol":7'), "wrong-type", "symbol", -1),
    (*changed("kraken.v1", b',"trade","XBT/USD"', b""), "wrong-columns", None, -1),
    (*changed("kraken.v1", b',"s","m","x y"', b',"s"'), "wrong-columns", None, -1),
    (*changed("kraken.v1", b'"1786310000.557536"', b"1786310000.557536"), "wrong-type", "time", -1),
    (*changed("kraken.v1", b'"1786310000.557536"', b'"1e9"'), "bad-time", "time", -1),
    (*changed("kraken.v1", b'"1.4"', b'"nan"'), "not-finite", "price", -1),
    (*keyed("kraken.v1", b"KRAKEN:XBT/EUR"), "key-mismatch", "key", -1),
]


@pytest.mark.parametrize(
    ("name", "key", "hostile", "reason", "field", "number"),
    BAD,
    ids=[f"{row[0]}-{row[3]}-{row[4]}-{at}" for at, row in enumerate(BAD)],
)
def test_bad_record(name, key, hostile, reason, field, number):
    """It gets a reason and the field; its number counts where it can; its neighbours pass."""
    good = TRADES[name]
    decoded = decode(name, [good, (key, hostile), good])
    assert decoded.kind.tolist() == [Kind.TRADE, Kind.BAD, Kind.TRADE]
    (bad,) = decoded.bad
    assert (bad.message, bad.reason, bad.field) == (1, reason, field), bad.detail
    assert decoded.sequence[1] == number
    assert (decoded.scope[1] >= 0) == (number >= 0)
    assert set(decoded.rows.column("message").to_pylist()) == {0, 2}


@pytest.mark.parametrize("name", sorted(TRADES))
@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b" \n",
        b"null",
        b"[]",
        b"{}",
        b"7",
        b'"x"',
        b"\xff\xfe",
        b"{" * 1_000,
        b"[" * 1_000 + b"]" * 1_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"x" * 300_000,
        b"1" * 10_000,
        b"9223372036854775808 {}",
        b'{"e":"trade","s":"BTCUSDT","t":' + b"9" * 5_000 + b"}",
    ],
    ids=range(16),
)
def test_nonsense(name, value):
    """No feed takes it, and none falls over it."""
    if value == b"[]" and name.startswith("binance."):
        pytest.skip("an all-market stream of Binance's with nothing to say")
    key, good = TRADES[name]
    decoded = decode(name, [(key, good), (key, value), (None, good)])
    assert decoded.kind.tolist() == [Kind.TRADE, Kind.BAD, Kind.BAD]
    assert [bad.message for bad in decoded.bad] == [1, 2]
    assert decoded.bad[1].reason == "null-key"


def test_append_time_bounds_every_trade_of_a_message():
    """The time of the newest trade is the message's; one in two days refuses it."""
    key, value = TRADES["hitbtc.v2"]
    assert decode("hitbtc.v2", [(key, value)]).event_time_ns.tolist() == [1_786_310_000_658_000_000]
    late = value.replace(b"2026-08-09T21:13:20.658Z", b"2026-08-12T21:13:20.658Z", 1)
    (bad,) = decode("hitbtc.v2", [(key, late)]).bad
    assert (bad.reason, bad.field) == ("bad-time", "timestamp")
    assert APPEND_MS == 1_786_310_000_000
