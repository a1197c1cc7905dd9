"""Kraken's first websocket API: trades with neither id nor sequence.

A message is a list `[channel id, payload ..., channel name, pair]`, or an object that names an
`event`. Nothing tells a repeated trade from a new one but its place in the raw topic, so K2 cannot
recognise one, nor a loss. A trade is `[price, volume, time, side, order type, misc]`; the side is
the aggressor's.
"""

from typing import Any

import msgspec

from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.decoding.decoded import Reason, refuse, shown
from k2_streams.feeds.decoding.keys import agreeing, of_control
from k2_streams.feeds.decoding.messages import Message, MessageFeed, Trade
from k2_streams.feeds.decoding.native import (
    as_found,
    decimal_seconds,
    meaning,
    parse,
    stamped,
    typed,
)
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit

EXCHANGE = "KRAKEN"
_SIDES = {"b": "buy", "s": "sell"}
_ORDER_TYPES = {"m": "market", "l": "limit"}
_TRADES = "trade"
#: Events and channels (`book-1000` is `book`) that are counted by their own names.
_CONTROL_EVENTS = frozenset(
    {
        "addOrderStatus",
        "book",
        "cancelOrderStatus",
        "error",
        "heartbeat",
        "ohlc",
        "openOrders",
        "ownTrades",
        "pong",
        "spread",
        "subscriptionStatus",
        "systemStatus",
        "ticker",
        _TRADES,
    }
)
#: A trade has six fields; later versions may add some.
_TRADE_FIELDS = 6
#: `[channel id, payload, channel name, pair]`; a payload may be of several parts.
_LIST_PARTS = 4


class _Event(msgspec.Struct, gc=False):
    event: Any = None
    pair: Any = None
    errorMessage: Any = None  # noqa: N815 - the venue's name


_EVENT = msgspec.json.Decoder(_Event)
_PARTS = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder()
_TRADE_LIST = msgspec.json.Decoder(list[list[Any]])


class KrakenV1(MessageFeed):
    """Kraken's first websocket API: not numbered, and no dedup is possible."""

    name = "kraken.v1"
    description = Description(
        counts_over=CountsOver.NONE,
        number=None,
        session_rule=SessionRule.NEVER,
        session_starts="nothing: there is no count",
        identity=Identity.NONE,
        trade_id=None,
        time="time",
        time_unit=TimeUnit.SECONDS,
        events=_CONTROL_EVENTS,
    )
    names = ("price", "volume", "time")

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, _ = stamped(value)
        if not text.lstrip().startswith(b"["):
            return _event(text, key)
        parts = parse(_PARTS, text)
        channel, pair = _named(parts)
        if channel != _TRADES:
            of_control(key, pair)
            return Message(event=channel.partition("-")[0])
        agreeing(key, None, typed("pair", pair, str))
        trades = [_trade(trade) for trade in parse(_TRADE_LIST, bytes(parts[1]))]
        return Message(trades, receive_time_ns=receive_time_ns, event=channel)


def _named(parts: list[msgspec.Raw]) -> tuple[str, str | None]:
    """The channel of a list and its pair; an account's own lists end with the channel and a count.

    Raises:
        RefusedError: it names no channel.
    """
    channel, pair = ([None, None] + [parse(_ANY, bytes(part)) for part in parts[-2:]])[-2:]
    is_public = isinstance(pair, str)
    if not isinstance(channel, str) or (is_public and len(parts) < _LIST_PARTS):
        detail = f"expected [id, payload, channel, pair], found {len(parts)} parts"
        raise refuse(Reason.WRONG_COLUMNS, None, detail)
    return channel, pair if is_public else None


def _event(text: bytes, key: bytes | None) -> Message:
    """A message that is no list: it names its event, and carries no trade."""
    message = parse(_EVENT, text)
    event = message.event
    if event is None and isinstance(message.errorMessage, str):
        event = "error"
    if not isinstance(event, str):
        detail = f"expected a list or an event, found {shown(message.event)}"
        raise refuse(Reason.UNKNOWN_MESSAGE, "event", detail)
    of_control(key, message.pair if isinstance(message.pair, str) else None)
    return Message(event=event)


def _trade(fields: list[Any]) -> Trade:
    if len(fields) < _TRADE_FIELDS:
        detail = f"expected {_TRADE_FIELDS} fields of a trade, found {len(fields)}"
        raise refuse(Reason.WRONG_COLUMNS, None, detail)
    price, volume, time, side, order_type, misc, *_ = fields
    side_found, unknown = meaning("side", side, _SIDES)
    kind = order_type if type(order_type) is str else ""
    words = misc.split() if type(misc) is str else []
    unread = {
        name: as_found(found)
        for name, found in (("order_type", order_type), ("misc", misc))
        if type(found) is not str and found is not None
    }
    conditions = [_ORDER_TYPES.get(kind, kind), *words]
    return Trade(
        typed("price", price, str),
        typed("volume", volume, str),
        decimal_seconds("time", time),
        None,
        side_found,
        [condition for condition in conditions if condition] or None,
        unknown=((unknown or {}) | unread) or None,
        time=time,
    )
