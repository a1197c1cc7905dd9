"""Venues' messages for tests: made by hand in each venue's shapes, and the recorded ones."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from k2_streams.core.sequence.batch import step_batch
from k2_streams.core.sequence.messages import Batch
from k2_streams.core.sequence.sessions import CONFLICT_TOLERANCE_MS
from k2_streams.core.sequence.step import ScopeState, Verdict
from k2_streams.feeds.decoding.decoded import Decoded, Kind, RawBatch
from k2_streams.feeds.feed import FEEDS, Feeds, feed
from k2_streams.feeds.recordings.readers import Recorded, read

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
VENUES = DATA / "venue-messages"
BINANCE = DATA / "binance-2024-08-08"
HITBTC_LINES = [DATA / "ab-lines-2021-07-15" / f"HITBTC.ws.{line}.0" for line in (1, 2, 3, 4)]

#: What there is of each feed.
RECORDED = {
    "asx.csv": [DATA / "asx-2014-03" / "trades" / f"{name}.csv" for name in (7181, 3153)],
    "binance.spot": [BINANCE / "spot-btcusdt_20240808.gz"],
    "binance.usdm": [BINANCE / "usdm-btcusdt_20240808.gz", VENUES / "BINANCE_FUTURES.jsonl.zst"],
    "bybit.v5": [VENUES / "BYBIT.jsonl.zst"],
    "coinbase.advanced": [VENUES / "COINBASE.jsonl.zst"],
    "coinbase.exchange": [VENUES / "COINBASE.ws.28.0"],
    "hitbtc.v2": HITBTC_LINES,
    "kraken.v1": [VENUES / "KRAKEN.jsonl.zst"],
}

#: Of a recording so many messages of each shape are seeds, none longer than this.
SEEDS_OF_A_SHAPE = 4
READ_RECORDS = 6_000
SEED_MAX_BYTES = 4_096

APPEND_MS = 1_786_310_000_000
STAMP = b"1786310000000000001 1786310000000000000 "


class Message(NamedTuple):
    key: bytes
    value: bytes


#: One message with trades of each feed.
TRADES = {
    "canonical": Message(
        b"SIM:ABC",
        b'{"exchange":"SIM","symbol":"ABC","price":"1.5","quantity":2,"side":"buy",'
        b'"exchange_time_ns":1786310000000000000,"sequence":7,"session":"a","trade_id":"x"}',
    ),
    "asx.csv": Message(b"ASX:ABC", b"7,ABC,03/10/2014,10:00:00.123,1.50,20,XT,C,17"),
    "binance.spot": Message(
        b"BINANCE:BTCUSDT",
        b'1786310000000000001 {"stream":"btcusdt@trade","data":{"e":"trade","E":1786310000001,'
        b'"s":"BTCUSDT","t":7,"p":"1.5","q":"2","T":1786310000000,"m":false,"M":true}}',
    ),
    "binance.usdm": Message(
        b"BINANCE:usdm:BTCUSDT@aggTrade",
        b'{"e":"aggTrade","E":1786310000001,"s":"BTCUSDT","a":7,"p":"1.5","q":"2","f":11,"l":12,'
        b'"T":1786310000000,"m":false}',
    ),
    "binance.coinm": Message(
        b"BINANCE:coinm:BTCUSD_PERP",
        b'{"e":"trade","E":1786310000001,"s":"BTCUSD_PERP","t":7,"p":"1.5","q":"2",'
        b'"T":1786310000000,"m":false,"X":"MARKET"}',
    ),
    "bybit.v5": Message(
        b"BYBIT:linear:BTCUSDT",
        b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1786310000001,"data":[{"T":'
        b'1786310000000,"s":"BTCUSDT","S":"Buy","v":"2","p":"1.5","L":"PlusTick","i":"x",'
        b'"BT":false,"RPI":false,"seq":5},{"T":1786310000000,"s":"BTCUSDT","S":"Sell","v":"3",'
        b'"p":"1.4","L":"MinusTick","i":"y","BT":true,"RPI":false,"seq":5}]}',
    ),
    "coinbase.advanced": Message(
        b"COINBASE:@feed-1",
        STAMP + b'{"channel":"market_trades","timestamp":"2026-08-09T21:13:20.000000001Z",'
        b'"sequence_num":7,"events":[{"type":"update","trades":[{"product_id":"BTC-USD",'
        b'"trade_id":"9","price":"1.5","size":"2","time":"2026-08-09T21:13:20.000001Z",'
        b'"side":"SELL"},{"product_id":"ETH-USD","trade_id":"3","price":"1.4","size":"3",'
        b'"time":"2026-08-09T21:13:19Z","side":"BUY"}]}]}',
    ),
    "coinbase.exchange": Message(
        b"COINBASE:BTC-USD",
        b'{"type":"match","trade_id":7,"maker_order_id":"m","taker_order_id":"t","side":"sell",'
        b'"size":"2","price":"1.5","product_id":"BTC-USD","sequence":99,'
        b'"time":"2026-08-09T21:13:20.089723Z"}',
    ),
    "hitbtc.v2": Message(
        b"HITBTC:ETHBTC",
        b'{"jsonrpc":"2.0","method":"updateTrades","params":{"data":[{"id":9,"price":"1.5",'
        b'"quantity":"2","side":"buy","timestamp":"2026-08-09T21:13:20.658Z"},{"id":10,'
        b'"price":"1.4","quantity":"3","side":"sell","timestamp":"2026-08-09T21:13:20.658Z"}],'
        b'"symbol":"ETHBTC"}}',
    ),
    "kraken.v1": Message(
        b"KRAKEN:XBT/USD",
        b'[993,[["1.5","2","1786310000.557535","b","l",""],["1.4","3","1786310000.557536","s",'
        b'"m","x y"]],"trade","XBT/USD"]',
    ),
}

#: Messages without a trade: key, value, and the number that counts (-1: none).
CONTROL = {
    "binance.usdm": [
        (b"BINANCE:usdm:BTCUSDT", b'{"e":"bookTicker","u":5,"s":"BTCUSDT"}', -1),
        (b"BINANCE:usdm:BTCUSDT", TRADES["binance.usdm"].value, -1),
        (b"BINANCE:usdm:BTCUSDT", b'{"e":"kline","s":"BTCUSDT","k":{"t":1}}', -1),
    ],
    "bybit.v5": [
        (b"BYBIT:@feed-1", b'{"success":true,"conn_id":"x","op":"subscribe"}', -1),
        (
            b"BYBIT:spot:BTCUSDT@orderbook.200",
            b'{"topic":"orderbook.200.BTCUSDT","ts":5,"data":{"b":[["1","2"]],"a":[],"u":12}}',
            12,
        ),
        (
            b"BYBIT:spot:BTCUSDT",
            b'{"topic":"orderbook.200.BTCUSDT","ts":1,"data":{"s":"BTCUSDT","u":12}}',
            -1,
        ),
        (b"BYBIT:spot:BTCUSDT", b'{"topic":"kline.1.BTCUSDT","data":[]}', -1),
    ],
    "coinbase.advanced": [
        (
            b"COINBASE:@feed-1",
            STAMP + b'{"channel":"l2_data","timestamp":"2026-08-09T21:13:20Z","sequence_num":8,'
            b'"events":[{"type":"update","product_id":"BTC-USD","updates":[]}]}',
            8,
        ),
        (
            b"COINBASE:@feed-1",
            STAMP + b'{"channel":"market_trades","timestamp":"","sequence_num":9,"events":[]}',
            9,
        ),
        (b"COINBASE:@feed-1", b'{"type":"error","message":"no"}', -1),
    ],
    "coinbase.exchange": [
        (b"COINBASE:@feed-1", b'{"type":"subscriptions","channels":[]}', -1),
        (b"COINBASE:BTC-USD", b'{"type":"l2update","product_id":"BTC-USD","changes":[]}', -1),
        (
            b"COINBASE:BTC-USD",
            b'{"type":"ticker","product_id":"BTC-USD","sequence":5,"trade_id":4}',
            -1,
        ),
    ],
    "hitbtc.v2": [
        (b"HITBTC:@feed-1", b'{"jsonrpc":"2.0","result":true,"id":"x"}', -1),
        (
            b"HITBTC:ETHBTC",
            b'{"method":"updateOrderbook","params":{"bid":[],"symbol":"ETHBTC","sequence":12}}',
            12,
        ),
        (
            b"HITBTC:ETHBTC",
            b'{"method":"snapshotOrderbook","params":{"symbol":"ETHBTC","sequence":12}}',
            12,
        ),
        (b"HITBTC:ETHBTC", b'{"method":"ticker","params":{"symbol":"ETHBTC"}}', -1),
    ],
    "kraken.v1": [
        (b"KRAKEN:@feed-1", b'{"event":"heartbeat"}', -1),
        (b"KRAKEN:XBT/USD", b'[1360,{"as":[],"bs":[]},"book-1000","XBT/USD"]', -1),
        (b"KRAKEN:XBT/USD", b'[1360,{"a":[]},{"b":[],"c":"1"},"book-10","XBT/USD"]', -1),
        (b"KRAKEN:XBT/USD", b'[993,[],"trade","XBT/USD"]', -1),
        (b"KRAKEN:XBT/USD", b'{"event":"subscriptionStatus","pair":"XBT/USD"}', -1),
    ],
}


def decode(
    name: str, messages: list[tuple[bytes | None, bytes | None]], feeds: Feeds = FEEDS
) -> Decoded:
    """The messages as one batch."""
    return feed(name, feeds).decode(
        RawBatch(
            0,
            np.arange(len(messages), dtype=np.int64),
            np.full(len(messages), APPEND_MS, dtype=np.int64),
            [key for key, _ in messages],
            [value for _, value in messages],
        )
    )


def shape(value: bytes) -> bytes:
    """What a message looks like without its numbers and texts."""
    return re.sub(rb'"[^"]*"(?!:)|\d+(\.\d+)?', b"", value)[:200]


@cache
def seeds(name: str) -> list[tuple[bytes, bytes]]:
    """Messages to start from; the recorded ones where there are recordings."""
    found = [tuple(TRADES[name])] + [(key, value) for key, value, _ in CONTROL.get(name, [])]
    shapes: dict[bytes, int] = {}
    for path in RECORDED.get(name, []):
        if not path.exists():
            continue
        for one in islice(read(name, path), READ_RECORDS):
            if len(one.value) <= SEED_MAX_BYTES:
                like = shape(one.value)
                shapes[like] = shapes.get(like, 0) + 1
                if shapes[like] <= SEEDS_OF_A_SHAPE:
                    found.append((one.key, one.value))
    return found


def records(name: str, *paths: Path) -> Iterator[Recorded]:
    """The records of recordings, one file after the other."""
    for path in paths:
        yield from read(name, path)


class Run:
    """A feed's records through its decoder and the sequence, as a task would take them."""

    def __init__(self, name: str, batch: int = 997) -> None:
        self.name = name
        self.batch = batch
        self.states: dict[str, ScopeState] = {}
        self.verdicts: list[tuple[str, int, Verdict]] = []  # scope, number, verdict
        self.kinds: list[int] = []
        self.rows: list[dict] = []
        self.events: list = []
        self.bad: list = []

    def take(self, made: list[Recorded]) -> "Run":
        """The next records, each appended at its recorder's time."""
        for first in range(0, len(made), self.batch):
            self._take(made[first : first + self.batch], first)
        return self

    def _take(self, made: list[Recorded], offset: int) -> None:
        offsets = np.arange(offset, offset + len(made), dtype=np.int64)
        appended = np.array([one.event_time_ns // 10**6 for one in made], dtype=np.int64)
        known = feed(self.name)
        decoded = known.decode(
            RawBatch(0, offsets, appended, [one.key for one in made], [one.value for one in made])
        )
        counted = (decoded.scope >= 0) & ((decoded.kind == Kind.TRADE) | (decoded.sequence >= 0))
        members = np.flatnonzero(counted)
        stepped = step_batch(
            self.states.get,
            Batch(
                scopes=decoded.scopes,
                scope=decoded.scope[members],
                sequence=decoded.sequence[members],
                session=decoded.session[members],
                sessions=decoded.sessions,
                event_time_ns=decoded.event_time_ns[members],
                offset=offsets[members],
                append_ms=appended[members],
                partition=0,
            ),
            known.description.session_rule,
            tolerance_ms=known.description.tolerance_ms(CONFLICT_TOLERANCE_MS),
        )
        self.states.update(stepped.states)
        self.events += stepped.events
        self.kinds += decoded.kind.tolist()
        self.bad += decoded.bad
        self.rows += decoded.rows.to_pylist()
        self.verdicts += [
            (decoded.scopes[decoded.scope[at]], int(decoded.sequence[at]), Verdict(verdict))
            for at, verdict in zip(members.tolist(), stepped.verdicts.tolist(), strict=True)
        ]
