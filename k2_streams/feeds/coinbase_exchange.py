"""Coinbase Exchange: `match` messages, one sequence of trade ids a product.

`trade_id` counts a product's trades without a gap and without an end. `sequence` does not: it is
shared with messages of channels that were not asked for. `side` is the maker's, so the aggressor's
is the other. On subscription `last_match` says a product's last trade once more: it is the trade
before the first match, and after a reconnection a repetition, or the end of a gap.
"""

from typing import Any

import msgspec

from k2_streams.core.sessions import SessionRule
from k2_streams.feeds.decoded import Reason, RefusedError, refuse, shown
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.keys import agreeing
from k2_streams.feeds.messages import Message, MessageFeed, Trade
from k2_streams.feeds.native import (
    Known,
    number,
    one_of,
    parse,
    rfc_3339,
    stamped,
    typed,
)

EXCHANGE = "COINBASE"
#: The aggressor's side by the maker's.
AGGRESSOR = {"buy": "sell", "sell": "buy"}
_TRADES = ("match", "last_match")
_CONTROL_TYPES = frozenset(
    {
        "activate",
        "auction",
        "change",
        "done",
        "error",
        "heartbeat",
        "l2update",
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


_DECODER = msgspec.json.Decoder(_Message)


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
    )
    names = ("price", "size", "time")

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, _ = stamped(value)
        message = parse(_DECODER, text)
        is_trade = message.type in _TRADES
        if not is_trade and not (isinstance(message.type, str) and message.type in _CONTROL_TYPES):
            detail = (
                f"expected a match or a message known to hold none, found {shown(message.type)}"
            )
            raise refuse(Reason.UNKNOWN_MESSAGE, "type", detail)
        product = message.product_id
        if is_trade or product is not None:
            product = typed("product_id", product, str)
        agreeing(key, EXCHANGE, product)
        if is_trade:
            count = number("trade_id", message.trade_id)
            return Message([_trade(message, count)], count, None, 0, receive_time_ns)
        return Message()


def _trade(message: _Message, count: int) -> Trade:
    """A match whose key agrees with it; its number counts even if another field is at fault."""
    try:
        known = Known(count, None, rfc_3339("time", message.time))
    except RefusedError:
        known = Known(count)
    price = typed("price", message.price, str, known)
    quantity = typed("size", message.size, str, known)
    time_ns = rfc_3339("time", message.time, known)
    side = one_of("side", message.side, AGGRESSOR, known)
    orders = {
        name: order
        for name, order in (
            ("maker_order_id", message.maker_order_id),
            ("taker_order_id", message.taker_order_id),
        )
        if isinstance(order, str)
    }
    conditions = ["last_match"] if message.type == "last_match" else None
    return Trade(price, quantity, time_ns, str(count), side, conditions, orders or None)
