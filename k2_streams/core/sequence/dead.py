"""Dead numbers: those of records that became dead letters, as far as their number could be read.

A dead number was received, so it is no gap, and a copy of it is a duplicate. It has no row: a
record that is redriven under it is accepted, LATE, and the number is dead no more. A scope keeps
its dead numbers as ranges [start, end), sorted and apart.
"""

from bisect import bisect_right
from operator import itemgetter

Ranges = tuple[tuple[int, int], ...]

_START = itemgetter(0)


def holds(dead: Ranges, number: int) -> bool:
    """Whether a number is in one of the ranges."""
    above = bisect_right(dead, number, key=_START)
    return bool(above) and number < dead[above - 1][1]


def with_number(dead: Ranges, number: int) -> Ranges:
    """The ranges with a number that none of them holds."""
    above = bisect_right(dead, number, key=_START)
    start, end, low, high = number, number + 1, above, above
    if above and dead[above - 1][1] == start:
        low, start = above - 1, dead[above - 1][0]
    if above < len(dead) and dead[above][0] == end:
        high, end = above + 1, dead[above][1]
    return (*dead[:low], (start, end), *dead[high:])


def without_number(dead: Ranges, number: int) -> Ranges:
    """The ranges without a number that one of them holds."""
    at = bisect_right(dead, number, key=_START) - 1
    start, end = dead[at]
    parts = ((start, number), (number + 1, end))
    return (*dead[:at], *(part for part in parts if part[0] < part[1]), *dead[at + 1 :])
