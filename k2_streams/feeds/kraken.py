"""Kraken's first websocket API: trades with neither id nor sequence.

A message is a list `[channel id, payload ..., channel name, pair]`, or an object that names an
`event`. Nothing tells a repeated trade from a new one but its place in the raw topic, so K2 cannot
recognise one, nor a loss. A trade is `[price, volume, time, side, order type, misc]`; the side is
the aggressor's.
"""

from typing import Any

import msgspec

from k2_streams.core.sessions import SessionRule
from k2_streams.feeds.decoded import Reason, refuse, shown
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.keys import agreeing
from k2_streams.feeds.messages import Message, MessageFeed, Trade
from k2_streams.feeds.native import decimal_seconds, one_of, parse, stamped, typed

EXCHANGE = "KRAKEN"
_SIDES = {"b": "buy", "s": "sell"}
_ORDER_TYPES = {"m": "market", "l": "limit"}
_CONTROL_CHANNELS = ("book", "ohlc", "spread", "ticker")  # book-1000, ohlc-5
_CONTROL_EVENTS = frozenset({"error", "heartbeat", "pong", "subscriptionStatus", "systemStatus"})
#: A trade has six fields; later versions may add some.
_TRADE_FIELDS = 6


class _Event(msgspec.Struct, gc=False):
    event: Any = None
    pair: Any = None


_EVENT = msgspec.json.Decoder(_Event)
_PARTS = msgspec.json.Decoder(list[msgspec.Raw])
_NAME = msgspec.json.Decoder(str)
_TRADES = msgspec.json.Decoder(list[list[Any]])


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
    )
    names = ("price", "volume", "time")

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, _ = stamped(value)
        if not text.lstrip().startswith(b"["):
            return _event(text, key)
        parts = parse(_PARTS, text)
        if len(parts) < 4:
            detail = f"expected [id, payload, channel, pair], found {len(parts)} parts"
            raise refuse(Reason.WRONG_COLUMNS, None, detail)
        channel, pair = parse(_NAME, bytes(parts[-2])), parse(_NAME, bytes(parts[-1]))
        if channel != "trade" and channel.partition("-")[0] not in _CONTROL_CHANNELS:
            detail = f"expected trade or a channel without trades, found {shown(channel)}"
            raise refuse(Reason.UNKNOWN_MESSAGE, "channel", detail)
        agreeing(key, EXCHANGE, pair)
        if channel != "trade":
            return Message()
        trades = [_trade(trade) for trade in parse(_TRADES, bytes(parts[1]))]
        return Message(trades, receive_time_ns=receive_time_ns)


def _event(text: bytes, key: bytes | None) -> Message:
    """A message that is no list: known by its event, and without a trade."""
    message = parse(_EVENT, text)
    if not (isinstance(message.event, str) and message.event in _CONTROL_EVENTS):
        detail = f"expected a list or a known event, found {shown(message.event)}"
        raise refuse(Reason.UNKNOWN_MESSAGE, "event", detail)
    pair = message.pair
    agreeing(key, EXCHANGE, None if pair is None else typed("pair", pair, str))
    return Message()


def _trade(fields: list[Any]) -> Trade:
    if len(fields) < _TRADE_FIELDS:
        detail = f"expected {_TRADE_FIELDS} fields of a trade, found {len(fields)}"
        raise refuse(Reason.WRONG_COLUMNS, None, detail)
    price, volume, time, side, order_type, misc, *_ = fields
    kind = typed("order type", order_type, str)
    conditions = [_ORDER_TYPES.get(kind, kind), *typed("misc", misc, str).split()]
    return Trade(
        typed("price", price, str),
        typed("volume", volume, str),
        decimal_seconds("time", time),
        None,
        one_of("side", side, _SIDES),
        [condition for condition in conditions if condition] or None,
    )
