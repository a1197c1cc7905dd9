"""Binance: spot, USDⓈ-M and COIN-M futures, websocket messages as they came.

A value is `{"stream": ..., "data": {...}}` or the bare data object; a recorder's stamp may stand
before it, and either may be a list of events. The markets say the same things in the same fields
and count apart: a futures market stands in the key, and in the symbol, before the symbol.

`t` is trade id and sequence at once: it counts per symbol, without a gap and without an end. `m`
says that the buyer was the maker, so the aggressor sold. Fields as in Binance's "Web Socket
Streams".

An aggregate trade says the trades `f` to `l` once more as one, and has a count `a` of its own. Kept
apart by its key (`BINANCE:BTCUSDT@aggTrade`, the stream's own name), it is a trade of that symbol;
under the plain key it is control, since whoever sends both would have every trade twice.

The futures markets send `trade` messages that are none, with `X` of `NA` and neither price nor
quantity: control, whose number counts.

Which venue it is stands in the key: Binance US and the test networks speak the same protocol.
"""

from typing import Any

import msgspec

from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.decoding.decimals import is_zero
from k2_streams.feeds.decoding.decoded import Reason, refuse, shown
from k2_streams.feeds.decoding.keys import CHANNEL, agreeing, of_control
from k2_streams.feeds.decoding.messages import Message, MessageFeed, Trade
from k2_streams.feeds.decoding.native import (
    Known,
    as_found,
    number,
    parse,
    since_1970,
    stamped,
    typed,
)
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit

EXCHANGE = "BINANCE"  # as a recording's keys name it
AGGREGATES = f"{CHANNEL}aggTrade"
_AGGREGATE = "aggTrade"
_TRADES = frozenset({"trade", _AGGREGATE})
#: What messages are counted as that have no `e`.
_ANSWER, _ERROR, _BOOK, _LIST = "answer", "error", "book", "list"
#: A `trade` without price and quantity: its number counts.
_UNFILLED = "unfilled"
#: Messages without a trade that are counted by their own names.
_CONTROL_EVENTS = frozenset(
    {
        "1dTicker",
        "1hTicker",
        "24hrMiniTicker",
        "24hrTicker",
        "4hTicker",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE",
        "TRADE_LITE",
        "assetIndexUpdate",
        "avgPrice",
        "balanceUpdate",
        "bookTicker",
        "compositeIndex",
        "continuous_kline",
        "contractInfo",
        "depthUpdate",
        "executionReport",
        "forceOrder",
        "indexPriceUpdate",
        "indexPrice_kline",
        "kline",
        "listenKeyExpired",
        "markPriceUpdate",
        "markPrice_kline",
        "outboundAccountPosition",
        "serverShutdown",
        "tradingSession",
        _AGGREGATE,
        _ANSWER,
        _BOOK,
        _ERROR,
        _LIST,
        _UNFILLED,
    }
)
#: What most trades of the futures markets were; another word is a condition.
_ORDINARY = "MARKET"
#: The word of a message that is no trade, if it has neither price nor quantity.
_NO_FILL = "NA"


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
    T: Any = None  # trade time, ms or µs
    m: Any = None  # the buyer was the maker
    X: Any = None  # futures: what kind of a trade
    E: Any = None  # event time, ms or µs
    u: Any = None  # a book ticker has it, and no event
    lastUpdateId: Any = None  # noqa: N815 - the venue's name; a snapshot of the book has it
    result: Any = msgspec.UNSET  # an answer to a subscription has it, mostly null
    error: Any = msgspec.UNSET  # an answer that refuses has it, or `code` and `msg`
    code: Any = None
    msg: Any = None
    data: "_Message | list[_Message] | None" = None


