"""What venues send in the field: messages without a trade, names, times, attributes, sisters."""

import json
import unicodedata
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from venue_records import APPEND_MS, STAMP, TRADES, decode

from k2_streams.core.enrich.instruments import EVERY_SYMBOL, Instrument, Instruments, PriceDomain
from k2_streams.core.records.symbols import is_symbol
from k2_streams.feeds.decoding.decoded import Kind, RawBatch
from k2_streams.feeds.decoding.keys import parse
from k2_streams.feeds.decoding.native import since_1970
from k2_streams.feeds.description import OTHER_EVENT
from k2_streams.feeds.feed import FEEDS
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS

NS = APPEND_MS * 1_000_000
TICKER = {"e": "24hrMiniTicker", "E": APPEND_MS, "s": "BTCUSDT", "c": "91000.1"}
BINANCE = {"e": "trade", "E": APPEND_MS, "s": "AUSDT", "t": 5, "p": "1.5", "q": "2", "m": True}
BINANCE["T"] = APPEND_MS
KEY = b"BINANCE:AUSDT"

#: Feed, connection's message, what it is counted as.
WITHOUT_A_TRADE = [
    ("binance.spot", {"stream": "!miniTicker@arr", "data": [TICKER, TICKER]}, "24hrMiniTicker"),
    ("binance.usdm", {"stream": "!ticker@arr", "data": []}, "list"),
    ("binance.coinm", [], "list"),
    ("binance.spot", [TICKER], "24hrMiniTicker"),
    ("binance.spot", {"stream": "btcusdt@kline_1m", "data": TICKER | {"e": "kline"}}, "kline"),
    ("binance.spot", {"error": {"code": 2, "msg": "Invalid request"}, "id": 7}, "error"),
    ("binance.spot", {"code": 0, "msg": "Unknown property", "id": 7}, "error"),
    ("binance.usdm", {"id": "a", "status": 200, "result": {"x": [1]}}, "answer"),
    ("binance.usdm", {"result": ["btcusdt@trade"], "id": 3}, "answer"),
    ("binance.usdm", {"e": "somethingNew", "E": APPEND_MS, "s": {"a": 1}}, OTHER_EVENT),
    ("binance.usdm", {"stream": "x", "data": {"e": "other"}}, OTHER_EVENT),
    ("binance.coinm", {"e": "ORDER_TRADE_UPDATE", "o": {"s": "X", "p": "1"}}, "ORDER_TRADE_UPDATE"),
    (
        "bybit.v5",
        {"success": True, "conn_id": "c", "data": {"failTopics": []}, "type": "COMMAND_RESP"},
        "answer",
    ),
    (
        "bybit.v5",
        {"success": False, "ret_msg": "error:handler not found", "op": "subscribe"},
        "subscribe",
    ),
    ("bybit.v5", {"success": True, "ret_msg": "pong", "conn_id": "c", "op": "ping"}, "ping"),
    ("bybit.v5", {"op": "pong", "args": ["1675418560633"], "conn_id": "c"}, "pong"),
    ("bybit.v5", {"retCode": 10001, "retMsg": "no", "connId": "c"}, "answer"),
    ("bybit.v5", {"op": "cancel.something", "retCode": 0}, OTHER_EVENT),
    ("bybit.v5", {"topic": "tickers.BTCUSDT", "data": {"s": "BTCUSDT"}}, "tickers"),
    ("bybit.v5", {"topic": "orderbook.50.BTCUSDT", "data": {"u": 5}}, "orderbook"),
    ("bybit.v5", {"topic": "insurance.inverse", "data": []}, "insurance"),
    ("bybit.v5", {"topic": "new.topic.of.theirs", "data": 5}, OTHER_EVENT),
    ("coinbase.advanced", {"type": "error", "message": "no"}, "error"),
    ("coinbase.advanced", {"type": "novel", "message": "no"}, OTHER_EVENT),
    ("coinbase.advanced", {"channel": "heartbeats", "events": []}, "heartbeats"),
    ("coinbase.advanced", {"channel": "futures_something", "events": 5}, OTHER_EVENT),
    ("coinbase.exchange", {"type": "error", "message": "no", "reason": "x"}, "error"),
    ("coinbase.exchange", {"type": "level3", "schema": {"done": ["type"]}}, "level3"),
    ("coinbase.exchange", ["done", "BTC-USD", "5", "order", "2026-08-09T00:00:00Z"], "level3"),
    ("coinbase.exchange", {"type": "novel", "product_id": 5}, OTHER_EVENT),
    ("coinbase.exchange", {"type": "ticker", "product_id": "BTC-USD"}, "ticker"),
    ("hitbtc.v2", {"jsonrpc": "2.0", "result": True, "id": 1}, "answer"),
    ("hitbtc.v2", {"jsonrpc": "2.0", "error": {"code": 2001}, "id": None}, "error"),
    ("hitbtc.v2", {"method": "ticker", "params": {"symbol": "ETHBTC"}}, "ticker"),
    ("hitbtc.v2", {"method": "novel", "params": [1]}, OTHER_EVENT),
    ("hitbtc.v2", {"method": "novel"}, OTHER_EVENT),
    ("kraken.v1", {"event": "systemStatus", "status": "online"}, "systemStatus"),
    ("kraken.v1", {"event": "novel"}, OTHER_EVENT),
    ("kraken.v1", {"errorMessage": "Malformed request"}, "error"),
    ("kraken.v1", [[{"T": {"price": "1"}}], "ownTrades", {"sequence": 1}], "ownTrades"),
    ("kraken.v1", [12, {"a": []}, "book-1000", "XBT/USD"], "book"),
    ("kraken.v1", [12, {"a": []}, "novel-7", "XBT/USD"], OTHER_EVENT),
]


