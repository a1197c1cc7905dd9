"""Binance spot: websocket messages as they came, with or without the recorder's receive time.

A value is `{"stream": ..., "data": {...}}` or the bare data object; a recording has the receive
time in ns and a blank before it. `t` is trade id and sequence at once: it counts per symbol,
without a gap and without an end. `m` says that the buyer was the maker, so the aggressor sold.
Fields as in Binance's "Web Socket Streams for Binance".
"""

from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from k2_streams.core.sessions import SessionRule
from k2_streams.feeds.columns import TradeColumns, finish
from k2_streams.feeds.decoded import (
    MAX_INT64,
    Decoded,
    RawBatch,
    Reason,
    Refusal,
    RefusedError,
    readable,
    refuse,
    shown,
)
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.keys import KeyColumn, agreeing

EXCHANGE = "BINANCE"
_MS_NS = 1_000_000
#: Known messages that carry no trade of their own. `aggTrade` repeats what `trade` said.
_CONTROL_EVENTS = frozenset(
    {
        "24hrMiniTicker",
        "24hrTicker",
        "1hTicker",
        "4hTicker",
        "1dTicker",
        "aggTrade",
        "avgPrice",
        "depthUpdate",
        "kline",
        "serverShutdown",
    }
)
_DIGITS = b"0123456789"
_MAX_TIME_DIGITS = 19  # of 2^63 - 1
_Kind = TypeVar("_Kind")


class _Message(msgspec.Struct, gc=False):
    """What of a message is looked at. The types are checked by hand, to name the field."""

    e: Any = None  # event
    s: Any = None  # symbol
    t: Any = None  # trade id
    p: Any = None  # price
    q: Any = None  # quantity
    T: Any = None  # trade time, ms
    m: Any = None  # the buyer was the maker
    E: Any = None  # event time, ms
    u: Any = None  # a book ticker has it, and no event
    lastUpdateId: Any = None  # noqa: N815 - the venue's name; a snapshot of the book has it
    result: Any = msgspec.UNSET  # an answer to a subscription has it, mostly null
    data: "_Message | None" = None


_DECODER = msgspec.json.Decoder(_Message)


class _Trade(NamedTuple):
    """A trade, its numbers still text."""

    price: str
    quantity: str
    time_ns: int
    sequence: int
    side: str
    receive_time_ns: int | None


class BinanceSpot:
    """Binance's spot market, one sequence a symbol that never starts again."""

    name = "binance.spot"
    description = Description(
        counts_over=CountsOver.SYMBOL,
        number="t",
        session_rule=SessionRule.NEVER,
        session_starts="nothing: one count without an end",
        identity=Identity.SEQUENCE,
        trade_id="t",
        time="T",
        time_unit=TimeUnit.MILLISECONDS,
    )

    def decode(self, batch: RawBatch) -> Decoded:
        """Decode a batch. A record's outcome does not depend on its neighbours."""
        messages: list[int] = []
        trades: list[_Trade] = []
        refused: dict[int, Refusal] = {}
        control: dict[int, int] = {}
        for message, value in enumerate(batch.values):
            try:
                outcome = _read(readable(value), batch.keys[message])
            except RefusedError as error:
                refused[message] = error.refusal
                continue
            if isinstance(outcome, _Trade):
                messages.append(message)
                trades.append(outcome)
            else:
                control[message] = outcome
        columns = TradeColumns(
            message=np.array(messages, dtype=np.int32),
            prices=[trade.price for trade in trades],
            quantities=[trade.quantity for trade in trades],
            event_time_ns=np.array([trade.time_ns for trade in trades], dtype=np.int64),
            sequence=np.array([trade.sequence for trade in trades], dtype=np.int64),
            trade_ids=[str(trade.sequence) for trade in trades],
            sides=[trade.side for trade in trades],
            receive_times_ns=[trade.receive_time_ns for trade in trades],
            names=("p", "q", "T"),
        )
        return finish(batch, KeyColumn.of(batch.keys), columns, refused, control=control)


def _read(value: bytes, key: bytes | None) -> _Trade | int:
    """One record: a trade, or the event time in ns (0 if none) of a message without a trade."""
    text, receive_time_ns = _received(value)
    whole = _parse(text)
    message = whole.data or whole
    if not (_is_control(message) or message.e == "trade"):
        detail = f"expected a trade or a message known to hold none, found {shown(message.e)}"
        raise refuse(Reason.UNKNOWN_MESSAGE, "e", detail)
    if message.s is None and message.e == "trade":
        raise refuse(Reason.MISSING_FIELD, "s", "expected the symbol, found none")
    if not isinstance(message.s, str | None):
        raise refuse(Reason.WRONG_TYPE, "s", f"expected a string, found {shown(message.s)}")
    agreeing(key, EXCHANGE, message.s)
    if message.e == "trade":
        return _trade(message, receive_time_ns)
    return message.E * _MS_NS if _is_time_ms(message.E) else 0


def _received(value: bytes) -> tuple[bytes, int | None]:
    """The message, and the receive time that a recorder wrote before it."""
    if value[0] not in _DIGITS:
        return value, None
    head, _, text = value.partition(b" ")
    if not head.isdigit() or len(head) > _MAX_TIME_DIGITS or int(head) > MAX_INT64:
        detail = f"expected a receive time in ns before the message, found {shown(head)}"
        raise refuse(Reason.NOT_JSON, None, detail)
    return text, int(head)


def _parse(text: bytes) -> _Message:
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise refuse(Reason.TOO_DEEP, None, "expected a few levels, found too many") from None
    except msgspec.ValidationError as error:
        raise refuse(Reason.WRONG_TYPE, None, f"expected a message: {error}") from None
    except msgspec.DecodeError as error:
        raise refuse(Reason.NOT_JSON, None, f"expected JSON: {error}") from None


def _is_control(message: _Message) -> bool:
    """Whether a message is known to hold no trade."""
    if message.e is None:
        known = (message.lastUpdateId, message.u)
        return message.result is not msgspec.UNSET or any(isinstance(n, int) for n in known)
    return isinstance(message.e, str) and message.e in _CONTROL_EVENTS


def _is_time_ms(found: Any) -> bool:
    return type(found) is int and 0 <= found <= MAX_INT64 // _MS_NS


def _trade(message: _Message, receive_time_ns: int | None) -> _Trade:
    """A trade whose key agrees with it; its number counts even if another field is at fault."""
    number = _typed("t", message.t, int)
    if not 0 <= number <= MAX_INT64:
        detail = f"expected 0 to 2^63 - 1, found {shown(number)}"
        raise refuse(Reason.SEQUENCE_RANGE, "t", detail)
    time_ns = message.T * _MS_NS if _is_time_ms(message.T) else 0
    read = (number, None, time_ns)
    price = _typed("p", message.p, str, *read)
    quantity = _typed("q", message.q, str, *read)
    _typed("T", message.T, int, *read)
    side = "sell" if _typed("m", message.m, bool, *read) else "buy"
    return _Trade(price, quantity, time_ns, number, side, receive_time_ns)


def _typed(field: str, found: Any, kind: type[_Kind], *read: Any) -> _Kind:
    """A field that must be there and of this type; `read` is what the sequence is known to be."""
    if found is None:
        detail = f"expected {kind.__name__}, found none"
        raise refuse(Reason.MISSING_FIELD, field, detail, *read)
    if type(found) is not kind:
        detail = f"expected {kind.__name__}, found {shown(found)}"
        raise refuse(Reason.WRONG_TYPE, field, detail, *read)
    return found