_DECODER: msgspec.json.Decoder[_Message | list[_Message]] = msgspec.json.Decoder(
    _Message | list[_Message]
)


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
            number="t, or a (aggregates)",
            session_rule=SessionRule.NEVER,
            session_starts="nothing: one count without an end",
            identity=Identity.SEQUENCE,
            trade_id="t, or a (aggregates)",
            time="T",
            time_unit=TimeUnit.MILLISECONDS,
            events=_CONTROL_EVENTS,
        )

    def read(self, value: bytes, key: bytes | None) -> Message:
        """One record."""
        text, receive_time_ns, _ = stamped(value)
        whole = parse(_DECODER, text)
        found = whole if isinstance(whole, list) or whole.data is None else whole.data
        message = _one_of(found) if isinstance(found, list) else found
        if message.e == "trade" and type(message.s) is str:  # as nearly all
            agreeing(key, None, self._prefix + message.s)
            count = number("t", message.t)
            if message.X == _NO_FILL and _is_unfilled(message):
                return Message((), count, None, since_1970(message.T), None, _UNFILLED)
            return Message([_trade(message, count)], count, None, 0, receive_time_ns)
        if isinstance(message.e, str) and message.e in _TRADES:
            return self._aggregate(message, key, receive_time_ns)
        event = _control(message)
        if event is None:
            detail = f"expected a trade or a message known to hold none, found {shown(message.e)}"
            raise refuse(Reason.UNKNOWN_MESSAGE, "e", detail)
        is_named = isinstance(message.s, str) and not isinstance(found, list)
        of_control(key, self._prefix + message.s if is_named else None)
        return Message(time_ns=since_1970(message.E), event=event)

    def _aggregate(
        self, message: _Message, key: bytes | None, receive_time_ns: int | None
    ) -> Message:
        """An aggregate trade: a row under a key of its own, else control; or a nameless trade."""
        name = typed("s", message.s, str)
        if key is None or not key.endswith(AGGREGATES.encode()):
            agreeing(key, None, self._prefix + name)
            return Message(time_ns=since_1970(message.E), event=_AGGREGATE)
        agreeing(key, None, f"{self._prefix}{name}{AGGREGATES}")
        count = number("a", message.a)
        return Message([_trade(message, count)], count, None, 0, receive_time_ns)


def _one_of(events: list[_Message]) -> _Message:
    """The event that stands for a list.

    Raises:
        RefusedError: it holds a trade beside others. Each counts for itself, and a record counts
            once.
    """
    if len(events) == 1:
        return events[0]
    if any(isinstance(event.e, str) and event.e in _TRADES for event in events):
        detail = f"expected a record for each trade, found a list of {len(events)} events"
        raise refuse(Reason.UNKNOWN_MESSAGE, "e", detail)
    return next((event for event in events if _control(event) is None), _listed(events))


def _listed(events: list[_Message]) -> _Message:
    """The first event of a list that holds no trade."""
    return events[0] if events else _Message(e=_LIST)


def _control(message: _Message) -> str | None:
    """What a message without a trade is counted as; None if it is not known to hold none."""
    if isinstance(message.e, str):
        return message.e
    if message.e is not None:
        return None
    if message.error is not msgspec.UNSET or (
        isinstance(message.code, int) and isinstance(message.msg, str)
    ):
        return _ERROR
    if message.result is not msgspec.UNSET:
        return _ANSWER
    if isinstance(message.lastUpdateId, int):
        return _BOOK
    return "bookTicker" if isinstance(message.u, int) else None


def _is_unfilled(message: _Message) -> bool:
    """Whether a message has neither price nor quantity."""
    numbers = (message.p, message.q)
    return all(isinstance(number, str) and is_zero(number) for number in numbers)


def _trade(message: _Message, count: int) -> Trade:
    """A trade whose key agrees with it; its number counts even if another field is at fault."""
    price, quantity, time, is_sale = message.p, message.q, message.T, message.m
    time_ns = since_1970(time)
    # Of the types that nearly every trade has, looked at one by one only where one is another.
    if not (type(price) is type(quantity) is str and type(time) is int):
        known = Known(count, None, time_ns)
        for field, found, kind in (("p", price, str), ("q", quantity, str), ("T", time, int)):
            typed(field, found, kind, known)
    vendor = _span(message) if message.e == _AGGREGATE else None
    what = message.X
    conditions = [what] if isinstance(what, str) and what != _ORDINARY else None
    side, unknown = _side(is_sale)
    return Trade(
        price,
        quantity,
        time_ns,
        str(count),
        side,
        conditions,
        vendor,
        unknown=unknown,
        time=time,
    )


def _side(is_sale: Any) -> tuple[str | None, dict[str, str] | None]:
    """The aggressor's side, and what was found if it is unknown."""
    if type(is_sale) is bool:
        return "sell" if is_sale else "buy", None
    return (None, None) if is_sale is None else ("unknown", {"side": as_found(is_sale)})


def _span(message: _Message) -> dict[str, str] | None:
    """The trades that an aggregate says once more, where it says it."""
    first, last = message.f, message.l
    if type(first) is type(last) is int and 0 <= first <= last:
        return {"first_trade_id": str(first), "last_trade_id": str(last)}
    return None
