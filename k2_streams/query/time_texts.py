"""Lengths of time and zones as a person writes them.

Each function raises `ValueError` with what it expected; its caller adds name and text.
"""

import re
from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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


def parse_zone(text: str) -> tzinfo:
    """An IANA name, or UTC.

    Raises:
        ValueError: there is no such zone.
    """
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("expected an IANA zone, as Australia/Sydney") from error


def parse_window(text: str) -> int:
    """A length as `15m`, in nanoseconds.

    Raises:
        ValueError: not a length, zero, or more than ten years.
    """
    match = _WINDOW.fullmatch(text)
    length_ns = int(match[1]) * _UNITS_NS[match[2]] if match else 0
    if not 0 < length_ns <= _MAX_WINDOW_NS:
        raise ValueError("expected a length as 500ms, 30s, 15m, 4h or 7d, at most ten years")
    return length_ns
