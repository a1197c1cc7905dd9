"""One canonical record at a time: the decoder that defines what a format means.

A `Shape` says which fields a record has; trades and quotes have one each. `read` looks at
the fields one by one, so that it can say which one is at fault. It is slow; the batch decoder uses
it for the records that its quick way refuses, and is tested against it.
"""

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, get_args

import msgspec
import numpy as np
from msgspec import Meta, Raw

from k2_streams.core.enrich.instruments import PriceDomain, PriceDomains, positive_prices
from k2_streams.core.query.corrections import CANCEL, CORRECT
from k2_streams.core.records.symbols import SYMBOL_RULE, is_symbol
from k2_streams.feeds.decoding import decimals, keys
from k2_streams.feeds.decoding.decoded import (
    MAX_AHEAD_NS,
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
MAX_TRADE_ID_CHARS = 128
SESSION = re.compile(r"[\x20-\x7e]{1,64}")

Number = TypeVar("Number")  # str where prices are decimal strings; Raw for the JSON text itself
SIDES = ("buy", "sell", "unknown")
#: What a side is that K2 does not know.
UNKNOWN_SIDE = "unknown"
Action = Literal["new", "cancel", "correct"]
CORRECTIONS = frozenset({CANCEL, CORRECT})


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


class Line(CanonicalRecord, Generic[Number], kw_only=True, gc=False):
    """A canonical trade as it stands, fields that K2 does not know left out."""

    price: Number
    quantity: Number
    trade_id: Annotated[str, Meta(min_length=1, max_length=MAX_TRADE_ID_CHARS)] | None = None
    side: str | None = None  # any text: one of `SIDES`, or unknown
    action: Action | None = None
    ref_trade_id: Annotated[str, Meta(min_length=1, max_length=MAX_TRADE_ID_CHARS)] | None = None
    ref_session: Annotated[str, Meta(min_length=1, max_length=64)] | None = None

    @property
    def corrects(self) -> bool:
        """Whether it changes another trade."""
        return self.action in CORRECTIONS


class StrictLine(Line[Number], Generic[Number], forbid_unknown_fields=True, kw_only=True, gc=False):
    """A canonical trade that has no field that K2 does not know."""


class Need(enum.Enum):
    """Whether a field must be there."""

    VALUE = "a value"
    FIELD = "the field; null is a value"
    NONE = "nothing"


#: Reads a field from its JSON text.
Check = Callable[[bytes], Any]
#: The same of a number, of an instrument whose prices have this domain.
NumberCheck = Callable[[bytes, PriceDomain], Any]
Kind = TypeVar("Kind", bound=CanonicalRecord)


@dataclass(frozen=True, slots=True)
class Shape(Generic[Kind]):
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

    record: type[Kind]
    before: Mapping[str, tuple[NumberCheck, Need]]
    behind: Mapping[str, tuple[Check, Need]]
    strict: "msgspec.json.Decoder[Kind]"
    strict_raw: "msgspec.json.Decoder[Kind]"
    loose: "msgspec.json.Decoder[Kind]"
    optional: Mapping[str, tuple[Check, Any]] = field(default_factory=dict)
    together: "Callable[[Mapping[str, Any]], tuple[str, Fault] | None]" = lambda _: None
    known: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the names."""
        object.__setattr__(self, "known", frozenset(self.record.__struct_fields__))

    def unknown(self, fields: Iterable[str]) -> list[str]:
        """Those of a record's fields that K2 does not know, in the record's order."""
        return [name for name in fields if name not in self.known]


_ACTIONS = get_args(Action)
_MISSING = Fault(Reason.MISSING_FIELD, "expected the field, found none")
_ANY_FIELDS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_TEXT: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_TEXTS: msgspec.json.Decoder[list[str]] = msgspec.json.Decoder(list[str])
_TEXT_MAP: msgspec.json.Decoder[dict[str, str]] = msgspec.json.Decoder(dict[str, str])
_INTEGER = re.compile(rb"-?[0-9]+")
_FIRST_OF_NUMBER = frozenset(bytes([char]) for char in b"-0123456789")
#: 2^63 has 19 digits; a longer run of them need not be made a number to be refused.
_MAX_INTEGER_CHARS = 20
#: A bracket as what it does to the depth: +1, or -1 in a signed byte.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


class _FaultError(ValueError):
    """A field is at fault."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _in_domain(check: NumberCheck, domain: PriceDomain, text: bytes) -> Any:
    return check(text, domain)


class Outcome(NamedTuple, Generic[Kind]):
    """What a record is."""

    result: Kind | Refusal
    unknown: tuple[str, ...] = ()  # attributes whose value K2 does not know


def read(
    shape: Shape[Kind],
    value: bytes | None,
    key: bytes | None,
    append_time_ms: int,
    price_domains: PriceDomains = positive_prices,
) -> Kind | Refusal:
    """The result of `outcome`."""
    return outcome(shape, value, key, append_time_ms, price_domains).result


def outcome(
    shape: Shape[Kind],
    value: bytes | None,
    key: bytes | None,
    append_time_ms: int,
    price_domains: PriceDomains,
) -> Outcome[Kind]:
    """Decode one record.

    Returns:
        The record, its fields valid, its prices shortened to plain decimal text and fields that K2
        does not know merged into `vendor`, and with them the values of optional attributes that K2
        does not know; or the first fault, in the order of the contract's fields, with what can be
        read of its sequence.
    """
    try:
        fields = _parse(readable(value))
    except RefusedError as error:
        return Outcome(error.refusal)
    if key is None:
        detail = "expected EXCHANGE:SYMBOL, found none"
        return Outcome(Refusal(Reason.NULL_KEY, "key", detail))
    found = _Found(fields)
    take, faults = found.take, found.faults
    exchange = take("exchange", _exchange, Need.VALUE)
    symbol = take("symbol", _symbol, Need.VALUE)
    if not _agrees(key, exchange, symbol, faults):
        return _refused(faults)
    # Behind a fault nothing matters but what the record's number is.
    read_time = _event_time(append_time_ms)
    if not faults:
        _take_numbers(shape, found, found.price_domain(price_domains, read_time))
    time_ns = take("exchange_time_ns", read_time, Need.VALUE)
    sequence = take("sequence", _sequence)
    session = take("session", _session)
    if not faults:
        _take_others(shape, found)
    if faults:
        is_known = sequence is not None and "session" not in faults
        return _refused(faults, *((sequence, session, time_ns or 0) if is_known else ()))
    kept = [*shape.unknown(fields), *found.unknown]
    found.values["vendor"] = with_unknown(fields, kept, found.values["vendor"])
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

    def __init__(self, fields: Mapping[str, Raw]) -> None:
        self._fields = fields
        self.values: dict[str, Any] = {}
        self.faults: dict[str, Fault] = {}
        self.unknown: list[str] = []

    def take(self, name: str, check: Check, need: Need = Need.NONE) -> Any:
        """A field's value; None where there is none, or it is at fault."""
        raw = self._fields.get(name)
        self.values[name] = None
        try:
            if raw is not None and (text := bytes(raw)) != b"null":
                self.values[name] = check(text)
            elif need is Need.VALUE or (need is Need.FIELD and raw is None):
                self.faults[name] = _MISSING
        except _FaultError as error:
            self.faults[name] = Fault(error.reason, error.detail)
        return self.values[name]

    def take_if_known(self, name: str, check: Check, otherwise: Any) -> None:
        """An optional attribute's value; `otherwise` where its value is unknown."""
        if self.take(name, check) is None and self.faults.pop(name, None) is not None:
            self.values[name] = otherwise
            self.unknown.append(name)

    def price_domain(self, price_domains: PriceDomains, read_time: Check) -> PriceDomain:
        """Which prices the record's instrument may have at its event time."""
        raw, names = self._fields.get("exchange_time_ns"), self.values
        if (
            price_domains is positive_prices
            or raw is None
            or names["exchange"] is None
            or names["symbol"] is None
        ):
            return PriceDomain.POSITIVE
        try:
            return price_domains(names["exchange"], names["symbol"], read_time(bytes(raw)))
        except _FaultError:
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
    fields: Mapping[str, Raw], unknown: list[str], vendor: dict[str, str] | None
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
        text = bytes(fields[name])
        if text[:1] != b'"':
            add(merged, name, text.decode())
        else:
            add(merged, name, _TEXT.decode(text) if b"\\" in text else text[1:-1].decode())
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


def _typed(decoder: "msgspec.json.Decoder[Any]", expected: str) -> Callable[[bytes], Any]:
    """A check that a field's JSON is of a type."""

    def check(text: bytes) -> Any:
        try:
            return decoder.decode(text)
        except msgspec.DecodeError:
            detail = f"expected {expected}, found {shown(text.decode())}"
            raise _FaultError(Reason.WRONG_TYPE, detail) from None

    return check


_text = _typed(_TEXT, "a string")
_CONDITIONS = _typed(_TEXTS, "a list of strings")
_VENDOR = _typed(_TEXT_MAP, "an object of strings")


def _exchange(json: bytes) -> str:
    text: str = _text(json)
    if not keys.EXCHANGE.fullmatch(text):
        detail = f"expected 1 to 32 of A-Z a-z 0-9 . _ -, found {shown(text)}"
        raise _FaultError(Reason.BAD_EXCHANGE, detail)
    return text


def _symbol(json: bytes) -> str:
    text: str = _text(json)
    if not is_symbol(text):
        raise _FaultError(Reason.BAD_SYMBOL, f"expected {SYMBOL_RULE}, found {shown(text)}")
    return text


def price(text: bytes, domain: PriceDomain) -> str:
    """A decimal in a domain, as its shortest plain text."""
    try:
        return decimals.plain_text(decimals.number(_number_text(text), domain.admits))
    except decimals.DecimalTextError as error:
        raise _FaultError(error.reason, error.detail) from None


def quantity(text: bytes, domain: PriceDomain) -> str:  # noqa: ARG001 - a `NumberCheck`
    """A decimal above zero, as its shortest plain text."""
    return price(text, PriceDomain.POSITIVE)


def price_or_none(text: bytes, domain: PriceDomain) -> str | None:
    """A price; None of a zero that is not in the domain."""
    is_absent = decimals.is_zero(_number_text(text)) and domain is PriceDomain.POSITIVE
    return None if is_absent else price(text, domain)


def quantity_or_none(text: bytes, domain: PriceDomain) -> str | None:  # noqa: ARG001 - a `NumberCheck`
    """A quantity; None of a zero."""
    return price_or_none(text, PriceDomain.POSITIVE)


def _number_text(text: bytes) -> str:
    if text[:1] == b'"':
        return str(_text(text))
    if text[:1] not in _FIRST_OF_NUMBER:
        detail = f"expected a decimal string or a number, found {shown(text.decode())}"
        raise _FaultError(Reason.WRONG_TYPE, detail)
    return text.decode()


def _integer(text: bytes) -> int | None:
    """A JSON integer; None if it is far outside 64 bits."""
    if not _INTEGER.fullmatch(text):
        detail = f"expected an integer, found {shown(text.decode())}"
        raise _FaultError(Reason.WRONG_TYPE, detail)
    return int(text) if len(text) <= _MAX_INTEGER_CHARS else None


def _event_time(append_time_ms: int) -> Callable[[bytes], int]:
    latest = append_time_ms * 1_000_000 + MAX_AHEAD_NS

    def check(text: bytes) -> int:
        time_ns = _integer(text)
        if time_ns is None or not MIN_EVENT_TIME_NS <= time_ns <= min(latest, MAX_INT64):
            detail = f"expected {MIN_EVENT_TIME_NS} to {latest} ns, found {shown(text)}"
            raise _FaultError(Reason.BAD_TIME, detail)
        return time_ns

    return check


def _receive_time(text: bytes) -> int:
    time_ns = _integer(text)
    if time_ns is None or not 0 <= time_ns <= MAX_INT64:
        detail = f"expected 0 to 2^63 - 1 ns, found {shown(text)}"
        raise _FaultError(Reason.BAD_TIME, detail)
    return time_ns


def _sequence(text: bytes) -> int:
    number = _integer(text)
    if number is None or not 0 <= number <= MAX_INT64:
        detail = f"expected 0 to 2^63 - 1, found {shown(text)}"
        raise _FaultError(Reason.SEQUENCE_RANGE, detail)
    return number


def _trade_id(json: bytes) -> str:
    text: str = _text(json)
    if not 1 <= len(text) <= MAX_TRADE_ID_CHARS:
        detail = f"expected 1 to {MAX_TRADE_ID_CHARS} characters, found {len(text)}"
        raise _FaultError(Reason.BAD_TRADE_ID, detail)
    return text


def _session(json: bytes) -> str:
    text: str = _text(json)
    if not SESSION.fullmatch(text):
        detail = f"expected 1 to 64 printable ASCII characters, found {shown(text)}"
        raise _FaultError(Reason.BAD_SESSION, detail)
    return text


def _action(json: bytes) -> str:
    text: str = _text(json)
    if text not in _ACTIONS:
        expected = ", ".join(_ACTIONS)
        raise _FaultError(Reason.BAD_ACTION, f"expected {expected}, found {shown(text)}")
    return text


def _reference_fault(values: Mapping[str, Any]) -> tuple[str, Fault] | None:
    """A correction names the trade it changes, and nothing else names one."""
    if values["action"] in CORRECTIONS:
        if values["ref_trade_id"] is None:
            detail = f"expected the id of the trade to {values['action']}, found none"
            return "ref_trade_id", Fault(Reason.MISSING_FIELD, detail)
        return None
    for name in ("ref_trade_id", "ref_session"):
        if values[name] is not None:
            detail = "expected beside the action cancel or correct alone"
            return name, Fault(Reason.BAD_ACTION, detail)
    return None


def _side(json: bytes) -> str:
    text: str = _text(json)
    if text not in SIDES:
        raise _FaultError(Reason.WRONG_TYPE, f"expected {', '.join(SIDES)}, found {shown(text)}")
    return text


#: Attributes of every record that may be lost: an unknown value costs the attribute alone.
_OPTIONAL: Mapping[str, tuple[Check, Any]] = {
    "conditions": (_CONDITIONS, None),
    "vendor": (_VENDOR, None),
    "receive_time_ns": (_receive_time, None),
}
#: A trade, as the contract of `k2.trades.raw` has it.
TRADE: Shape[Line[Any]] = Shape(
    Line,
    before={"price": (price, Need.VALUE), "quantity": (quantity, Need.VALUE)},
    behind={
        "trade_id": (_trade_id, Need.NONE),
        "action": (_action, Need.NONE),
        "ref_trade_id": (_trade_id, Need.NONE),
        "ref_session": (_session, Need.NONE),
    },
    optional={"side": (_side, UNKNOWN_SIDE)},
    together=_reference_fault,
    strict=msgspec.json.Decoder(StrictLine[str]),
    strict_raw=msgspec.json.Decoder(StrictLine[Raw]),
    loose=msgspec.json.Decoder(Line[Raw]),
)
