"""What the feeds of venues' native messages share: reading a field, a time, a recorder's stamp.

A value is the venue's text as it came, or the same behind the stamp of whoever recorded it:
`<receive time ns> <text>`, or `<receive time ns> <connection's begin ns> <text>` where the venue
counts over a connection.
"""

import datetime as dt
import re
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import msgspec

from k2_streams.core.records.symbols import SYMBOL_RULE, is_symbol
from k2_streams.feeds.canonical.fields import MAX_TRADE_ID_CHARS
from k2_streams.feeds.canonical.record import is_too_deep
from k2_streams.feeds.decoding.decoded import (
    MAX_INT64,
    Reason,
    refuse,
    shown,
)

#: Deeper nesting is refused before the parser meets it, whose own limit (a thousand, less its
#: callers) is not the same everywhere. Fewer brackets than this need not be measured.
MAX_DEPTH = 512
_US_NS, _MS_NS = 1_000, 1_000_000
#: Below, an integer cannot be microseconds, or nanoseconds, of a year from 1990 on. Milliseconds
#: end before the first of them, in the year 2262, microseconds before the second.
_LEAST_US, _LEAST_NS = 10**14, 10**17
_SECOND_NS = 1_000_000_000
_DIGITS = b"0123456789"
_FIRST_DIGITS = frozenset(bytes([digit]) for digit in _DIGITS)
_FIRST_OF_NUMBER = _FIRST_DIGITS | {b"-"}
_TEXT = msgspec.json.Decoder(str)
_MAX_TIME_DIGITS = 19  # of 2^63 - 1
_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?[Zz]", re.ASCII)
_DECIMAL_SECONDS = re.compile(r"(\d{1,10})(?:\.(\d{1,9}))?", re.ASCII)
#: Seconds whose parsed form is kept: messages come in the order of time, so a few would do.
_REMEMBERED_SECONDS = 4_096
#: An unknown value of an attribute is kept for people to look at, up to this.
MAX_FOUND_CHARS = 200
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_Kind = TypeVar("_Kind")
_Parsed = TypeVar("_Parsed")


class Known(NamedTuple):
    """What of a message's sequence could be read before a fault was found."""

    sequence: int = -1
    session: str | None = None
    time_ns: int = 0


NOTHING = Known()


class Stamped(NamedTuple):
    """A message, and what its recorder knew of it."""

    text: bytes
    receive_time_ns: int | None
    connected_ns: int | None  # when the connection began


def stamped(value: bytes) -> Stamped:
    """Take the recorder's stamp off.

    Raises:
        RefusedError: what stands before the message is no stamp.
    """
    if value[0] not in _DIGITS:
        return Stamped(value, None, None)
    received, _, text = value.partition(b" ")
    if text[:1] not in _FIRST_DIGITS:
        return Stamped(text, _stamp(received), None)
    connected, _, text = text.partition(b" ")
    return Stamped(text, _stamp(received), _stamp(connected))


def _stamp(head: bytes) -> int:
    if head.isdigit() and len(head) <= _MAX_TIME_DIGITS:
        time_ns = int(head)
        if time_ns <= MAX_INT64:
            return time_ns
    detail = f"expected a time in ns before the message, found {shown(head)}"
    raise refuse(Reason.NOT_JSON, None, detail)


def parse(decoder: "msgspec.json.Decoder[_Parsed]", text: bytes) -> _Parsed:
    """A message's JSON.

    Raises:
        RefusedError: it is none, too deep, or not of the shape asked for.
    """
    if is_too_deep(text, MAX_DEPTH):
        raise refuse(Reason.TOO_DEEP, None, f"expected at most {MAX_DEPTH} levels, found more")
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise refuse(Reason.WRONG_TYPE, None, f"expected a message: {error}") from None
    except msgspec.DecodeError as error:
        raise refuse(Reason.NOT_JSON, None, f"expected JSON: {error}") from None


def typed(field: str, found: Any, kind: type[_Kind], known: Known = NOTHING) -> _Kind:
    """A field that must be there and of exactly this type (so a bool is no int)."""
    if found is None:
        raise refuse(Reason.MISSING_FIELD, field, f"expected {kind.__name__}, found none", *known)
    if type(found) is not kind:
        detail = f"expected {kind.__name__}, found {shown(found)}"
        raise refuse(Reason.WRONG_TYPE, field, detail, *known)
    return found


def number(field: str, found: Any) -> int:
    """A number that counts."""
    value = typed(field, found, int)
    if not 0 <= value <= MAX_INT64:
        detail = f"expected 0 to 2^63 - 1, found {shown(value)}"
        raise refuse(Reason.SEQUENCE_RANGE, field, detail)
    return value


