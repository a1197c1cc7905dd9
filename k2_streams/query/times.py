"""Times as a client writes them, exactly to the nanosecond."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from k2_streams.query.errors import InvalidParameter

LAST: Literal["last"] = "last"
#: A time, the newest trade, or nothing said.
End = int | Literal["last"] | None

#: The last whole second that fits 64 bits of nanoseconds: in 2262.
_MAX_SECONDS = (2**63 - 1) // 10**9
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9}))?)?"
    r"([Zz]|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_WINDOW = re.compile(r"(\d{1,12})(ns|us|ms|s|m|h|d)", re.ASCII)
_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3_600 * 10**9,
    "d": 86_400 * 10**9,
}
#: Ten years: a longer window is the whole history.
_MAX_WINDOW_NS = 3_660 * _UNITS_NS["d"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_zone(text: str | None) -> tzinfo | None:
    """`tz=`: an IANA name, or UTC.

    Raises:
        InvalidParameter: no such zone.
    """
    if text is None:
        return None
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidParameter("tz", "expected an IANA zone, as Australia/Sydney") from error


def parse_end(text: str | None, zone: tzinfo | None) -> End:
    """`end=`: a time, or `last`.

    Raises:
        InvalidParameter: neither.
    """
    return LAST if text == LAST else parse_time("end", text, zone)


def parse_time(field: str, text: str | None, zone: tzinfo | None) -> int | None:
    """A time in nanoseconds since 1970 UTC.

    Raises:
        InvalidParameter: not a time, one without offset and zone, or one outside 1970 to 2262.
    """
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 19:
        value = int(text)
        if value >= 2**63:
            raise InvalidParameter(field, "expected nanoseconds below 2^63")
        return value
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise InvalidParameter(field, "expected integer nanoseconds or RFC 3339 (is '+' escaped?)")
    day, clock, fraction, offset = match.groups()
    try:
        when = datetime.fromisoformat(f"{day}T{clock or '00:00'}")
        if offset is not None:
            when = datetime.fromisoformat(
                f"{when.isoformat()}{'+00:00' if offset in 'Zz' else offset}"
            )
        elif zone is not None:
            when = _in_zone(field, when, zone)
        else:
            raise InvalidParameter(field, "expected an offset (Z, +10:00), or tz= beside it")
        seconds = (when - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError) as error:
        raise InvalidParameter(field, f"not a time: {error}") from error
    if not 0 <= seconds < _MAX_SECONDS:
        raise InvalidParameter(field, "expected a time from 1970 to 2262")
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


def _in_zone(field: str, when: datetime, zone: tzinfo) -> datetime:
    """A local time as one moment; one that does not exist or exists twice is refused."""
    first, second = when.replace(tzinfo=zone), when.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        raise InvalidParameter(
            field, f"{when.isoformat()} is not one moment in {zone}: give an offset"
        )
    return first


def parse_window(text: str | None) -> int | None:
    """`window=`: a length as `15m`, in nanoseconds.

    Raises:
        InvalidParameter: not a length, zero, or more than ten years.
    """
    if text is None:
        return None
    match = _WINDOW.fullmatch(text)
    length_ns = int(match[1]) * _UNITS_NS[match[2]] if match else 0
    if not 0 < length_ns <= _MAX_WINDOW_NS:
        raise InvalidParameter("window", "expected a length as 500ms, 30s, 15m, 4h or 7d")
    return length_ns
