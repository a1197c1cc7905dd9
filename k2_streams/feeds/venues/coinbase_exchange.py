"""Coinbase Exchange: `match` messages, one sequence of trade ids per product.

`trade_id` counts a product's trades without a gap and without an end. `sequence` does not: it is
shared with messages of channels that were not asked for. `side` is the maker's, so the aggressor's
is the other. On subscription `last_match` says a product's last trade once more: it is the trade
before the first match, and after a reconnection it is a repetition, or the end of a gap.
"""

from typing import Any

import msgspec

from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.decoding.decoded import Reason, RefusedError, refuse, shown
from k2_streams.feeds.decoding.keys import agreeing, of_control
from k2_streams.feeds.decoding.messages import Message, MessageFeed, Trade
from k2_streams.feeds.decoding.native import (
    Known,
    meaning,
    number,
    parse,
    rfc_3339,
    stamped,
    typed,
)
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit

EXCHANGE = "COINBASE"
#: The aggressor's side by the maker's.
AGGRESSOR = {"buy": "sell", "sell": "buy"}
_TRADES = ("match", "last_match")
_CONTROL_EVENTS = frozenset(
    {
        "activate",
        "auction",
        "change",
        "done",
        "error",
        "heartbeat",
        "l2update",
        "level3",
        "open",
        "received",
        "rfq_match",
        "snapshot",
        "status",
        "subscriptions",
        "ticker",
    }
)


class _Message(msgspec.Struct, gc=False):
    """What of a message is looked at. The types are checked by hand, to name the field."""

    type: Any = None
    product_id: Any = None
    trade_id: Any = None
    price: Any = None
    size: Any = None
    side: Any = None
    time: Any = None
    maker_order_id: Any = None
    taker_order_id: Any = None


_DECODER: msgspec.json.Decoder[_Message | list[Any]] = msgspec.json.Decoder(_Message | list[Any])


class CoinbaseExchange(MessageFeed):
    """Coinbase's exchange feed, one sequence a product that never starts again."""

    name = "coinbase.exchange"
    description = Description(
        counts_over=CountsOver.SYMBOL,
        number="trade_id",
        session_rule=SessionRule.NEVER,
        session_starts="nothing: one count without an end",
        identity=Identity.SEQUENCE,
        trade_id="trade_id",
        time="time",
        time_unit=TimeUnit.RFC_3339,
        events=_CONTROL_EVENTS,
    )
    names = ("price", "size", "time")

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, _ = stamped(value)
        message = parse(_DECODER, text)
        if isinstance(message, list):
            return _level3(message, key)
        if not isinstance(message.type, str):
            detail = f"expected a message with a type, found {shown(message.type)}"
            raise refuse(Reason.UNKNOWN_MESSAGE, "type", detail)
        if message.type not in _TRADES:
            product = message.product_id
            of_control(key, product if isinstance(product, str) else None)
            return Message(event=message.type)
        agreeing(key, None, typed("product_id", message.product_id, str))
        count = number("trade_id", message.trade_id)
        return Message([_trade(message, count)], count, None, 0, receive_time_ns)


def _level3(parts: list[Any], key: bytes | None) -> Message:
    """A message of the `level3` channel: `[type, product, sequence, ...]`, of orders.

    Raises:
        RefusedError: it is none, or a match, which has no trade id there.
    """
    kind = parts[0] if parts else None
    if not isinstance(kind, str) or kind in _TRADES:
        detail = (
            "expected a message with a type, found "
            f"{'a match of level3, without a trade id' if kind in _TRADES else shown(kind)}"
        )
        raise refuse(Reason.UNKNOWN_MESSAGE, "type", detail)
    agreeing(key, None, None)
    return Message(event="level3")


def _trade(message: _Message, count: int) -> Trade:
    """A match whose key agrees with it; its number counts even if another field is at fault."""
    try:
        known = Known(count, None, rfc_3339("time", message.time))
    except RefusedError:
        known = Known(count)
    price = typed("price", message.price, str, known)
    quantity = typed("size", message.size, str, known)
    time_ns = rfc_3339("time", message.time, known)
    side, unknown = meaning("side", message.side, AGGRESSOR)
    orders = {
        name: order
        for name, order in (
            ("maker_order_id", message.maker_order_id),
            ("taker_order_id", message.taker_order_id),
        )
        if isinstance(order, str)
    }
    conditions = ["last_match"] if message.type == "last_match" else None
    return Trade(
        price,
        quantity,
        time_ns,
        str(count),
        side,
        conditions,
        orders or None,
        unknown=unknown,
        time=message.time,
    )