@pytest.mark.parametrize(("name", "message", "event"), WITHOUT_A_TRADE)
def test_a_message_of_the_venue_without_a_trade_is_control(name, message, event):
    """On a connection's key; counted by its own name where K2 knows it, else together."""
    decoded = decode(name, [(b"SOME:@conn-1", json.dumps(message).encode())])
    assert decoded.bad == []
    assert decoded.kind.tolist() == [Kind.CONTROL]
    assert (decoded.rows.num_rows, decoded.sequence.tolist()) == (0, [-1])
    assert FEEDS[name].description.event(decoded.events[0]) == event


def test_a_connection_may_be_of_a_market():
    """Whoever keys what a market's connection sends, and no trade, by the connection."""
    ticker = json.dumps(TICKER).encode()
    records = [(b"BINANCE:usdm:@c", ticker), (b"BINANCE:usdm:ETHUSDT", ticker)]
    decoded = decode("binance.usdm", records)
    assert decoded.kind.tolist() == [Kind.CONTROL, Kind.BAD]


def test_an_unknown_channel_of_a_connection_counts():
    """What the connection numbers is a gap if it is lost, whatever channel it is of."""
    value = STAMP + b'{"channel":"novel","sequence_num":12,"events":{}}'
    decoded = decode("coinbase.advanced", [(b"COINBASE:@c", value)])
    assert (decoded.kind.tolist(), decoded.sequence.tolist()) == ([Kind.CONTROL], [12])


NOT_OF_THE_VENUE = [
    ("binance.spot", b'{"price":"1","qty":"2","id":5}'),  # a trade as the REST API has it
    ("binance.spot", b'{"stream":"x","data":null}'),
    ("binance.spot", json.dumps([TICKER, BINANCE]).encode()),
    ("binance.spot", b"[[]]"),
    ("binance.spot", b'"pong"'),
    ("bybit.v5", b'{"topic":5}'),
    ("bybit.v5", b'{"id":"x"}'),
    ("coinbase.advanced", b'{"channel":5}'),
    ("coinbase.exchange", b'["match","BTC-USD","5","m","t","1","2","2026-08-09T00:00:00Z"]'),
    ("coinbase.exchange", b'{"product_id":"BTC-USD","price":"1"}'),
    ("hitbtc.v2", b'{"id":1}'),
    ("kraken.v1", b'{"channel":"trade","type":"update","data":[{"price":1}]}'),  # its second API
    ("kraken.v1", b'[1,[["1.5"]]]'),
]


@pytest.mark.parametrize(("name", "value"), NOT_OF_THE_VENUE)
def test_what_may_hide_a_trade_is_a_dead_letter(name, value):
    """What K2 cannot tell from a trade is never dropped in silence."""
    decoded = decode(name, [(b"SOME:@c", value)])
    assert decoded.kind.tolist() == [Kind.BAD]


