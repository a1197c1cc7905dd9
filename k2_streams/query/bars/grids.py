"""The grids of a request: its bars, and the time in which the price before them is looked for."""

from collections.abc import Sequence
from functools import partial
from zoneinfo import ZoneInfo

import numpy as np

from k2_streams.calendars import CalendarError, sessions_of
from k2_streams.core.query.bars.fold import MAX_CARRY_NS
from k2_streams.core.query.bars.grid import (
    Grid,
    GridError,
    session_grid,
    utc_grid,
    whole_grid,
    zone_grid,
)
from k2_streams.core.time_units import DAY_NS, SECOND_NS
from k2_streams.query.bars.request import BarsRequest
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.off_loop import off_loop
from k2_streams.query.resolved import ResolvedRequest

#: How far back the price before the first bar is looked for: in the narrowest of these times that
#: holds one of each symbol, if the exchanges are named too; else in the widest.
LOOK_BACK_NS = (3_600 * SECOND_NS, DAY_NS, MAX_CARRY_NS + DAY_NS)


def range_of(asked: ResolvedRequest) -> tuple[int, int]:
    """The range of a request; without an end, up to the server's time."""
    start_ns, end_ns = asked.selection.start_ns, asked.selection.end_ns
    assert start_ns is not None  # noqa: S101 - `BarsRequest` asks for a bound
    return start_ns, max(start_ns, asked.token.at_ns if end_ns is None else end_ns)


async def grids_of(request: BarsRequest, start_ns: int, end_ns: int) -> tuple[Grid, Grid]:
    """The bars before the first of a page, and from it on.

    What is traded outside of every session is in no bar, and so no price before one.

    Raises:
        InvalidParameter: there is no such grid or calendar.
    """
    cursor = request.cursor
    sessions: list[tuple[int, int]] = []
    if request.calendar is not None:
        since_ns = max(0, start_ns - LOOK_BACK_NS[-1])
        make = partial(sessions_of, request.calendar, since_ns, end_ns)
        try:
            sessions = await off_loop(make)
        except CalendarError as error:
            raise InvalidParameter("calendar", str(error)) from error
    try:
        grid = _grid_of(request, sessions, start_ns, end_ns)
        if cursor is not None:
            first = int(np.searchsorted(grid.starts_ns, cursor.after[0]))
            grid = grid.part(first, len(grid))
        first_ns = int(grid.starts_ns[0]) if len(grid) else start_ns
        since_ns = max(0, first_ns - LOOK_BACK_NS[-1])
        if request.calendar is None:
            return whole_grid(since_ns, first_ns), grid
        return _grid_of(request, sessions, since_ns, first_ns), grid
    except GridError as error:
        raise InvalidParameter("interval", str(error)) from error


def _grid_of(
    request: BarsRequest, sessions: Sequence[tuple[int, int]], start_ns: int, end_ns: int
) -> Grid:
    interval = request.interval
    if request.uses_sessions:
        length_ns = interval if isinstance(interval, int) else None
        return session_grid(length_ns, sessions, start_ns, end_ns)
    if not isinstance(interval, int):
        return whole_grid(start_ns, end_ns)
    if request.align == "tz" and request.zone is not None:
        return zone_grid(interval, ZoneInfo(request.zone), start_ns, end_ns)
    return utc_grid(interval, start_ns, end_ns)
