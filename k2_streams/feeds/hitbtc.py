"""HitBTC's second API: order book updates are numbered, trades have an id.

`sequence` counts a symbol's order book, without a gap. An update is control that counts; so is a
snapshot, which says the number that the book has reached: sent again it is a number received
before, and changes nothing. Trades carry no number and are told apart by their ids; a snapshot of
trades repeats the last hundred. Messages are JSON-RPC notifications and answers.
"""

from typing import Any

import msgspec

from k2_streams.core.sessions import SessionRule
from k2_streams.feeds.decoded import Reason, RefusedError, refuse, shown
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.keys import agreeing
from k2_streams.feeds.messages import Message, MessageFeed, Trade
from k2_streams.feeds.native import number, one_of, parse, rfc_3339, stamped, trade_id, typed

EXCHANGE = "HITBTC"
_BOOKS = frozenset({"snapshotOrderbook", "updateOrderbook"})
_TRADES = {"snapshotTrades": ["snapshot"], "updateTrades": None}  # with their conditions
_CONTROL_METHODS = frozenset({"snapshotCandles", "ticker", "updateCandles"})
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
    params: _Params | None = None
    result: Any = msgspec.UNSET  # an answer has it
    error: Any = msgspec.UNSET  # or this


_DECODER = msgspec.json.Decoder(_Message)
_TRADE_LIST = msgspec.json.Decoder(list[_Trade])


class HitbtcV2(MessageFeed):
    """HitBTC's second API; trades are told apart by their ids, books counted per symbol."""

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
    )
    names = ("price", "quantity", "timestamp")

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, _ = stamped(value)
        message = parse(_DECODER, text)
        if message.method is None and (
            message.result is not msgspec.UNSET or message.error is not msgspec.UNSET
        ):
            agreeing(key, EXCHANGE, None)
            return Message()
        method = message.method if isinstance(message.method, str) else ""
        if method not in _BOOKS and method not in _TRADES and method not in _CONTROL_METHODS:
            detail = (
                f"expected trades or a message known to hold none, found {shown(message.method)}"
            )
            raise refuse(Reason.UNKNOWN_MESSAGE, "method", detail)
        params = message.params
        if params is None:
            raise refuse(Reason.MISSING_FIELD, "params", "expected an object, found none")
        agreeing(key, EXCHANGE, typed("symbol", params.symbol, str))
        if method in _TRADES:
            found = parse(_TRADE_LIST, bytes(params.data))
            trades = [_trade(trade, _TRADES[method]) for trade in found]
            return Message(trades, receive_time_ns=receive_time_ns)
        if method not in _BOOKS:
            return Message()
        count = number("sequence", params.sequence)
        try:
            return Message(sequence=count, time_ns=rfc_3339("timestamp", params.timestamp))
        except RefusedError:
            return Message(sequence=count)  # a book's time decides nothing


def _trade(trade: _Trade, conditions: list[str] | None) -> Trade:
    return Trade(
        typed("price", trade.price, str),
        typed("quantity", trade.quantity, str),
        rfc_3339("timestamp", trade.timestamp),
        trade_id("id", trade.id),
        one_of("side", trade.side, _SIDES),
        conditions,
    )