@pytest.mark.parametrize("name", ["binance.usdm", "binance.coinm"])
@pytest.mark.parametrize("zero", ["0", "0.00", "0.0000000"])
def test_a_marker_without_a_fill_counts_and_is_no_trade(name, zero):
    """`X` of `NA`, neither price nor quantity."""
    market = name.removeprefix("binance.")
    marker = BINANCE | {"X": "NA", "p": zero, "q": zero, "st": 1}
    bust = BINANCE | {"X": "MARKET", "p": zero, "q": zero}
    key = f"BINANCE:{market}:AUSDT".encode()
    decoded = decode(name, [(key, json.dumps(one).encode()) for one in (marker, bust)])
    assert decoded.kind.tolist() == [Kind.CONTROL, Kind.BAD]
    assert decoded.sequence.tolist() == [5, 5]
    assert decoded.events == {0: "unfilled"}
    assert decoded.event_time_ns.tolist() == [NS, NS]


def test_a_list_of_one_trade_is_that_trade():
    """A list of several cannot be counted: the record has one number."""
    decoded = decode("binance.spot", [(KEY, json.dumps([BINANCE]).encode())])
    assert decoded.rows.column("trade_id").to_pylist() == ["5"]


def test_a_control_messages_impossible_time_is_not_known():
    """It must not be taken for the newest time of its scope."""
    value = b'{"method":"updateOrderbook","params":{"symbol":"A","sequence":1,"timestamp":"%s"}}'
    times = [b"2026-08-09T21:13:20Z", b"2100-08-09T21:13:20Z", b"1980-08-09T21:13:20Z"]
    decoded = decode("hitbtc.v2", [(b"HITBTC:A", value % time) for time in times])
    assert decoded.sequence.tolist() == [1, 1, 1]
    assert decoded.event_time_ns.tolist() == [NS, 0, 0]


# --- symbols

NAMES = ["币安人生USDT", "é", "ÅÄÖ", "A B", "🙂", "한글", "A|B", "x" * 64, "币" * 64]
NO_NAMES = ["", "x" * 65, "币" * 65, "e\u0301", "a\u200bb", "a\nb", "\ue000", "\u0378", "\u00a0"]


@pytest.mark.parametrize("name", NAMES)
def test_a_symbol_is_the_venues_own_name(name):
    """In the key, in a message with and without escapes, in the row."""
    assert is_symbol(name)
    key = f"BINANCE:usdm:{name}".encode()
    if len(name) > 59:  # the market stands before it
        assert parse(key) is None
        return
    messages = [
        json.dumps(BINANCE | {"s": name}, ensure_ascii=escaped).encode()
        for escaped in (False, True)
    ]
    decoded = decode("binance.usdm", [(key, message) for message in messages])
    assert decoded.bad == []
    assert decoded.rows.column("symbol").to_pylist() == [f"usdm:{name}"] * 2


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("feed", ["binance.spot", "canonical", "coinbase.advanced"])
def test_what_is_no_symbol_is_a_bad_symbol(feed, name):
    """It is refused, never changed into another name."""
    assert not is_symbol(name)
    key, value = TRADES[feed]
    old = {"binance.spot": "BTCUSDT", "canonical": "ABC", "coinbase.advanced": "ETH-USD"}[feed]
    spoilt = value.replace(json.dumps(old).encode(), json.dumps(name).encode())
    (bad,) = decode(feed, [(key.replace(old.encode(), name.encode()), spoilt)]).bad
    assert bad.reason == "bad-symbol"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=70))
def test_the_rule_is_that_of_unicode(text):
    """By the general category of each character."""
    categories = [unicodedata.category(one) for one in text]
    expected = (
        1 <= len(text) <= 64
        and unicodedata.normalize("NFC", text) == text
        and all(
            one == " " or category[0] not in "CZ"
            for one, category in zip(text, categories, strict=True)
        )
    )
    assert is_symbol(text) == expected


# --- options

OPTION = {
    "T": APPEND_MS, "s": "BTC-25DEC26-100000-C-USDT", "S": "Buy", "v": "0.1", "p": "1520",
    "i": "a", "BT": True,
}  # fmt: skip


def options(*trades: dict) -> bytes:
    return json.dumps({"topic": "publicTrade.BTC", "ts": APPEND_MS, "data": trades}).encode()


