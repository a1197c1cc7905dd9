"""One canonical record at a time: the decoder that defines what a format means.

A `Shape` says which fields a record has; trades and quotes have one each. `read` looks at
the fields one by one (`canonical.fields`), so that it can say which one is at fault. It is slow;
the batch decoder uses it for the records that its quick way refuses, and is tested against it.
"""

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Raw

from k2_streams.core.enrich.instruments import PriceDomain, PriceDomains, positive_prices
from k2_streams.feeds.canonical import fields
from k2_streams.feeds.canonical.fields import TEXT, Check, FieldError, NumberCheck
from k2_streams.feeds.decoding import keys
from k2_streams.feeds.decoding.decoded import (
    MAX_INT64,
    MIN_EVENT_TIME_NS,
    Fault,
    Reason,
    Refusal,
    RefusedError,
    readable,
    refuse,
    shown,
)

#: Deeper nesting than this, in fields that K2 does not know, is refused: the parser's own limit
#: depends on how deep its caller's stack is, and a verdict must not.
MAX_DEPTH = 64

Number = TypeVar("Number")  # str where prices are decimal strings; Raw for the JSON text itself


class CanonicalRecord(msgspec.Struct, kw_only=True, gc=False):
    """What every canonical record says, whatever its shape."""

    exchange: str
    symbol: str
    exchange_time_ns: Annotated[int, Meta(ge=MIN_EVENT_TIME_NS, le=MAX_INT64)]
    sequence: Annotated[int, Meta(ge=0, le=MAX_INT64)] | None = None
    session: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    conditions: list[str] | None = None
    vendor: dict[str, str] | None = None
    receive_time_ns: Annotated[int, Meta(ge=0, le=MAX_INT64)] | None = None


class Need(enum.Enum):
    """Whether a field must be there."""

    VALUE = "a value"
    FIELD = "the field; null is a value"
    NONE = "nothing"


RecordT = TypeVar("RecordT", bound=CanonicalRecord)


@dataclass(frozen=True, slots=True)
class Shape(Generic[RecordT]):
    """The fields of a kind of record.

    Attributes:
        record: what `read` gives.
        before: its numbers, which stand before the event time, and what checks each, in the order
            of the contract.
        behind: its other fields, which stand behind the sequence, in the same way.
        optional: attributes of its own that may be lost, what checks each, and what it is then.
        strict: decodes a record with no other fields whose numbers are strings.
        strict_raw: the same whose numbers may be JSON numbers, kept as their text.
        loose: the same with other fields.
        together: what is wrong with fields that are right one by one, and which is to blame.
    """

    record: type[RecordT]
    before: Mapping[str, tuple[NumberCheck, Need]]
    behind: Mapping[str, tuple[Check, Need]]
    strict: "msgspec.json.Decoder[RecordT]"
    strict_raw: "msgspec.json.Decoder[RecordT]"
    loose: "msgspec.json.Decoder[RecordT]"
    optional: Mapping[str, tuple[Check, Any]] = field(default_factory=dict)
    together: "Callable[[Mapping[str, Any]], tuple[str, Fault] | None]" = lambda _: None
    known: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the names."""
        object.__setattr__(self, "known", frozenset(self.record.__struct_fields__))

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Those of a record's fields that K2 does not know, in the record's order."""
        return [name for name in names if name not in self.known]


_MISSING = Fault(Reason.MISSING_FIELD, "expected the field, found none")
_ANY_FIELDS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
#: A bracket as what it does to the depth: +1, or -1 in a signed byte.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def _in_domain(check: NumberCheck, domain: PriceDomain, text: bytes) -> Any:
    return check(text, domain)


class Outcome(NamedTuple, Generic[RecordT]):
    """What a record is."""

    result: RecordT | Refusal
    unknown: tuple[str, ...] = ()  # attributes whose value K2 does not know


def read(
    shape: Shape[RecordT],
    value: bytes | None,
    key: bytes | None,
    append_time_ms: int,
    price_domains: PriceDomains = positive_prices,
) -> RecordT | Refusal:
    """The result of `outcome`."""
    return outcome(shape, value, key, append_time_ms, price_domains).result


