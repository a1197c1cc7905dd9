"""How long a bar is: a length that divides a day, a session of an exchange, or the whole range."""

import re
from typing import Literal

from k2_streams.core.time_units import DAY_NS, SECOND_NS

Named = Literal["session", "all"]
#: A length in nanoseconds, or one of the names.
Interval = int | Named
SESSION: Named = "session"
ALL: Named = "all"

_UNITS_NS = {"s": SECOND_NS, "m": 60 * SECOND_NS, "h": 3_600 * SECOND_NS, "d": DAY_NS}
_LENGTH = re.compile(r"(\d{1,5})([smhd])", re.ASCII)
EXPECTED = "1s to 1d that divides a day (as 1s, 1m, 15m, 1h, 1d), session or all"


def parse_interval(text: str) -> Interval:
    """An interval as a caller writes it.

    Raises:
        ValueError: it is none, or its grid would shift from one day to the next.
    """
    for name in (SESSION, ALL):
        if text == name:
            return name
    match = _LENGTH.fullmatch(text)
    length_ns = int(match[1]) * _UNITS_NS[match[2]] if match else 0
    if not 0 < length_ns <= DAY_NS or DAY_NS % length_ns:
        raise ValueError(f"expected {EXPECTED}")
    return length_ns


def interval_text(interval: Interval) -> str:
    """The inverse of `parse_interval`, in the largest unit that has it whole."""
    if isinstance(interval, str):
        return interval
    unit = next(unit for unit in "dhms" if interval % _UNITS_NS[unit] == 0)
    return f"{interval // _UNITS_NS[unit]}{unit}"
