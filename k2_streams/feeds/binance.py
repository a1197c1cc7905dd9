"""Binance: spot, USDⓈ-M and COIN-M futures, websocket messages as they came.

A value is `{"stream": ..., "data": {...}}` or the bare data object; a recorder's stamp may stand
before it. The markets say the same things in the same fields and count apart: a futures market
stands in the key, and in the symbol, before the symbol.

`t` is trade id and sequence at once: it counts per symbol, without a gap and without an end. `m`
says that the buyer was the maker, so the aggressor sold. Fields as in Binance's "Web Socket
Streams".

An aggregate trade says the trades `f` to `l` once more as one, and has a count `a` of its own. Kept
apart by its key (`BINANCE:BTCUSDT@aggTrade`, the stream's own name), it is a trade of that symbol;
under the plain key it is control, since whoever sends both would have every trade twice.
"""

from typing import Any

import msgspec

from k2_streams.core.sessions import SessionRule
from k2_streams.feeds.decoded import Reason, refuse, shown
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.keys import CHANNEL, agreeing
from k2_streams.feeds.messages import Message, MessageFeed, Trade
from k2_streams.feeds.native import Known, from_ms, number, parse, stamped, typed

EXCHANGE = "BINANCE"
AGGREGATES = f"{CHANNEL}aggTrade"
#: Known messages that carry no trade of their own.
_CONTROL_EVENTS = frozenset(
    {
        "24hrMiniTicker",
        "24hrTicker",
        "1hTicker",
        "4hTicker",
        "1dTicker",
        "avgPrice",
        "bookTicker",
        "compositeIndex",
        "continuous_kline",
        "contractInfo",
        "depthUpdate",
        "forceOrder",
        "indexPriceUpdate",
        "indexPrice_kline",
        "kline",
        "markPriceUpdate",
        "markPrice_kline",
        "serverShutdown",
    }
)
#: What most trades of the futures markets were; another word is a condition.
_ORDINARY = "MARKET"


class _Message(msgspec.Struct, gc=False):
    """What of a message is looked at. The types are checked by hand, to name the field."""

    e: Any = None  # event
    s: Any = None  # symbol
    t: Any = None  # trade id
    a: Any = None  # aggregate's id; a list in a book update
    f: Any = None  # its first trade's id
    l: Any = None  # noqa: E741 - the venue's name; its last trade's id
    p: Any = None  # price
    q: Any = None  # quantity
    T: Any = None  # trade time, ms
    m: Any = None  # the buyer was the maker
    X: Any = None  # futures: what kind of a trade
    E: Any = None  # event time, ms
    u: Any = None  # a book ticker has it, and no event
    lastUpdateId: Any = None  # noqa: N815 - the venue's name; a snapshot of the book has it
    result: Any = msgspec.UNSET  # an answer to a subscription has it, mostly null
    data: "_Message | None" = None


_DECODER = msgspec.json.Decoder(_Message)


class Binance(MessageFeed):
    """One of Binance's markets, one sequence a symbol that never starts again.

    Args:
        name: of the feed.
        market: as it stands in the key; "" for spot, whose key is the symbol's alone.
    """

    names = ("p", "q", "T")

    def __init__(self, name: str, market: str = "") -> None:
        self.name = name
        self._prefix = f"{market}:" if market else ""
        self.description = Description(
            counts_over=CountsOver.MARKET_SYMBOL if market else CountsOver.SYMBOL,
            number="t; a of an aggregate",
            session_rule=SessionRule.NEVER,
            session_starts="nothing: one count without an end",
            identity=Identity.SEQUENCE,
            trade_id="t; a of an aggregate",
            time="T",
            time_unit=TimeUnit.MILLISECONDS,
        )

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, _ = stamped(value)
        whole = parse(_DECODER, text)
        message = whole.data or whole
        if message.e == "trade" and type(message.s) is str:  # as nearly all
            agreeing(key, EXCHANGE, self._prefix + message.s)
            count = number("t", message.t)
            return Message([_trade(message, count)], count, None, 0, receive_time_ns)
        is_trade = message.e in ("trade", "aggTrade")
        if not (is_trade or _is_control(message)):
            detail = f"expected a trade or a message known to hold none, found {shown(message.e)}"
            raise refuse(Reason.UNKNOWN_MESSAGE, "e", detail)
        if message.s is None and is_trade:
            raise refuse(Reason.MISSING_FIELD, "s", "expected the symbol, found none")
        if not isinstance(message.s, str | None):
            raise refuse(Reason.WRONG_TYPE, "s", f"expected a string, found {shown(message.s)}")
        apart = self._is_kept_apart(message, key)
        agreeing(key, EXCHANGE, self._symbol(message.s, apart=apart))
        if apart:
            count = number("a", message.a)
            return Message([_trade(message, count)], count, None, 0, receive_time_ns)
        return Message(time_ns=from_ms(message.E))

    def _symbol(self, name: str | None, *, apart: bool) -> str | None:
        """The symbol that the key must have."""
        if name is None:
            return None
        return f"{self._prefix}{name}{AGGREGATES if apart else ''}"

    def _is_kept_apart(self, message: _Message, key: bytes | None) -> bool:
        """Whether this is an aggregate trade under a key of aggregates."""
        return message.e == "aggTrade" and key is not None and key.endswith(AGGREGATES.encode())


def _is_control(message: _Message) -> bool:
    """Whether a message is known to hold no trade."""
    if message.e is None:
        known = (message.lastUpdateId, message.u)
        return message.result is not msgspec.UNSET or any(isinstance(n, int) for n in known)
    return isinstance(message.e, str) and message.e in _CONTROL_EVENTS


def _trade(message: _Message, count: int) -> Trade:
    """A trade whose key agrees with it; its number counts even if another field is at fault."""
    price, quantity, time_ms, is_sale = message.p, message.q, message.T, message.m
    time_ns = from_ms(time_ms)
    # Of the types that nearly every trade has, looked at one by one only where one is another.
    if not (
        type(price) is type(quantity) is str and type(time_ms) is int and type(is_sale) is bool
    ):
        known = Known(count, None, time_ns)
        for field, found, kind in (
            ("p", price, str), ("q", quantity, str), ("T", time_ms, int), ("m", is_sale, bool)
        ):  # fmt: skip
            typed(field, found, kind, known)
    vendor = _span(message, Known(count, None, time_ns)) if message.e == "aggTrade" else None
    what = message.X
    conditions = [what] if isinstance(what, str) and what != _ORDINARY else None
    side = "sell" if is_sale else "buy"
    return Trade(price, quantity, time_ns, str(count), side, conditions, vendor)


def _span(message: _Message, known: Known) -> dict[str, str]:
    """The trades that an aggregate says once more."""
    first, last = typed("f", message.f, int, known), typed("l", message.l, int, known)
    if not 0 <= first <= last:
        detail = f"expected a last trade id of {first} or more, found {shown(last)}"
        raise refuse(Reason.OUT_OF_RANGE, "l", detail, *known)
    return {"first_trade_id": str(first), "last_trade_id": str(last)}