def outcome(
    shape: Shape[RecordT],
    value: bytes | None,
    key: bytes | None,
    append_time_ms: int,
    price_domains: PriceDomains,
) -> Outcome[RecordT]:
    """Decode one record.

    Returns:
        The record, its fields valid, its prices shortened to plain decimal text and fields that K2
        does not know merged into `vendor`, and with them the values of optional attributes that K2
        does not know; or the first fault, in the order of the contract's fields, with what can be
        read of its sequence.
    """
    try:
        given = _parse(readable(value))
    except RefusedError as error:
        return Outcome(error.refusal)
    if key is None:
        detail = "expected EXCHANGE:SYMBOL, found none"
        return Outcome(Refusal(Reason.NULL_KEY, "key", detail))
    found = _Found(given)
    take, faults = found.take, found.faults
    exchange = take("exchange", fields.exchange, Need.VALUE)
    symbol = take("symbol", fields.symbol, Need.VALUE)
    if not _agrees(key, exchange, symbol, faults):
        return _refused(faults)
    # Behind a fault nothing matters but what the record's number is.
    read_time = fields.event_time(append_time_ms)
    if not faults:
        _take_numbers(shape, found, found.price_domain(price_domains, read_time))
    time_ns = take("exchange_time_ns", read_time, Need.VALUE)
    sequence = take("sequence", fields.sequence)
    session = take("session", fields.session)
    if not faults:
        _take_others(shape, found)
    if faults:
        is_known = sequence is not None and "session" not in faults
        return _refused(faults, *((sequence, session, time_ns or 0) if is_known else ()))
    kept = [*shape.unknown(given), *found.unknown]
    found.values["vendor"] = with_unknown(given, kept, found.values["vendor"])
    return Outcome(shape.record(**found.values), tuple(found.unknown))


def _refused(faults: Mapping[str, Fault], *known: Any) -> Outcome[Any]:
    """The first of the faults found; `known` is what could be read of the record's sequence."""
    name, fault = next(iter(faults.items()))
    return Outcome(Refusal(fault.reason, name, fault.detail, *known))


def _take_numbers(shape: Shape[Any], found: "_Found", domain: PriceDomain) -> None:
    """The fields before the event time, up to one at fault."""
    for name, (check, need) in shape.before.items():
        found.take(name, partial(_in_domain, check, domain), need)
        if found.faults:
            return


def _take_others(shape: Shape[Any], found: "_Found") -> None:
    """The fields behind the session, and what is wrong with all together."""
    for name, (check, need) in shape.behind.items():
        found.take(name, check, need)
    for name, (check, otherwise) in (*shape.optional.items(), *_OPTIONAL.items()):
        found.take_if_known(name, check, otherwise)
    wrong = None if found.faults else shape.together(found.values)
    if wrong is not None:
        found.faults[wrong[0]] = wrong[1]


class _Found:
    """What was found of a record so far: values, and faults by field."""

    def __init__(self, given: Mapping[str, Raw]) -> None:
        self._given = given
        self.values: dict[str, Any] = {}
        self.faults: dict[str, Fault] = {}
        self.unknown: list[str] = []

    def take(self, name: str, check: Check, need: Need = Need.NONE) -> Any:
        """A field's value; None where there is none, or it is at fault."""
        raw = self._given.get(name)
        self.values[name] = None
        try:
            if raw is not None and (text := bytes(raw)) != b"null":
                self.values[name] = check(text)
            elif need is Need.VALUE or (need is Need.FIELD and raw is None):
                self.faults[name] = _MISSING
        except FieldError as error:
            self.faults[name] = Fault(error.reason, error.detail)
        return self.values[name]

    def take_if_known(self, name: str, check: Check, otherwise: Any) -> None:
        """An optional attribute's value; `otherwise` where its value is unknown."""
        if self.take(name, check) is None and self.faults.pop(name, None) is not None:
            self.values[name] = otherwise
            self.unknown.append(name)

    def price_domain(self, price_domains: PriceDomains, read_time: Check) -> PriceDomain:
        """Which prices the record's instrument may have at its event time."""
        raw, names = self._given.get("exchange_time_ns"), self.values
        if (
            price_domains is positive_prices
            or raw is None
            or names["exchange"] is None
            or names["symbol"] is None
        ):
            return PriceDomain.POSITIVE
        try:
            return price_domains(names["exchange"], names["symbol"], read_time(bytes(raw)))
        except FieldError:
            return PriceDomain.POSITIVE


