"""The grid of bars: which spans of time they are, computed from the calendar once.

An edge is a moment at which the local clock shows a multiple of the interval since midnight. No
edge is reached by adding an interval to another edge, so that a change of the clock moves none:

- a multiple that the clock jumps over is at the jump: no bar is empty because of it,
- a multiple that the clock shows twice is an edge twice where the interval is not longer than what
  the clock is set back by (two bars of an hour, both true hours), else its first moment alone (a
  bar of a day has 25 hours).

A bar belongs to a range if it begins in it, so that ranges side by side share no bar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from k2_streams.core.time_units import DAY_NS, SECOND_NS

Times = npt.NDArray[np.int64]

#: Bars of a range: 11 days of seconds, 694 days of minutes. Each takes 16 bytes and a cell.
MAX_BARS = 1_000_000
#: Cells of a range: 100 MB while a statement joins them.
MAX_CELLS = 4_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


class GridError(ValueError):
    """There is no such grid; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Bars by time: bar i is [starts_ns[i], ends_ns[i]); none overlaps another."""

    starts_ns: Times
    ends_ns: Times

    def __len__(self) -> int:
        return len(self.starts_ns)

    def part(self, first: int, last: int) -> "Grid":
        """The bars from `first` on, below `last`."""
        return Grid(self.starts_ns[first:last], self.ends_ns[first:last])

    def since(self, start_ns: int) -> "Grid":
        """The bars without what lies before a time."""
        ends_later = self.ends_ns > start_ns
        starts_ns = np.maximum(self.starts_ns[ends_later], start_ns)
        return Grid(starts_ns, self.ends_ns[ends_later])


@dataclass(frozen=True, slots=True)
class Cells:
    """Equal spans of time of which each bar is a run: a trade's bar is found by a division.

    Attributes:
        origin_ns: where cell 0 begins.
        length_ns: of each.
        cells: those that belong to a bar.
        bars: the index of the bar of each.
    """

    origin_ns: int
    length_ns: int
    cells: Times
    bars: Times


def utc_grid(length_ns: int, start_ns: int, end_ns: int) -> Grid:
    """Bars that begin at multiples of a length since 1970 UTC.

    Raises:
        GridError: there are too many of them.
    """
    _check_count((end_ns - start_ns) // length_ns)
    first_ns = -(-start_ns // length_ns) * length_ns
    starts_ns = np.arange(first_ns, end_ns, length_ns, dtype=np.int64)
    return Grid(starts_ns, starts_ns + length_ns)


def zone_grid(length_ns: int, zone: tzinfo, start_ns: int, end_ns: int) -> Grid:
    """Bars that begin where the clock of a zone shows multiples of a length since midnight.

    Raises:
        GridError: there are too many of them.
    """
    _check_count((end_ns - start_ns) // length_ns)
    first = _moment(start_ns).astimezone(zone).date() - _DAY
    # The bar that holds the end of the range is over by the end of the next day.
    days = (_moment(end_ns).astimezone(zone).date() + 2 * _DAY - first).days
    dates = [first + n * _DAY for n in range(days + 1)]
    edges = [_edges_of_day(length_ns, zone, day, following) for day, following in pairwise(dates)]
    found = np.unique(np.concatenate(edges))
    inside = (found[:-1] >= start_ns) & (found[:-1] < end_ns)
    return Grid(found[:-1][inside], found[1:][inside])


def whole_grid(start_ns: int, end_ns: int) -> Grid:
    """One bar, of the whole range; none of an empty range."""
    if start_ns == end_ns:
        return Grid(np.empty(0, np.int64), np.empty(0, np.int64))
    return Grid(np.array([start_ns], np.int64), np.array([end_ns], np.int64))


def session_grid(
    length_ns: int | None,
    sessions: Sequence[tuple[int, int]],
    start_ns: int,
    end_ns: int,
) -> Grid:
    """Bars of sessions: each one bar, or cut into lengths from its open on.

    The last bar of a session ends with it. What lies outside of the sessions is in no bar.

    Args:
        length_ns: None: a session is one bar.
        sessions: open and close of each, in order; none overlaps another.
        start_ns: of the range.
        end_ns: of the range.

    Raises:
        GridError: there are too many bars.
    """
    starts: list[Times] = []
    ends: list[Times] = []
    count = 0
    for open_ns, close_ns in sessions:
        if close_ns <= start_ns or open_ns >= end_ns:
            continue
        of_one = np.arange(open_ns, close_ns, length_ns or close_ns - open_ns, dtype=np.int64)
        count += len(of_one)
        _check_count(count)
        starts.append(of_one)
        ends.append(np.append(of_one[1:], close_ns))
    if not starts:
        return whole_grid(start_ns, start_ns)
    grid = Grid(np.concatenate(starts), np.concatenate(ends))
    inside = (grid.starts_ns >= start_ns) & (grid.starts_ns < end_ns)
    return Grid(grid.starts_ns[inside], grid.ends_ns[inside])


def cells_of(grid: Grid) -> Cells:
    """The cells of a grid of at least one bar.

    Raises:
        GridError: they are too many: edges that share no length longer than a moment.
    """
    origin_ns = int(grid.starts_ns[0])
    starts, ends = grid.starts_ns - origin_ns, grid.ends_ns - origin_ns
    length_ns = int(np.gcd.reduce(np.concatenate([starts, ends])))
    first, counts = starts // length_ns, (ends - starts) // length_ns
    if counts.sum() > MAX_CELLS:
        raise GridError("expected a shorter range: its bars begin at too uneven times")
    bars = np.repeat(np.arange(len(grid)), counts)
    within = np.arange(len(bars)) - np.repeat(np.cumsum(counts) - counts, counts)
    return Cells(origin_ns, length_ns, np.repeat(first, counts) + within, bars)


def _check_count(count: int) -> None:
    if count > MAX_BARS:
        raise GridError(
            f"expected at most {MAX_BARS:,} bars in the range, found about {count:,}: "
            "a longer interval, or a shorter range"
        )


def _edges_of_day(length_ns: int, zone: tzinfo, day: date, following: date) -> Times:
    """The edges of a local day."""
    begins, ends = (_moments(zone, _local(one, 0)) for one in (day, following))
    if len(begins) == len(ends) == 1 and ends[0] - begins[0] == DAY_NS:  # no change of the clock
        return np.arange(begins[0], ends[0], length_ns, dtype=np.int64)
    found: list[int] = []
    for since_ns in range(0, DAY_NS, length_ns):
        moments = _moments(zone, _local(day, since_ns))
        set_back_ns = moments[-1] - moments[0]
        found += moments if length_ns <= set_back_ns else moments[:1]
    return np.array(found, np.int64)


def _moments(zone: tzinfo, local: datetime) -> list[int]:
    """When the clock of a zone shows a local time: once, twice, or when it jumps over it."""
    first, second = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    first_ns, second_ns = _ns(first), _ns(second)
    if first_ns == second_ns:
        return [first_ns]
    if first_ns < second_ns:
        return [first_ns, second_ns]
    return [_jump(zone, second_ns, first_ns)]


def _jump(zone: tzinfo, before_ns: int, after_ns: int) -> int:
    """The moment in (before, after] at which the zone's offset changes."""
    offset_ns = _offset_ns(zone, before_ns)
    low, high = before_ns // SECOND_NS, after_ns // SECOND_NS
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ns(zone, middle * SECOND_NS) == offset_ns:
            low = middle
        else:
            high = middle
    return high * SECOND_NS


def _offset_ns(zone: tzinfo, at_ns: int) -> int:
    offset = _moment(at_ns).astimezone(zone).utcoffset()
    assert offset is not None  # noqa: S101 - a time of a zone has one
    return offset // timedelta(seconds=1) * SECOND_NS


def _local(day: date, since_midnight_ns: int) -> datetime:
    return datetime.combine(day, time()) + timedelta(seconds=since_midnight_ns // SECOND_NS)


def _moment(at_ns: int) -> datetime:
    return _EPOCH + timedelta(seconds=at_ns // SECOND_NS)


def _ns(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1) * SECOND_NS