def test_options_of_bybit_are_rows_of_their_contracts():
    """The key names the topic's coin."""
    other = OPTION | {"s": "BTC-25DEC26-90000-P-USDT", "i": "b", "BT": False}
    decoded = decode("bybit.v5", [(b"BYBIT:option:BTC", options(OPTION, other))])
    assert decoded.rows.column("symbol").to_pylist() == [
        "option:BTC-25DEC26-100000-C-USDT",
        "option:BTC-25DEC26-90000-P-USDT",
    ]
    assert decoded.rows.column("conditions").to_pylist() == [["block"], None]


@pytest.mark.parametrize("contract", ["ETH-25DEC26-4000-C", "BTCUSDT", "BTC-" + "9" * 64, 5, None])
def test_a_contract_on_another_coin_is_refused(contract):
    """Its rows would be found under another name."""
    decoded = decode("bybit.v5", [(b"BYBIT:option:BTC", options(OPTION | {"s": contract}))])
    assert decoded.kind.tolist() == [Kind.BAD]


def test_a_contract_in_another_market_is_refused():
    """There the topic names the instrument."""
    decoded = decode("bybit.v5", [(b"BYBIT:linear:BTC", options(OPTION))])
    assert [bad.reason for bad in decoded.bad] == ["bad-symbol"]


# --- attributes

SIDES = {
    "binance.spot": (b'"m":false', b'"m":%s'),
    "bybit.v5": (b'"S":"Buy"', b'"S":%s'),
    "canonical": (b'"side":"buy"', b'"side":%s'),
    "coinbase.advanced": (b'"side":"SELL"', b'"side":%s'),
    "coinbase.exchange": (b'"side":"sell"', b'"side":%s'),
    "hitbtc.v2": (b'"side":"buy"', b'"side":%s'),
    "kraken.v1": (b'"b"', b"%s"),
}


@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize("found", [b'"UNKNOWN_ORDER_SIDE"', b"7", b'""', b"[1]", b"null"])
def test_an_unknown_side_costs_the_side_alone(name, found):
    """The trade stays, with what was found; so do its message and its neighbours."""
    key, good = TRADES[name]
    old, new = SIDES[name]
    assert old in good
    spoilt = good.replace(old, new % found, 1)
    decoded = decode(name, [(key, good), (key, spoilt), (key, good)])
    assert decoded.bad == []
    rows = [row for row in decoded.rows.to_pylist() if row["message"] == 1]
    assert len(rows) == sum(row["message"] == 0 for row in decoded.rows.to_pylist())
    if found == b"null":
        assert rows[0]["side"] is None
        assert not decoded.unknown
    else:
        text = json.loads(found)
        assert rows[0]["side"] == "unknown"
        expected = text if isinstance(text, str) else found.decode()
        assert dict(rows[0]["vendor"])["side"] == expected
        assert decoded.unknown == {"side": 1}


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("conditions", b'"x"'),
        ("conditions", b"[1]"),
        ("vendor", b'{"a":1}'),
        ("vendor", b'"x"'),
        ("receive_time_ns", b"-1"),
        ("receive_time_ns", b'"soon"'),
        ("side", b'"both"'),
    ],
)
def test_an_unknown_attribute_of_a_canonical_record_is_kept_in_vendor(field, found):
    """Under its own name, or beside what has that name."""
    key, value = TRADES["canonical"]
    value = value.replace(b'"side":"buy",', b"")[:-1] + b',"%s":%s}' % (field.encode(), found)
    with_same = value[:-1] + b',"vendor":{"%s":"here"}}' % field.encode()
    for record in (value, with_same) if field != "vendor" else (value,):
        decoded = decode("canonical", [(key, record)])
        assert decoded.bad == []
        (row,) = decoded.rows.to_pylist()
        vendor = dict(row["vendor"])
        kept = vendor[field if record is value else f"$.{field}"]
        assert kept in {found.decode(), found.decode().strip('"')}
        assert row[field] in ("unknown", None) or field == "vendor"
        assert decoded.unknown == {field: 1}


def test_an_attribute_of_a_refused_message_is_not_counted():
    """What is counted are rows."""
    key, value = TRADES["hitbtc.v2"]
    spoilt = value.replace(b'"buy"', b'"?"').replace(b'"1.4"', b'"-1"')
    decoded = decode("hitbtc.v2", [(key, spoilt)])
    assert (len(decoded.bad), decoded.unknown) == (1, {})


# --- times