def _parse(value: bytes) -> dict[str, Raw]:
    """The fields of a value, each as its JSON text."""
    if is_too_deep(value):
        raise refuse(Reason.TOO_DEEP, None, f"expected at most {MAX_DEPTH} levels, found more")
    try:
        return _ANY_FIELDS.decode(value)
    except msgspec.ValidationError as error:
        raise refuse(Reason.WRONG_TYPE, None, f"expected a JSON object: {error}") from None
    except msgspec.DecodeError as error:
        raise refuse(Reason.NOT_JSON, None, f"expected JSON: {error}") from None


def is_too_deep(value: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether a value nests deeper than `limit`."""
    if len(value) <= limit or value.count(b"[") + value.count(b"{") <= limit:
        return False
    if b"\\" not in value:  # so every quotation mark begins or ends a string
        steps = b"".join(value.split(b'"')[::2]).translate(_STEPS, _NO_BRACKETS)
        depths = np.frombuffer(steps, np.int8).cumsum(dtype=np.int32)
        return bool(depths.max(initial=0) > limit)
    depth = 0
    for match in _NESTING.finditer(value):
        first = match.group()[:1]
        if first != b'"':
            depth += 1 if first in b"[{" else -1
            if depth > limit:
                return True
    return False


def with_unknown(
    given: Mapping[str, Raw], unknown: list[str], vendor: dict[str, str] | None
) -> dict[str, str] | None:
    """A record's `vendor`, with the fields that K2 does not know beside what it holds.

    Among them are those whose name K2 knows, and not their value.

    A string is kept as itself, anything else as its JSON text. Where `vendor` has the name already
    both are kept: the field's then begins with `$.`, as JSONPath writes it.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: only for bytes that are not UTF-8.
    """
    if not unknown:
        return vendor
    merged = {} if vendor is None else dict(vendor)
    for name in unknown:
        text = bytes(given[name])
        if text[:1] != b'"':
            add(merged, name, text.decode())
        else:
            add(merged, name, TEXT.decode(text) if b"\\" in text else text[1:-1].decode())
    return merged


def add(vendor: dict[str, str], name: str, text: str) -> None:
    """Keep a text in `vendor`, beside one that has its name."""
    while name in vendor:
        name = f"$.{name}"
    vendor[name] = text


def _agrees(key: bytes, exchange: str | None, symbol: str | None, faults: dict[str, Fault]) -> bool:
    """Whether the record's sequence is the one that its key names.

    A field that is absent or no text says nothing against the key; one that is text does if it
    differs.
    """
    if exchange is not None and symbol is not None:
        if key == f"{exchange}:{symbol}".encode():
            return True
        detail = f"expected {shown(f'{exchange}:{symbol}')}, found {shown(key)}"
        faults["key"] = Fault(Reason.KEY_MISMATCH, detail)
        return False
    scope = keys.parse(key)
    if scope is None or any(
        name in faults and faults[name].reason in {Reason.BAD_EXCHANGE, Reason.BAD_SYMBOL}
        for name in ("exchange", "symbol")
    ):
        return False
    return exchange in {None, scope.exchange} and symbol in {None, scope.symbol}


#: Attributes of every record that may be lost: an unknown value costs the attribute alone.
_OPTIONAL: Mapping[str, tuple[Check, Any]] = {
    "conditions": (fields.CONDITIONS, None),
    "vendor": (fields.VENDOR, None),
    "receive_time_ns": (fields.receive_time, None),
}
