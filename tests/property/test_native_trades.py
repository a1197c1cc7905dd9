"""The native decoder of messages gives what Python gives, whatever a record holds.

`K2_FUZZ_DURATION_S` is how much CPU time each feed gets (`make check-long`: above a million records
in all); else few.
"""

import logging
import random
import time
from collections.abc import Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from native_decoder import native, needs_native
from test_canonical import APPEND_MS as CANONICAL_APPEND_MS
from test_canonical import KEY, batches
from venue_records import APPEND_MS, RECORDED, STAMP, TRADES, Message, seeds

from k2_streams.core.enrich.instruments import PriceDomain, positive_prices
from k2_streams.feeds.decoding.decoded import Decoded, Kind, RawBatch
from k2_streams.feeds.feed import FEEDS
from k2_streams.feeds.native_feed import NativeFeed
from k2_streams.feeds.recordings.readers import read
from k2_streams.runtime.settings.tools import development_settings
from k2_streams.testing.feed_fuzz import _spoiled as spoiled

pytestmark = needs_native

log = logging.getLogger(__name__)
SECONDS = development_settings().fuzz_duration_s
NAMES = sorted(native().feeds) if needs_native.args[0] is False else []
FUZZED_BATCH = 500
#: Of each recording.
RECORDED_RECORDS = 20_000

#: Of each feed a message that most of its records are like.
USUAL = {
    "canonical": TRADES["canonical"],
    "binance.spot": TRADES["binance.spot"],
    "binance.usdm": Message(
        b"BINANCE:usdm:BTCUSDT",
        b'1786310000000000001 {"e":"trade","E":1786310000001,"T":1786310000000,"s":"BTCUSDT",'
        b'"t":7,"p":"1.5","q":"2","X":"MARKET","m":true}',
    ),
    "binance.coinm": Message(
        b"BINANCE:coinm:BTCUSD_PERP",
        b'{"e":"trade","T":1786310000000001,"s":"BTCUSD_PERP","t":8,"p":"1.5","q":"2",'
        b'"X":"INSURANCE_FUND","m":null}',
    ),
    "bybit.v5": Message(
        b"BYBIT:linear:BTCUSDT",
        STAMP + b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1786310000000,"data":['
        b'{"T":1786310000000,"s":"BTCUSDT","S":"Buy","v":"0.1","p":"1.5","L":"PlusTick",'
        b'"i":"a-1","BT":false,"RPI":true},'
        b'{"T":1786310000001,"s":"BTCUSDT","S":"Sell","v":"0.2","p":"1.6","i":9,"BT":true}]}',
    ),
    "coinbase.advanced": Message(
        b"COINBASE:@feed-1",
        STAMP + b'{"channel":"market_trades","client_id":"","timestamp":"x","sequence_num":5,'
        b'"events":[{"type":"snapshot","trades":[{"product_id":"BTC-USD","trade_id":"11",'
        b'"price":"1.5","size":"2","side":"BUY","time":"2026-08-09T00:00:00.123456Z"}]},'
        b'{"type":"update","trades":[{"product_id":"ETH-USD","trade_id":12,"price":"2.5",'
        b'"size":"3","side":"SELL","time":"2026-08-09T00:00:01Z"}]}]}',
    ),
    "coinbase.exchange": Message(
        b"COINBASE:BTC-USD",
        b'{"type":"last_match","trade_id":7,"maker_order_id":"m","taker_order_id":"t",'
        b'"side":"buy","size":"2","price":"1.5","product_id":"BTC-USD","sequence":9,'
        b'"time":"2026-08-09T00:00:00.000001Z"}',
    ),
}


def batch(records: Sequence, append_ms: int, price_domains=positive_prices) -> RawBatch:
    count = len(records)
    return RawBatch(
        0,
        np.arange(count, dtype=np.int64),
        np.full(count, append_ms, np.int64),
        [key for key, _ in records],
        [value for _, value in records],
        price_domains,
    )


def plain(decoded: Decoded) -> tuple:
    """What was decoded, without how it is numbered."""
    scopes = np.array([*decoded.scopes, None], object)[decoded.scope]
    sessions = np.array([*decoded.sessions, None], object)[decoded.session]
    rows = decoded.rows
    assert rows.validate(full=True) is None
    columns = [
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for column in rows.columns
    ]
    return (
        decoded.kind.tolist(),
        scopes.tolist(),
        decoded.sequence.tolist(),
        sessions.tolist(),
        decoded.event_time_ns.tolist(),
        columns,
        rows.schema,
        decoded.bad,
        decoded.events,
        decoded.unknown,
    )


def check(name: str, records: Sequence, append_ms: int = APPEND_MS, domains=positive_prices) -> int:
    """Both decoders agree; gives how many records the native one took."""
    left = []
    decoder = NativeFeed(FEEDS[name], native(lambda kind, count: left.append((kind, count))))
    found = plain(decoder.decode(batch(records, append_ms, domains)))
    if found != plain(FEEDS[name].decode(batch(records, append_ms, domains))):
        # Each for itself, so that the one that differs is named.
        for record in records:
            alone = batch([record], append_ms, domains)
            assert plain(decoder.decode(alone)) == plain(FEEDS[name].decode(alone)), record
        raise AssertionError(f"only together they differ: {records}")
    assert {kind for kind, _ in left} <= {"record"}
    return len(records) - sum(count for _, count in left)


def test_usual_messages_are_taken() -> None:
    """So that what follows tries more than what is left to Python."""
    assert sorted(USUAL) == NAMES
    for name, record in USUAL.items():
        assert check(name, [record]) == 1, name
        (kind,) = FEEDS[name].decode(batch([record], APPEND_MS)).kind.tolist()
        assert kind == Kind.TRADE


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches())
@example(([], []))
def test_canonical_records_of_every_kind_are_decoded_alike(found) -> None:
    values, keys = found
    check("canonical", list(zip(keys, values, strict=True)), CANONICAL_APPEND_MS)


