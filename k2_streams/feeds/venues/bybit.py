"""Bybit's fifth API: the same topics on several markets.

A message does not say which market it is of, `spot` or `linear` have the same topics: the key says
it (`BYBIT:linear:BTCUSDT`), as the collector's connection did. Trades have an id each, no number: a
message holds several, and `seq` is shared between them and leaps. The topic of options names the
base coin and its trades name contracts: `BYBIT:option:BTC` is the key, `option:BTC-26DEC25-90000-C`
the symbol of a row.

Order book updates are numbered by `u`, per topic of a market. Under the topic's own key
(`BYBIT:linear:BTCUSDT@orderbook.200`) they are counted: what the connection lost shows there.
A snapshot repeats the number reached. Elsewhere they are control without a number.
"""

from typing import Any

import msgspec

from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.decoding.decoded import Reason, refuse, shown
from k2_streams.feeds.decoding.keys import CHANNEL, agreeing, is_of_connection
from k2_streams.feeds.decoding.messages import Message, MessageFeed, Trade
from k2_streams.feeds.decoding.native import (
    epoch_time,
    meaning,
    number,
    parse,
    since_1970,
    stamped,
    symbol,
    trade_id,
    typed,
)
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit

EXCHANGE = "BYBIT"  # as a recording's keys name it
MARKETS = ("inverse", "linear", "option", "spot")
TRADES = "publicTrade"
BOOK = "orderbook"
_SIDES = {"Buy": "buy", "Sell": "sell"}
#: The market whose topics of trades name a coin, not an instrument.
_OPTIONS = "option"
#: What answers are counted as that name no operation.
_ANSWER = "answer"
#: Topics, and operations that answers name, which are counted by their own names.
_CONTROL_EVENTS = frozenset(
    {
        "adl",
        "adlAlert",
        "allLiquidation",
        "auth",
        "insurance",
        "kline",
        "kline_lt",
        "liquidation",
        "ping",
        "pong",
        "priceLimit",
        "subscribe",
        "tickers",
        "tickers_lt",
        "unsubscribe",
        BOOK,
        TRADES,
        _ANSWER,
    }
)


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
    type: Any = None
    success: Any = None
    retCode: Any = None  # noqa: N815 - the venue's name
    ts: Any = None
    data: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_Message)
_TRADE_LIST = msgspec.json.Decoder(list[_Trade])
_BOOK_DATA = msgspec.json.Decoder(_Book)


class BybitV5(MessageFeed):
    """Bybit's public streams; trades are identified by their ids, books counted per topic."""

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
        events=_CONTROL_EVENTS,
        repeats_numbers=True,
    )
    names = ("p", "v", "T")

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, _ = stamped(value)
        message = parse(_DECODER, text)
        if message.topic is None:
            event = _answer(message)
            agreeing(key, None, None)
            return Message(event=event)
        topic = typed("topic", message.topic, str)
        channel, _, name = topic.rpartition(".")
        kind = topic.partition(".")[0]
        time_ns = since_1970(message.ts)
        if kind == TRADES:
            market, _ = _placed(key, name, "")
            read = _contract if market == _OPTIONS else _trade
            trades = [read(trade, name) for trade in parse(_TRADE_LIST, bytes(message.data))]
            return Message(trades, -1, None, time_ns, receive_time_ns, kind)
        if kind == BOOK and not is_of_connection(key):
            _, is_counted = _placed(key, name, channel)
            if is_counted:
                count = number("u", parse(_BOOK_DATA, bytes(message.data)).u)
                return Message(sequence=count, time_ns=time_ns, event=kind)
        agreeing(key, None, None)
        return Message(time_ns=time_ns, event=kind)


def _answer(message: _Message) -> str:
    """What an answer is counted as.

    Raises:
        RefusedError: it is none.
    """
    if isinstance(message.op, str):
        return message.op
    is_answer = isinstance(message.success, bool) or isinstance(message.retCode, int)
    if not is_answer and message.type != "COMMAND_RESP":
        detail = f"expected a topic or an answer, found {shown(message.op)}"
        raise refuse(Reason.UNKNOWN_MESSAGE, "topic", detail)
    return _ANSWER


def _placed(key: bytes | None, name: str, channel: str) -> tuple[str, bool]:
    """The market that the key names beside the symbol; whether also the channel, if one may.

    Raises:
        RefusedError: it names something else.
    """
    parts = agreeing(key, None, None)
    market, _, rest = parts.symbol.partition(":")
    named, _, apart = rest.partition(CHANNEL)
    if market not in MARKETS or named != name or apart not in {"", channel}:
        expected = shown(f"EXCHANGE:MARKET:{name}{CHANNEL if channel else ''}{channel}")
        raise refuse(Reason.KEY_MISMATCH, "key", f"expected {expected}, found {shown(key)}")
    return market, bool(apart)


def _trade(trade: _Trade, name: str) -> Trade:
    """A trade of the instrument that the topic names."""
    if trade.s != name:
        detail = f"expected the topic's symbol {shown(name)}, found {shown(trade.s)}"
        raise refuse(Reason.BAD_SYMBOL, "s", detail)
    return _row(trade, None)


def _contract(trade: _Trade, coin: str) -> Trade:
    """A trade of an option on the coin that the topic names."""
    contract = typed("s", trade.s, str)
    if contract.partition("-")[0] != coin:
        detail = f"expected a contract on the topic's coin {shown(coin)}, found {shown(contract)}"
        raise refuse(Reason.BAD_SYMBOL, "s", detail)
    return _row(trade, symbol("s", f"{_OPTIONS}:{contract}"))


def _row(trade: _Trade, name: str | None) -> Trade:
    marks = [mark for mark, flag in (("block", trade.BT), ("rpi", trade.RPI)) if flag is True]
    side, unknown = meaning("side", trade.S, _SIDES)
    return Trade(
        typed("p", trade.p, str),
        typed("v", trade.v, str),
        epoch_time("T", trade.T),
        trade_id("i", trade.i),
        side,
        marks or None,
        symbol=name,
        unknown=unknown,
        time=trade.T,
    )