@settings(max_examples=300, deadline=None)
@given(st.integers(631_152_000_000, 9_223_372_036_854), st.integers(0, 999), st.integers(0, 999))
def test_a_time_is_read_by_its_magnitude(ms, us, ns):
    """From 1990 to 2262 no integer is a time in two units."""
    assert since_1970(ms) == ms * 10**6
    if ms < 9_223_372_036_854:
        assert since_1970(ms * 1_000 + us) == (ms * 1_000 + us) * 1_000
        assert since_1970((ms * 1_000 + us) * 1_000 + ns) == (ms * 1_000 + us) * 1_000 + ns


@pytest.mark.parametrize("time", [1_786_310_000, 5, 10**13, 10**16, 10**19, APPEND_MS * 10])
@pytest.mark.parametrize("name", ["binance.spot", "bybit.v5"])
def test_a_bad_time_is_shown_as_it_was_found(name, time):
    """Not as what it was taken for."""
    key, value = TRADES[name]
    spoilt = value.replace(b'"T":1786310000000', b'"T":%d' % time).replace(
        b'"T":\n1786310000000', b'"T":%d' % time
    )
    (bad,) = decode(name, [(key, spoilt)]).bad
    assert (bad.reason, bad.field) == ("bad-time", "T")
    assert bad.detail.endswith(f"found {time}")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("coinbase.exchange", b"2026-08-09T21:13:20.089723Z", b"1980-08-09T21:13:20.089723Z"),
        ("kraken.v1", b"1786310000.557535", b"17.5"),
        ("asx.csv", b"03/10/2014,10:00:00.123", b"03/10/2044,10:00:00.123"),
    ],
)
def test_a_bad_time_of_any_form_is_shown_as_it_was_found(name, old, new):
    """Texts too."""
    key, value = TRADES[name]
    (bad,) = decode(name, [(key, value.replace(old, new))]).bad
    assert new.decode().replace(",", " ") in bad.detail


# --- sister venues


@pytest.mark.parametrize("name", sorted(set(TRADES) - {"canonical"}))
def test_the_key_names_the_exchange(name):
    """One protocol, several venues, test networks, accounts."""
    key, value = TRADES[name]
    sister = b"SISTER-2." + key[key.index(b":") :]
    own, other = decode(name, [(key, value)]), decode(name, [(sister, value)])
    assert other.bad == []
    assert set(other.rows.column("exchange").to_pylist()) == {"SISTER-2."}
    assert other.rows.drop_columns(["exchange"]).equals(own.rows.drop_columns(["exchange"]))


# --- prices

TABLE = Instruments(
    [
        Instrument("NYMEX", "CL", "USD", "future", price_domain=PriceDomain.ANY,
                   valid_from_ns=NS - 10, valid_to_ns=NS + 10),
        Instrument("NYMEX", EVERY_SYMBOL, "USD", "future", price_domain=PriceDomain.NON_NEGATIVE),
        Instrument("NYMEX", "GC", "USD", "future"),
        Instrument("BINANCE", "usdm:AUSDT", "USD", "future", price_domain=PriceDomain.ANY),
    ]
)  # fmt: skip


def priced(feed, records, domains=TABLE.price_domain):
    return feed.decode(
        RawBatch(
            0,
            np.arange(len(records)),
            np.full(len(records), APPEND_MS),
            [key for key, _ in records],
            [value for _, value in records],
            domains,
        )
    )


def canonical(symbol: str, price: str, *, as_number: bool, time_ns: int = NS):
    text = price if as_number else f'"{price}"'
    value = (
        f'{{"exchange":"NYMEX","symbol":"{symbol}","price":{text},"quantity":"1",'
        f'"exchange_time_ns":{time_ns},"sequence":1}}'
    )
    return f"NYMEX:{symbol}".encode(), value.encode()


