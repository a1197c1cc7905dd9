"""Every kind of input that K2 must send to the dead letters, and the reason it must give.

Each kind is a good trade with one thing wrong. Of a *readable* one the scope, session and number
can still be read: its number counts as received, and no gap opens. The others carry no number.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

#: A raw record's value may be this long. It is `feeds.decoding.decoded.MAX_VALUE_BYTES`, repeated:
#: what a test expects does not come from what it tests.
_LONGEST_VALUE_BYTES = 262_144
#: A number that would open an enormous gap, were it taken for its scope's.
_UNBELIEVABLE = 999_999_999_999
_YEAR_1980_NS = 315_532_800_000_000_000
_YEAR_2200_NS = 7_258_118_400_000_000_000


class InvalidRecord(NamedTuple):
    """A record as it goes to the topic. `misplaced`: to another partition than its key's."""

    key: bytes | None
    value: bytes | None
    feed: str | None = None
    misplaced: bool = False


@dataclass(slots=True)
class Good:
    """A trade in the canonical format, about to be spoiled."""

    exchange: str
    symbol: str
    fields: dict[str, Any]

    @property
    def key(self) -> bytes:
        """The scope's key."""
        return f"{self.exchange}:{self.symbol}".encode()

    @property
    def value(self) -> bytes:
        """The JSON object."""
        return json.dumps(self.fields, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class InvalidKind:
    """One way to be wrong."""

    name: str
    reason: str  # what `k2.reason` must say
    readable: bool  # whether the number counts as received
    spoil: Callable[[Good], InvalidRecord]


def _with(field: str, value: Any) -> Callable[[Good], InvalidRecord]:
    def spoil(good: Good) -> InvalidRecord:
        good.fields[field] = value
        return InvalidRecord(good.key, good.value)

    return spoil


def _without(field: str) -> Callable[[Good], InvalidRecord]:
    def spoil(good: Good) -> InvalidRecord:
        del good.fields[field]
        return InvalidRecord(good.key, good.value)

    return spoil


def _value(make: Callable[[bytes], bytes | None]) -> Callable[[Good], InvalidRecord]:
    def spoil(good: Good) -> InvalidRecord:
        return InvalidRecord(good.key, make(good.value))

    return spoil


def _renamed(exchange: str | None, symbol: str | None) -> Callable[[Good], InvalidRecord]:
    """Key and value agree on a name that is not allowed."""

    def spoil(good: Good) -> InvalidRecord:
        good.exchange = good.fields["exchange"] = exchange or good.exchange
        good.symbol = good.fields["symbol"] = symbol or good.symbol
        return InvalidRecord(good.key, good.value)

    return spoil


def _not_utf8(value: bytes) -> bytes:
    return value.replace(b"exchange", b"\xff", 1)


def _null_key(good: Good) -> InvalidRecord:
    good.fields["sequence"] = _UNBELIEVABLE
    return InvalidRecord(None, good.value)


def _other_key(good: Good) -> InvalidRecord:
    key = good.key
    good.fields |= {"symbol": "NOT.THE.KEY", "sequence": _UNBELIEVABLE}
    return InvalidRecord(key, good.value)


def _unknown_feed(good: Good) -> InvalidRecord:
    return InvalidRecord(good.key, good.value, feed="no.such.feed")


def _wrong_partition(good: Good) -> InvalidRecord:
    good.fields["sequence"] = _UNBELIEVABLE
    return InvalidRecord(good.key, good.value, misplaced=True)


def _oversized(good: Good) -> InvalidRecord:
    good.fields["vendor"] = {"filler": "x" * _LONGEST_VALUE_BYTES}
    return InvalidRecord(good.key, good.value)


def _unreadable(name: str, reason: str, spoil: Callable[[Good], InvalidRecord]) -> InvalidKind:
    return InvalidKind(name, reason, readable=False, spoil=spoil)


def _readable(name: str, reason: str, spoil: Callable[[Good], InvalidRecord]) -> InvalidKind:
    return InvalidKind(name, reason, readable=True, spoil=spoil)


#: Append only: a seed's messages depend on the order.
KINDS: tuple[InvalidKind, ...] = (
    _unreadable("cut-json", "not-json", _value(lambda value: value[:-1])),
    _unreadable("nan-literal", "not-json", _with("price", float("nan"))),
    _unreadable("two-values", "not-json", _value(lambda value: b"%b\n%b" % (value, value))),
    _unreadable("opened-text", "not-json", _value(lambda _: b'{"a":"x')),
    _unreadable("closed-text", "not-json", _value(lambda _: b'y"}')),
    _unreadable("bad-utf8", "not-utf8", _value(_not_utf8)),
    _unreadable("empty", "empty", _value(lambda _: b"")),
    _unreadable("null", "empty", _value(lambda _: None)),
    _unreadable("null-key", "null-key", _null_key),
    _unreadable("other-key", "key-mismatch", _other_key),
    _unreadable("oversized", "oversized", _oversized),
    _unreadable("unknown-feed", "unknown-feed", _unknown_feed),
    _unreadable("wrong-partition", "wrong-partition", _wrong_partition),
    _unreadable("long-symbol", "bad-symbol", _renamed(None, "S" * 65)),
    _unreadable("bad-exchange", "bad-exchange", _renamed("NOT ONE", None)),
    _unreadable("huge-sequence", "sequence-range", _with("sequence", 2**63)),
    _unreadable("negative-sequence", "sequence-range", _with("sequence", -1)),
    _unreadable("text-sequence", "wrong-type", _with("sequence", "7")),
    _unreadable("long-session", "bad-session", _with("session", "s" * 65)),
    _readable("nan-price", "not-finite", _with("price", "NaN")),
    _readable("infinite-quantity", "not-finite", _with("quantity", "Infinity")),
    _readable("negative-price", "not-positive", _with("price", "-1.00")),
    _readable("zero-price", "not-positive", _with("price", "0")),
    _readable("zero-quantity", "not-positive", _with("quantity", 0)),
    _readable("precise-price", "too-precise", _with("price", "1.1234567890123456789")),
    _readable("huge-price", "out-of-range", _with("price", "123456789012345678901")),
    _readable("no-price", "missing-field", _without("price")),
    _readable("no-time", "missing-field", _without("exchange_time_ns")),
    _readable("list-quantity", "wrong-type", _with("quantity", [])),
    _readable("text-time", "wrong-type", _with("exchange_time_ns", "soon")),
    _readable("old-time", "bad-time", _with("exchange_time_ns", _YEAR_1980_NS)),
    _readable("far-time", "bad-time", _with("exchange_time_ns", _YEAR_2200_NS)),
    _readable("bad-action", "bad-action", _with("action", "unsay")),
)

BY_NAME = {kind.name: index for index, kind in enumerate(KINDS)}