#: What the contract has beside the fields of `GOOD`, whitespace, names and numbers at their bounds.
CANONICAL = [
    b'"sequence":9223372036854775807',
    b'"sequence":9223372036854775808',
    b'"action":"new"',
    b'"action":"cancel","ref_trade_id":"T"',
    b'"action":"correct","ref_trade_id":"T","ref_session":"a"',
    b'"ref_trade_id":"T"',
    b'"session":"' + b"a" * 64 + b'"',
    b'"session":"' + b"a" * 65 + b'"',
    b'"session":"a\x7f"',
    b'"session":""',
    b'"trade_id":"' + b"a" * 128 + b'"',
    b'"trade_id":"' + b"a" * 129 + b'"',
    b'"trade_id":"\x7f"',
    b'"side":"Buy"',
    b'"receive_time_ns":-1',
    b'"conditions":["a",null]',
    b'"conditions":{}',
    b'"vendor":{"a":"1","a":"2"}',
    b'"vendor":{"x":"1"},"x":2',
    b'"vendor":null,"x":null,"y":true,"z":-1.50,"w":"t"',
    b'"x":1e5',
    b'"x":{"y":1}',
    b'"x":1,"x":2',
    b'"":""',
]


@pytest.mark.parametrize("fields", CANONICAL)
def test_what_the_contract_allows_beside_is_decoded_alike(fields) -> None:
    base = (
        b'\t{ "exchange" : "SIM" , "symbol":"ABC", "price":"0099.10","quantity":12.50,'
        b'"exchange_time_ns":%d,\r\n' % (APPEND_MS * 1_000_000)
    )
    plain_one = base + b'"sequence":7} '
    records = [(KEY, plain_one), (KEY, base + fields + b"}"), (KEY, plain_one)]
    assert check("canonical", records) >= 2


def test_prices_that_only_a_reference_table_admits_are_its_own() -> None:
    key, value = USUAL["canonical"]
    records = [(key, value.replace(b'"1.5"', price)) for price in (b'"0"', b'"-1.5"', b"-2", b"3")]
    assert check("canonical", records, domains=lambda *_: PriceDomain.ANY) == 1


@pytest.mark.parametrize("name", NAMES)
def test_spoiled_messages_are_decoded_alike(name: str, pytestconfig: pytest.Config) -> None:
    base = pytestconfig.getoption("hypothesis_seed")
    chance = random.Random(f"{base} {name}")
    samples = [*seeds(name), *[USUAL[name]] * max(len(seeds(name)) // 4, 1)]
    ends = time.process_time() + (SECONDS or 0)
    taken = records = 0
    while not records or time.process_time() < ends:
        taken += check(name, [spoiled(chance, samples) for _ in range(FUZZED_BATCH)])
        records += FUZZED_BATCH
    log.info("%s: %d records, %d of them decoded natively", name, records, taken)
    assert 0 < taken < records


@pytest.mark.parametrize("name", sorted(set(RECORDED) & set(NAMES)))
def test_recorded_messages_are_decoded_alike(name: str) -> None:
    paths = [path for path in RECORDED[name] if path.exists()]
    if not paths:
        pytest.skip("the recordings are not beside the checkout")
    for path in paths:
        found = [*islice(read(name, path), RECORDED_RECORDS)]
        latest_ms = max(one.event_time_ns for one in found) // 10**6
        check(name, [(one.key, one.value) for one in found], latest_ms)
