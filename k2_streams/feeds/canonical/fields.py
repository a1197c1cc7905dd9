"""The fields of canonical records one by one: each read from its JSON text, or refused by a reason.

A check gives the field's value. What cannot be one raises `FieldError`, whose words stand in the
dead letter.
"""

import re
from collections.abc import Callable
from typing import Any, Literal, get_args

import msgspec

from k2_streams.core.enrich.instruments import PriceDomain
from k2_streams.core.records.symbols import SYMBOL_RULE, is_symbol
from k2_streams.feeds.decoding import decimals, keys
from k2_streams.feeds.decoding.decoded import (
    MAX_AHEAD_NS,
    MAX_INT64,
    MIN_EVENT_TIME_NS,
    Reason,
    shown,
)

MAX_TRADE_ID_CHARS = 128
SESSION = re.compile(r"[\x20-\x7e]{1,64}")
SIDES = ("buy", "sell", "unknown")
Action = Literal["new", "cancel", "correct"]

#: Reads a field from its JSON text.
Check = Callable[[bytes], Any]
#: The same of a number, of an instrument whose prices have this domain.
NumberCheck = Callable[[bytes, PriceDomain], Any]

TEXT: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_TEXTS: msgspec.json.Decoder[list[str]] = msgspec.json.Decoder(list[str])
_TEXT_MAP: msgspec.json.Decoder[dict[str, str]] = msgspec.json.Decoder(dict[str, str])
_INTEGER = re.compile(rb"-?[0-9]+")
_FIRST_OF_NUMBER = frozenset(bytes([char]) for char in b"-0123456789")
#: 2^63 has 19 digits; a longer run of them need not be made a number to be refused.
_MAX_INTEGER_CHARS = 20
_ACTIONS = get_args(Action)


class FieldError(ValueError):
    """A field is at fault."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _typed(decoder: "msgspec.json.Decoder[Any]", expected: str) -> Callable[[bytes], Any]:
    """A check that a field's JSON is of a type."""

    def check(text: bytes) -> Any:
        try:
            return decoder.decode(text)
        except msgspec.DecodeError:
            detail = f"expected {expected}, found {shown(text.decode())}"
            raise FieldError(Reason.WRONG_TYPE, detail) from None

    return check


_text = _typed(TEXT, "a string")
CONDITIONS = _typed(_TEXTS, "a list of strings")
VENDOR = _typed(_TEXT_MAP, "an object of strings")


def exchange(json: bytes) -> str:
    """What an exchange may be called."""
    text: str = _text(json)
    if not keys.EXCHANGE.fullmatch(text):
        detail = f"expected 1 to 32 of A-Z a-z 0-9 . _ -, found {shown(text)}"
        raise FieldError(Reason.BAD_EXCHANGE, detail)
    return text


def symbol(json: bytes) -> str:
    """An instrument, as `core.records.symbols` has it."""
    text: str = _text(json)
    if not is_symbol(text):
        raise FieldError(Reason.BAD_SYMBOL, f"expected {SYMBOL_RULE}, found {shown(text)}")
    return text


def price(text: bytes, domain: PriceDomain) -> str:
    """A decimal in a domain, as its shortest plain text."""
    try:
        return decimals.plain_text(decimals.number(_number_text(text), domain.admits))
    except decimals.DecimalTextError as error:
        raise FieldError(error.reason, error.detail) from None


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
        raise FieldError(Reason.WRONG_TYPE, detail)
    return text.decode()


def _integer(text: bytes) -> int | None:
    """A JSON integer; None if it is far outside 64 bits."""
    if not _INTEGER.fullmatch(text):
        detail = f"expected an integer, found {shown(text.decode())}"
        raise FieldError(Reason.WRONG_TYPE, detail)
    return int(text) if len(text) <= _MAX_INTEGER_CHARS else None


def event_time(append_time_ms: int) -> Callable[[bytes], int]:
    """A check of an event time: from 1990 to a day after the record was appended."""
    latest = append_time_ms * 1_000_000 + MAX_AHEAD_NS

    def check(text: bytes) -> int:
        time_ns = _integer(text)
        if time_ns is None or not MIN_EVENT_TIME_NS <= time_ns <= min(latest, MAX_INT64):
            detail = f"expected {MIN_EVENT_TIME_NS} to {latest} ns, found {shown(text)}"
            raise FieldError(Reason.BAD_TIME, detail)
        return time_ns

    return check


def receive_time(text: bytes) -> int:
    """Nanoseconds since 1970."""
    time_ns = _integer(text)
    if time_ns is None or not 0 <= time_ns <= MAX_INT64:
        detail = f"expected 0 to 2^63 - 1 ns, found {shown(text)}"
        raise FieldError(Reason.BAD_TIME, detail)
    return time_ns


def sequence(text: bytes) -> int:
    """A number of 63 bits."""
    number = _integer(text)
    if number is None or not 0 <= number <= MAX_INT64:
        detail = f"expected 0 to 2^63 - 1, found {shown(text)}"
        raise FieldError(Reason.SEQUENCE_RANGE, detail)
    return number


def trade_id(json: bytes) -> str:
    """1 to `MAX_TRADE_ID_CHARS` characters."""
    text: str = _text(json)
    if not 1 <= len(text) <= MAX_TRADE_ID_CHARS:
        detail = f"expected 1 to {MAX_TRADE_ID_CHARS} characters, found {len(text)}"
        raise FieldError(Reason.BAD_TRADE_ID, detail)
    return text


def session(json: bytes) -> str:
    """1 to 64 printable ASCII characters."""
    text: str = _text(json)
    if not SESSION.fullmatch(text):
        detail = f"expected 1 to 64 printable ASCII characters, found {shown(text)}"
        raise FieldError(Reason.BAD_SESSION, detail)
    return text


def action(json: bytes) -> str:
    """One of `Action`."""
    text: str = _text(json)
    if text not in _ACTIONS:
        expected = ", ".join(_ACTIONS)
        raise FieldError(Reason.BAD_ACTION, f"expected {expected}, found {shown(text)}")
    return text


def side(json: bytes) -> str:
    """One of `SIDES`."""
    text: str = _text(json)
    if text not in SIDES:
        raise FieldError(Reason.WRONG_TYPE, f"expected {', '.join(SIDES)}, found {shown(text)}")
    return text
