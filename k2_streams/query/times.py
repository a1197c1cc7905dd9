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
    r"(\d{4}-\d{2}-\d{2})(?:[Tt](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9}))?)?"
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
#: 1990-01-01. A smaller integer is a time in another unit, or far from any market data: seconds of
#: 2262 are 9.2e9, microseconds 9.2e15, both within the first 107 days of 1970 if read as ns.
FIRST_INTEGER_NS = 631_152_000 * 10**9
_OTHER_UNITS = (("seconds", 10**9), ("milliseconds", 10**6), ("microseconds", 10**3))


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
    """A time in nanoseconds since 1970 UTC; one text has one meaning.

    A blank is refused wherever it stands: in a URL it may have been a `+` that was not escaped, and
    `2026-11-23+10:00`, an offset, would become a time of day.

    Raises:
        InvalidParameter: not a time, one without offset and zone, one outside 1970 to 2262, one
            with a blank, or an integer that is too small to be nanoseconds.
    """
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 19:
        return _nanoseconds(field, int(text))
    if " " in text:
        raise InvalidParameter(
            field,
            f"found a blank in {text[:64]!r}, which may be a plus that was not escaped: write %2B "
            "for the plus of an offset (2026-11-23T10:00:00%2B10:00), T before a time of day",
        )
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise InvalidParameter(
            field, "expected integer nanoseconds or RFC 3339, as 2026-11-23T10:00:00Z"
        )
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


def _nanoseconds(field: str, value: int) -> int:
    """An integer that can be nanoseconds: 0, which is the same in every unit, or from 1990 on."""
    if value >= 2**63:
        raise InvalidParameter(field, "expected nanoseconds below 2^63")
    if value == 0 or value >= FIRST_INTEGER_NS:
        return value
    for unit, unit_ns in _OTHER_UNITS:
        if value * unit_ns >= FIRST_INTEGER_NS and value * unit_ns < 2**63:
            raise InvalidParameter(
                field, f"expected nanoseconds, found {value}, likely {unit}: {value * unit_ns}?"
            )
    raise InvalidParameter(
        field,
        f"expected nanoseconds since 1970 from {FIRST_INTEGER_NS} (1990) on, found {value}: write "
        "an earlier time as RFC 3339",
    )


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