def meaning(
    attribute: str, found: Any, meanings: dict[str, str]
) -> tuple[str | None, dict[str, str] | None]:
    """What a word of an optional attribute means, and what of it is unknown.

    Returns:
        None, None where there is none; the meaning, None where it is known; else "unknown", and by
        the attribute's name what was found: an unknown value costs the attribute, not the trade.
    """
    if type(found) is str and found in meanings:
        return meanings[found], None
    if found is None:
        return None, None
    return "unknown", {attribute: as_found(found)}


def as_found(found: Any) -> str:
    """A JSON value as text: a string as itself, anything else as JSON, cut to a bound."""
    text = found if type(found) is str else msgspec.json.encode(found).decode()
    return text[:MAX_FOUND_CHARS]


def decimal_text(field: str, found: msgspec.Raw, known: Known = NOTHING) -> str:
    """The text of a number that the venue writes as a JSON number or as a string.

    A field of type `msgspec.Raw` keeps the number as it was written: a float would round it.
    """
    text = bytes(found)
    if text[:1] in _FIRST_OF_NUMBER:
        return text.decode()
    if text[:1] != b'"':
        kind = Reason.MISSING_FIELD if text == b"null" else Reason.WRONG_TYPE
        detail = f"expected a decimal string or a number, found {shown(text)}"
        raise refuse(kind, field, detail, *known)
    return _TEXT.decode(text)


def trade_id(field: str, found: Any, known: Known = NOTHING) -> str:
    """A trade's id as text; venues write numbers or strings."""
    if type(found) is int and 0 <= found <= MAX_INT64:
        return str(found)
    text = typed(field, found, str, known)
    if not 0 < len(text) <= MAX_TRADE_ID_CHARS:
        detail = f"expected 1 to {MAX_TRADE_ID_CHARS} characters, found {shown(text)}"
        raise refuse(Reason.BAD_TRADE_ID, field, detail, *known)
    return text


def symbol(field: str, found: Any, known: Known = NOTHING) -> str:
    """A symbol that the key does not name."""
    text = typed(field, found, str, known)
    if not is_symbol(text):
        detail = f"expected {SYMBOL_RULE}, found {shown(text)}"
        raise refuse(Reason.BAD_SYMBOL, field, detail, *known)
    return text


def since_1970(found: Any) -> int:
    """A time since 1970 as ns; 0 if it is none.

    Milliseconds, microseconds or nanoseconds, by magnitude: of the years from 1990 to 2262 no
    integer is a time in two of them.
    """
    if type(found) is not int or found < 0:
        return 0
    if found <= MAX_INT64 // _MS_NS:
        return found * _MS_NS
    if _LEAST_US <= found <= MAX_INT64 // _US_NS:
        return found * _US_NS
    return found if _LEAST_NS <= found <= MAX_INT64 else 0


def epoch_time(field: str, found: Any, known: Known = NOTHING) -> int:
    """A time since 1970, which must be there, as ns; 0, which the common checks refuse, if none."""
    typed(field, found, int, known)
    return since_1970(found)


def rfc_3339(field: str, found: Any, known: Known = NOTHING) -> int:
    """A time in UTC as RFC 3339 has it, with up to nine decimals, as ns."""
    text = typed(field, found, str, known)
    match = _RFC_3339.fullmatch(text)
    second = _second(match[1].upper()) if match else None
    if match is None or second is None:
        detail = f"expected YYYY-MM-DDTHH:MM:SS.sssZ, found {shown(text)}"
        raise refuse(Reason.BAD_TIME, field, detail, *known)
    return second * _SECOND_NS + _fraction_ns(match[2])


def decimal_seconds(field: str, found: Any, known: Known = NOTHING) -> int:
    """A time in seconds since 1970 with up to nine decimals, as ns."""
    text = typed(field, found, str, known)
    match = _DECIMAL_SECONDS.fullmatch(text)
    if match is None:
        detail = f"expected seconds since 1970, found {shown(text)}"
        raise refuse(Reason.BAD_TIME, field, detail, *known)
    return min(int(match[1]) * _SECOND_NS + _fraction_ns(match[2]), MAX_INT64)


@lru_cache(maxsize=_REMEMBERED_SECONDS)
def _second(text: str) -> int | None:
    """Seconds since 1970 of a date and time of day; None if the calendar has none such."""
    try:
        moment = dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    seconds = (moment - _EPOCH) // dt.timedelta(seconds=1)
    return seconds if 0 <= seconds <= MAX_INT64 // _SECOND_NS - 1 else None


def _fraction_ns(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0
