"""HitBTC's second API: order book updates are numbered, trades have an id.

`sequence` counts a symbol's order book, without a gap. An update is control that counts; so is a
snapshot, which says the number that the book has reached: sent again it is a number received
before, and changes nothing. Trades carry no number and are identified by their ids; a snapshot of
trades repeats the last hundred. Messages are JSON-RPC notifications and answers.
"""

from typing import Any

import msgspec

from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.decoding.decoded import Reason, RefusedError, refuse, shown
from k2_streams.feeds.decoding.keys import agreeing, of_control
from k2_streams.feeds.decoding.messages import Message, MessageFeed, Trade
from k2_streams.feeds.decoding.native import (
    meaning,
    number,
    parse,
    rfc_3339,
    stamped,
    trade_id,
    typed,
)
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit

EXCHANGE = "HITBTC"  # as a recording's keys name it; BEQUANT and others speak the same
_BOOKS = frozenset({"snapshotOrderbook", "updateOrderbook"})
_TRADES = {"snapshotTrades": ["snapshot"], "updateTrades": None}  # with their conditions
_ANSWER, _ERROR = "answer", "error"
_CONTROL_EVENTS = frozenset(
    {
        "activeOrders",
        "report",
        "snapshotCandles",
        "ticker",
        "updateCandles",
        _ANSWER,
        _ERROR,
        *_BOOKS,
        *_TRADES,
    }
)
_SIDES = {"buy": "buy", "sell": "sell"}


class _Trade(msgspec.Struct, gc=False):
    id: Any = None
    price: Any = None
    quantity: Any = None
    side: Any = None
    timestamp: Any = None


class _Params(msgspec.Struct, gc=False):
    symbol: Any = None
    sequence: Any = None
    timestamp: Any = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Message(msgspec.Struct, gc=False):
    method: Any = None
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: Any = msgspec.UNSET  # an answer has it
    error: Any = msgspec.UNSET  # or this


_DECODER = msgspec.json.Decoder(_Message)
_PARAMS = msgspec.json.Decoder(_Params)
_TRADE_LIST = msgspec.json.Decoder(list[_Trade])


class HitbtcV2(MessageFeed):
    """HitBTC's second API; trades are identified by their ids, books counted per symbol."""

    name = "hitbtc.v2"
    description = Description(
        counts_over=CountsOver.SYMBOL,
        number="sequence of an order book; a trade has none",
        session_rule=SessionRule.FALL,
        session_starts="a fall of the sequence after an hour of silence",
        identity=Identity.TRADE_ID,
        trade_id="id",
        time="timestamp",
        time_unit=TimeUnit.RFC_3339,
        events=_CONTROL_EVENTS,
        repeats_numbers=True,
    )
    names = ("price", "quantity", "timestamp")

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, _ = stamped(value)
        message = parse(_DECODER, text)
        if message.method is None:
            event = _answer(message)
            agreeing(key, None, None)
            return Message(event=event)
        method = typed("method", message.method, str)
        if method not in _BOOKS and method not in _TRADES:
            of_control(key, _symbol(message.params))
            return Message(event=method)
        if bytes(message.params) == b"null":
            raise refuse(Reason.MISSING_FIELD, "params", "expected an object, found none")
        params = parse(_PARAMS, bytes(message.params))
        agreeing(key, None, typed("symbol", params.symbol, str))
        if method in _TRADES:
            found = parse(_TRADE_LIST, bytes(params.data))
            trades = [_trade(trade, _TRADES[method]) for trade in found]
            return Message(trades, receive_time_ns=receive_time_ns, event=method)
        count = number("sequence", params.sequence)
        try:
            time_ns = rfc_3339("timestamp", params.timestamp)
        except RefusedError:
            time_ns = 0  # a book's time decides nothing
        return Message(sequence=count, time_ns=time_ns, event=method)


def _answer(message: _Message) -> str:
    """What an answer is counted as.

    Raises:
        RefusedError: it is none.
    """
    if message.error is not msgspec.UNSET:
        return _ERROR
    if message.result is msgspec.UNSET:
        detail = f"expected a notification or an answer, found {shown(message.method)}"
        raise refuse(Reason.UNKNOWN_MESSAGE, "method", detail)
    return _ANSWER


def _symbol(params: msgspec.Raw) -> str | None:
    """The symbol that a notification names, if it names one."""
    try:
        symbol = _PARAMS.decode(params).symbol
    except msgspec.DecodeError:
        return None
    return symbol if isinstance(symbol, str) else None


def _trade(trade: _Trade, conditions: list[str] | None) -> Trade:
    side, unknown = meaning("side", trade.side, _SIDES)
    return Trade(
        typed("price", trade.price, str),
        typed("quantity", trade.quantity, str),
        rfc_3339("timestamp", trade.timestamp),
        trade_id("id", trade.id),
        side,
        conditions,
        unknown=unknown,
        time=trade.timestamp,
    )