@pytest.mark.parametrize("as_number", [True, False])
@pytest.mark.parametrize(
    ("symbol", "price", "time_ns", "is_row"),
    [
        ("CL", "-37.63", NS, True),
        ("CL", "0", NS, True),
        ("CL", "-0.0", NS, True),
        ("CL", "-37.63", NS - 11, False),  # the exchange's own line holds then
        ("CL", "0", NS - 11, True),
        ("HO", "0.00", NS, True),
        ("HO", "-1", NS, False),
        ("GC", "0", NS, False),
        ("GC", "-1", NS, False),
    ],
)
def test_the_reference_table_says_which_prices_an_instrument_may_have(
    as_number, symbol, price, time_ns, is_row
):
    """By instrument, or by exchange, at the event's time; refused otherwise, as without a table."""
    record = canonical(symbol, price, as_number=as_number, time_ns=time_ns)
    good = canonical(symbol, "5", as_number=as_number, time_ns=time_ns)
    decoded = priced(FEEDS["canonical"], [good, record, good])
    assert decoded.rows.column("message").to_pylist() == ([0, 1, 2] if is_row else [0, 2])
    if is_row:
        assert decoded.rows.column("price").to_pylist()[1] == Decimal(price)
    else:
        assert [(bad.reason, bad.field) for bad in decoded.bad] == [("not-positive", "price")]
    plain = FEEDS["canonical"].decode(
        RawBatch(0, np.arange(1), np.array([APPEND_MS]), [record[0]], [record[1]])
    )
    assert [bad.reason for bad in plain.bad] == ["not-positive"]


def test_a_quantity_is_above_zero_whatever_the_table_says():
    """Nothing is traded otherwise."""
    key, value = canonical("CL", "5", as_number=False)
    spoilt = value.replace(b'"quantity":"1"', b'"quantity":"-1"')
    assert [bad.field for bad in priced(FEEDS["canonical"], [(key, spoilt)]).bad] == ["quantity"]


def test_prices_of_native_messages_and_of_quotes():
    """The same rule for every feed; a side of a quote may be at zero then, and null is absence."""
    trade = json.dumps(BINANCE | {"p": "-3"}).encode()
    assert priced(FEEDS["binance.usdm"], [(b"BINANCE:usdm:AUSDT", trade)]).rows.num_rows == 1
    assert priced(FEEDS["binance.spot"], [(KEY, trade)]).rows.num_rows == 0
    quote = (
        b'{"exchange":"NYMEX","symbol":"%s","bid_price":"%s","ask_price":"0","bid_quantity":"1",'
        b'"exchange_time_ns":' + str(NS).encode() + b"}"
    )
    quotes = [
        (b"NYMEX:" + symbol, quote % (symbol, bid))
        for symbol, bid in ((b"CL", b"-3"), (b"HO", b"0"), (b"HO", b"-3"), (b"GC", b"0"))
    ]
    decoded = priced(QUOTE_FEEDS["canonical"], quotes)
    assert [(bad.message, bad.field) for bad in decoded.bad] == [(2, "bid_price")]
    assert decoded.rows.column("bid_price").to_pylist() == [Decimal(-3), Decimal(0), None]
    assert decoded.rows.column("ask_price").to_pylist() == [Decimal(0), Decimal(0), None]
    assert decoded.rows.column("crossed").to_pylist() == [False, False, False]


# --- what the container adds


@pytest.mark.parametrize("end", [b"\r", b"\r\n", b"\n", b""])
def test_a_lines_end_is_no_part_of_its_last_field(end):
    """Whichever way a file ends its lines."""
    key, value = TRADES["asx.csv"]
    empty = value.removesuffix(b"17")
    decoded = decode("asx.csv", [(key, value + end), (key, empty + end)])
    assert decoded.rows.column("vendor").to_pylist() == [
        [("venue", "C"), ("buyer", "17")],
        [("venue", "C")],
    ]
    line = b"7,ABC,03/10/2014,10:00:00.123,1.50,1.60,20,30"
    quotes = priced(QUOTE_FEEDS["asx.quotes.csv"], [(b"ASX:ABC", line + end)])
    assert quotes.rows.column("ask_quantity").to_pylist() == [Decimal(30)]


def test_numbers_are_exact_or_refused():
    """As they are written."""
    texts = ['"0.08200000000000000000"', '"0.30000000000000004"', '"000123.450"', "9.461E-06",
             "3.0000000000000004e-07"]  # fmt: skip
    key, value = TRADES["canonical"]
    records = [(key, value.replace(b'"1.5"', text.encode())) for text in texts]
    decoded = decode("canonical", records)
    assert [(bad.message, bad.reason) for bad in decoded.bad] == [(4, "too-precise")]
    assert decoded.rows.column("price").to_pylist() == [
        Decimal("0.082"), Decimal("0.30000000000000004"), Decimal("123.45"), Decimal("0.000009461"),
    ]  # fmt: skip
