"""Coinbase Advanced Trade: one sequence a connection, over all its channels.

`sequence_num` counts a connection's messages from 0, whatever channel they are of, so that a lost
order book update is a gap that trades may lie in. The connection stands in the key
(`COINBASE:@feed-1`), and the stamp before the message says when it was opened, the session:
a message has nothing else that tells a reconnection from a repetition.

A message holds trades of several products, not in the order of their ids; a snapshot holds a
product's last hundred, newest first. Trades that a snapshot repeats have the id they had: it is the
id that tells trades apart. `side` is the maker's, so the aggressor's is the other.
"""

from typing import Any

import msgspec

from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.decoding.decoded import Reason, RefusedError, refuse, shown
from k2_streams.feeds.decoding.keys import CONNECTION, agreeing, is_of_connection
from k2_streams.feeds.decoding.messages import Message, MessageFeed, Trade
from k2_streams.feeds.decoding.native import (
    Known,
    meaning,
    number,
    parse,
    rfc_3339,
    stamped,
    symbol,
    trade_id,
    typed,
)
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit

EXCHANGE = "COINBASE"
TRADES = "market_trades"
#: The aggressor's side by the maker's.
_AGGRESSOR = {"BUY": "sell", "SELL": "buy"}
_CONTROL_EVENTS = frozenset(
    {
        "candles",
        "error",
        "futures_balance_summary",
        "heartbeats",
        "l2_data",
        "market_trades",
        "status",
        "subscriptions",
        "ticker",
        "ticker_batch",
        "user",
    }
)
#: A session's name is its connection's begin in ns with so many digits, so that the order of the
#: names is that of time.
_SESSION_DIGITS = 19


class _Trade(msgspec.Struct, gc=False):
    product_id: Any = None
    trade_id: Any = None
    price: Any = None
    size: Any = None
    side: Any = None
    time: Any = None


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    trades: list[_Trade] | None = None


class _Head(msgspec.Struct, gc=False):
    """What every message has; the events are read where they hold trades alone."""

    channel: Any = None
    type: Any = None  # of an error, which has no channel
    sequence_num: Any = None
    timestamp: Any = None
    events: msgspec.Raw = msgspec.Raw(b"null")


_HEAD = msgspec.json.Decoder(_Head)
_EVENTS = msgspec.json.Decoder(list[_Event])


class CoinbaseAdvanced(MessageFeed):
    """Coinbase's Advanced Trade feed, one sequence a connection."""

    name = "coinbase.advanced"
    description = Description(
        counts_over=CountsOver.CONNECTION,
        number="sequence_num",
        session_rule=SessionRule.ORDERED,
        session_starts="a connection: the stamp before the message says when it was opened",
        identity=Identity.TRADE_ID,
        trade_id="trade_id",
        time="time",
        time_unit=TimeUnit.RFC_3339,
        events=_CONTROL_EVENTS,
    )
    names = ("price", "size", "time")

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, connected_ns = stamped(value)
        head = parse(_HEAD, text)
        if head.channel is None and isinstance(head.type, str):
            _of_connection(key)
            return Message(receive_time_ns=receive_time_ns, event=head.type)
        if not isinstance(head.channel, str):
            detail = f"expected a channel's message or an error, found {shown(head.channel)}"
            raise refuse(Reason.UNKNOWN_MESSAGE, "channel", detail)
        channel = head.channel
        _of_connection(key)
        if channel != TRADES and head.sequence_num is None:
            return Message(receive_time_ns=receive_time_ns, event=channel)
        if connected_ns is None:
            detail = (
                "expected `<receive ns> <connection's begin ns> ` before the message, found none"
            )
            raise refuse(Reason.BAD_SESSION, None, detail)
        session = str(connected_ns).zfill(_SESSION_DIGITS)
        count = number("sequence_num", head.sequence_num)
        try:
            known = Known(count, session, rfc_3339("timestamp", head.timestamp))
        except RefusedError:
            known = Known(count, session)  # the message's own time decides nothing
        trades = _trades(head.events, known) if channel == TRADES else []
        return Message(trades, count, session, known.time_ns, receive_time_ns, channel)


def _of_connection(key: bytes | None) -> None:
    """The key must name a connection."""
    agreeing(key, None, None)
    if not is_of_connection(key):
        detail = f"expected EXCHANGE:{CONNECTION}CONNECTION, found {shown(key)}"
        raise refuse(Reason.KEY_MISMATCH, "key", detail)


def _trades(events: msgspec.Raw, known: Known) -> list[Trade]:
    """The trades of a message, in its order."""
    try:
        found = _EVENTS.decode(events)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        detail = f"expected events with trades: {error}"
        raise refuse(Reason.WRONG_TYPE, "events", detail, *known) from None
    trades = []
    for event in found:
        if event.trades is None:
            raise refuse(Reason.MISSING_FIELD, "trades", "expected trades, found none", *known)
        conditions = ["snapshot"] if event.type == "snapshot" else None
        trades += [_trade(trade, conditions, known) for trade in event.trades]
    return trades


def _trade(trade: _Trade, conditions: list[str] | None, known: Known) -> Trade:
    side, unknown = meaning("side", trade.side, _AGGRESSOR)
    return Trade(
        typed("price", trade.price, str, known),
        typed("size", trade.size, str, known),
        rfc_3339("time", trade.time, known),
        trade_id("trade_id", trade.trade_id, known),
        side,
        conditions,
        symbol=symbol("product_id", trade.product_id, known),
        unknown=unknown,
        time=trade.time,
    )
