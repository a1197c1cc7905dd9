"""Times as a client writes them, exactly to the nanosecond.

Each function raises `ValueError` with what it expected; its caller adds parameter and text.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from k2_streams.query.request import LAST, End

#: The last whole second that fits 64 bits of nanoseconds: in 2262.
_MAX_SECONDS = (2**63 - 1) // 10**9
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9}))?)?"
    r"([Zz]|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: 1990-01-01. A smaller integer is a time in another unit, or far from any market data: seconds of
#: 2262 are 9.2e9, microseconds 9.2e15, both within the first 107 days of 1970 if read as ns.
FIRST_INTEGER_NS = 631_152_000 * 10**9
_OTHER_UNITS = (("seconds", 10**9), ("milliseconds", 10**6), ("microseconds", 10**3))


def parse_end(text: str, zone: tzinfo | None = None) -> End:
    """A time, or `last`.

    Raises:
        ValueError: neither.
    """
    return LAST if text == LAST else parse_time(text, zone)


def parse_time(text: str, zone: tzinfo | None = None) -> int:
    """A time in nanoseconds since 1970 UTC; one text has one meaning.

    A blank is refused wherever it stands: in a URL it may have been a `+` that was not escaped, and
    `2026-11-23+10:00`, an offset, would become a time of day.

    Raises:
        ValueError: not a time, one without offset and zone, one outside 1970 to 2262, one with a
            blank, or an integer that is too small to be nanoseconds.
    """
    if text.isascii() and text.isdigit() and len(text) <= 19:
        return _nanoseconds(int(text))
    if " " in text:
        raise ValueError(
            "expected %2B for the plus of an offset (2026-11-23T10:00:00%2B10:00) and T before a "
            "time of day, since a blank may be a plus that was not escaped"
        )
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("expected integer nanoseconds or RFC 3339, as 2026-11-23T10:00:00Z")
    day, clock, fraction, offset = match.groups()
    try:
        when = datetime.fromisoformat(f"{day}T{clock or '00:00'}")
        if offset is not None:
            zulu = "+00:00" if offset in "Zz" else offset
            when = datetime.fromisoformat(f"{when.isoformat()}{zulu}")
    except ValueError as error:
        raise ValueError(f"expected a time that exists ({error})") from error
    if when.tzinfo is None:
        if zone is None:
            raise ValueError("expected an offset (Z, +10:00), or tz= beside it")
        when = _in_zone(when, zone)
    try:
        seconds = (when - _EPOCH) // timedelta(seconds=1)
    except OverflowError as error:
        raise ValueError("expected a time from 1970 to 2262") from error
    if not 0 <= seconds < _MAX_SECONDS:
        raise ValueError("expected a time from 1970 to 2262")
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


def _nanoseconds(value: int) -> int:
    """An integer that can be nanoseconds: 0, which is the same in every unit, or from 1990 on."""
    if value >= 2**63:
        raise ValueError("expected nanoseconds below 2^63")
    if value == 0 or value >= FIRST_INTEGER_NS:
        return value
    for unit, unit_ns in _OTHER_UNITS:
        if value * unit_ns >= FIRST_INTEGER_NS and value * unit_ns < 2**63:
            raise ValueError(f"expected nanoseconds ({value * unit_ns} if these are {unit})")
    raise ValueError(
        f"expected nanoseconds since 1970 from {FIRST_INTEGER_NS} (1990) on, an earlier time as "
        "RFC 3339"
    )


def _in_zone(when: datetime, zone: tzinfo) -> datetime:
    """A local time as one moment; one that does not exist or exists twice is refused."""
    first, second = when.replace(tzinfo=zone), when.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        raise ValueError(
            f"expected an offset, since {when.isoformat()} is not one moment in {zone}"
        )
    return first
