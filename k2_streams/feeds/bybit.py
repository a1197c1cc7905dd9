"""Bybit's fifth API: the same topics on several markets.

A message does not say which market it is of, `spot` or `linear` have the same topics: the key says
it (`BYBIT:linear:BTCUSDT`), as the collector's connection did. Trades have an id each, no number: a
message holds several, and `seq` is shared between them and leaps.

Order book updates are numbered by `u`, per topic of a market. Under the topic's own key
(`BYBIT:linear:BTCUSDT@orderbook.200`) they are counted: what the connection lost shows there.
A snapshot repeats the number reached. Elsewhere they are control without a number.
"""

from typing import Any

import msgspec

from k2_streams.core.sessions import SessionRule
from k2_streams.feeds.decoded import Reason, refuse, shown
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.keys import CHANNEL, agreeing
from k2_streams.feeds.messages import Message, MessageFeed, Trade
from k2_streams.feeds.native import (
    from_ms,
    number,
    one_of,
    parse,
    stamped,
    time_ms,
    trade_id,
    typed,
)

EXCHANGE = "BYBIT"
MARKETS = ("inverse", "linear", "option", "spot")
TRADES = "publicTrade"
BOOK = "orderbook"
_SIDES = {"Buy": "buy", "Sell": "sell"}
_CONTROL_TOPICS = frozenset(
    {
        "adl",
        "adlAlert",
        "allLiquidation",
        "insurance",
        "kline",
        "kline_lt",
        "liquidation",
        "orderbook",
        "priceLimit",
        "tickers",
        "tickers_lt",
    }
)
_CONTROL_OPS = frozenset({"auth", "ping", "pong", "subscribe", "unsubscribe"})


class _Trade(msgspec.Struct, gc=False):
    i: Any = None  # id
    T: Any = None  # trade time, ms
    s: Any = None  # symbol
    S: Any = None  # the taker's side
    v: Any = None  # quantity
    p: Any = None  # price
    BT: Any = None  # a block trade
    RPI: Any = None  # against a retail price improvement order


class _Book(msgspec.Struct, gc=False):
    u: Any = None  # update id


class _Message(msgspec.Struct, gc=False):
    topic: Any = None
    op: Any = None
    ts: Any = None
    data: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_Message)
_TRADE_LIST = msgspec.json.Decoder(list[_Trade])
_BOOK_DATA = msgspec.json.Decoder(_Book)


class BybitV5(MessageFeed):
    """Bybit's public streams; trades are told apart by their ids, books counted per topic."""

    name = "bybit.v5"
    description = Description(
        counts_over=CountsOver.CHANNEL,
        number="u of an order book; a trade has none",
        session_rule=SessionRule.FALL,
        session_starts="a fall of u after an hour of silence",
        identity=Identity.TRADE_ID,
        trade_id="i",
        time="T",
        time_unit=TimeUnit.MILLISECONDS,
    )
    names = ("p", "v", "T")

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, _ = stamped(value)
        message = parse(_DECODER, text)
        if message.topic is None and isinstance(message.op, str) and message.op in _CONTROL_OPS:
            agreeing(key, EXCHANGE, None)
            return Message()
        topic = message.topic if isinstance(message.topic, str) else ""
        kind = topic.partition(".")[0]
        if kind != TRADES and kind not in _CONTROL_TOPICS:
            detail = f"expected {TRADES} or a topic without trades, found {shown(message.topic)}"
            raise refuse(Reason.UNKNOWN_MESSAGE, "topic", detail)
        channel, _, name = topic.rpartition(".")
        counted = _agreeing(key, name, channel if kind == BOOK else "")
        time_ns = from_ms(message.ts)
        if kind == TRADES:
            trades = [_trade(trade, name) for trade in parse(_TRADE_LIST, bytes(message.data))]
            return Message(trades, time_ns=time_ns, receive_time_ns=receive_time_ns)
        if kind == BOOK and counted:
            count = number("u", parse(_BOOK_DATA, bytes(message.data)).u)
            return Message(sequence=count, time_ns=time_ns)
        return Message(time_ns=time_ns)


def _agreeing(key: bytes | None, name: str, channel: str) -> bool:
    """Check that the key names a market and the symbol; whether also the channel, if one may."""
    parts = agreeing(key, EXCHANGE, None)
    market, _, rest = parts.symbol.partition(":")
    symbol, _, apart = rest.partition(CHANNEL)
    if market not in MARKETS or symbol != name or apart not in {"", channel}:
        expected = shown(f"{EXCHANGE}:MARKET:{name}{CHANNEL if channel else ''}{channel}")
        raise refuse(Reason.KEY_MISMATCH, "key", f"expected {expected}, found {shown(key)}")
    return bool(apart)


def _trade(trade: _Trade, name: str) -> Trade:
    if trade.s != name:
        detail = f"expected the topic's symbol {shown(name)}, found {shown(trade.s)}"
        raise refuse(Reason.BAD_SYMBOL, "s", detail)
    marks = [mark for mark, flag in (("block", trade.BT), ("rpi", trade.RPI)) if flag is True]
    return Trade(
        typed("p", trade.p, str),
        typed("v", trade.v, str),
        time_ms("T", trade.T),
        trade_id("i", trade.i),
        one_of("S", trade.S, _SIDES),
        marks or None,
    )
