"""The grid of bars: right where a clock changes, whole, side by side."""

import itertools
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from bars_query_model import zone_edges

from k2_streams.core.query.bars import grid
from k2_streams.core.query.bars.interval import interval_text, parse_interval

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
#: A day in which the clock changes, of each zone: forward, and back.
CHANGES = [
    ("Australia/Sydney", "2024-10-06"),
    ("Australia/Sydney", "2025-04-06"),
    ("America/New_York", "2025-03-09"),
    ("America/New_York", "2025-11-02"),
    ("Europe/Berlin", "2025-03-30"),
    ("Europe/Berlin", "2025-10-26"),
    ("Australia/Lord_Howe", "2024-10-06"),  # half an hour
    ("Australia/Lord_Howe", "2025-04-06"),
    ("America/Havana", "2025-03-09"),  # at midnight
    ("America/Havana", "2025-11-02"),
    ("America/St_Johns", "2006-10-29"),  # at a minute past midnight, into the day before
    ("Pacific/Apia", "2011-12-30"),  # a day that is not there
    ("Asia/Kathmandu", "2025-03-30"),  # never, but a quarter of an hour off
]


def of_day(zone, day, days=1):
    start = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=ZoneInfo(zone))
    start_ns = int(start.timestamp()) * 10**9
    return start_ns, start_ns + days * DAY_NS


def pairs(found):
    return list(zip(found.starts_ns.tolist(), found.ends_ns.tolist(), strict=True))


@pytest.mark.parametrize("text", ["1m", "15m", "30m", "45m", "1h", "2h", "4h", "12h", "1d"])
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_a_bar_begins_where_the_clock_shows_a_multiple(zone, day, text):
    start_ns, end_ns = of_day(zone, day)
    start_ns, end_ns = start_ns - DAY_NS, end_ns + DAY_NS
    length_ns = parse_interval(text)
    found = pairs(grid.zone_grid(length_ns, ZoneInfo(zone), start_ns, end_ns))
    assert found == zone_edges(length_ns, ZoneInfo(zone), start_ns, end_ns)
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Australia/Sydney", "2024-10-06", 23),
        ("Australia/Sydney", "2025-04-06", 25),
        ("America/Havana", "2025-03-09", 23),
        ("America/Havana", "2025-11-02", 25),
    ],
)
def test_a_day_has_the_hours_that_the_clock_gives_it(zone, day, hours):
    start_ns, end_ns = of_day(zone, day)
    days = grid.zone_grid(DAY_NS, ZoneInfo(zone), start_ns, end_ns - 2 * HOUR_NS)
    assert [(end - start) // HOUR_NS for start, end in pairs(days)] == [hours]
    by_hour = grid.zone_grid(HOUR_NS, ZoneInfo(zone), *pairs(days)[0])
    assert len(by_hour) == hours
    assert {end - start for start, end in pairs(by_hour)} == {HOUR_NS}


def test_ranges_side_by_side_share_no_bar_and_lose_none():
    zone = ZoneInfo("Europe/Berlin")
    start_ns, end_ns = of_day("Europe/Berlin", "2025-03-29", days=3)
    whole = pairs(grid.zone_grid(4 * HOUR_NS, zone, start_ns, end_ns))
    cut_ns = start_ns + DAY_NS + 7 * HOUR_NS + 1
    parts = [
        *pairs(grid.zone_grid(4 * HOUR_NS, zone, start_ns, cut_ns)),
        *pairs(grid.zone_grid(4 * HOUR_NS, zone, cut_ns, end_ns)),
    ]
    assert parts == whole


def test_bars_of_utc_begin_at_multiples_and_may_end_behind_the_range():
    found = pairs(grid.utc_grid(HOUR_NS, HOUR_NS + 1, 3 * HOUR_NS + 1))
    assert found == [(2 * HOUR_NS, 3 * HOUR_NS), (3 * HOUR_NS, 4 * HOUR_NS)]


def test_sessions_are_cut_from_their_open_and_end_at_their_close():
    sessions = [(0, 10), (20, 25)]
    assert pairs(grid.session_grid(4, sessions, 0, 30)) == [
        (0, 4), (4, 8), (8, 10), (20, 24), (24, 25),
    ]  # fmt: skip
    assert pairs(grid.session_grid(None, sessions, 1, 30)) == [(20, 25)]
    assert pairs(grid.session_grid(None, sessions, 11, 20)) == []


def test_cells_of_equal_length_tell_the_bar_of_every_moment():
    sydney = ZoneInfo("Australia/Sydney")
    grids = [
        grid.utc_grid(HOUR_NS, 0, 10 * HOUR_NS),
        grid.zone_grid(4 * HOUR_NS, sydney, *of_day("Australia/Sydney", "2025-04-06")),
        grid.session_grid(4, [(3, 13), (20, 25)], 0, 30),
        grid.whole_grid(7, 12_345),
    ]
    for found in grids:
        cells = grid.cells_of(found)
        placed = dict(zip(cells.cells.tolist(), cells.bars.tolist(), strict=True))
        for bar, (start, end) in enumerate(pairs(found)):
            for moment in {start, (start + end) // 2, end - 1}:
                assert placed[(moment - cells.origin_ns) // cells.length_ns] == bar
        gaps = zip(found.ends_ns.tolist(), found.starts_ns.tolist()[1:], strict=False)
        for end, start in gaps:
            outside = (end - cells.origin_ns) // cells.length_ns
            assert (placed.get(outside) is None) == (end != start)


def test_too_many_bars_are_refused_before_they_are_made():
    for make in (
        lambda: grid.utc_grid(10**9, 0, 12 * DAY_NS),
        lambda: grid.zone_grid(10**9, ZoneInfo("Europe/Berlin"), 0, 12 * DAY_NS),
        lambda: grid.session_grid(1, [(0, DAY_NS // 10**6)], 0, DAY_NS),
    ):
        with pytest.raises(grid.GridError, match="at most 1,000,000 bars"):
            make()
    with pytest.raises(grid.GridError, match="uneven"):
        grid.cells_of(
            grid.session_grid(None, [(0, DAY_NS), (2 * DAY_NS, 2 * DAY_NS + 7)], 0, 2**62)
        )


@pytest.mark.parametrize("text", ["1s", "45s", "1m", "15m", "1h", "8h", "1d", "session", "all"])
def test_an_interval_is_written_as_it_was_read(text):
    assert interval_text(parse_interval(text)) == text


@pytest.mark.parametrize("text", ["", "7m", "0s", "2d", "1w", "1.5h", "-1m", "1M", "86401s", "5h"])
def test_an_interval_that_does_not_divide_a_day_is_refused(text):
    with pytest.raises(ValueError, match="divides a day"):
        parse_interval(text)
