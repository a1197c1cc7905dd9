"""Sessions of exchanges: their real calendars, and what is traded outside of them."""

import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from query_world import World

from k2_streams import calendars
from k2_streams.query.bars.request import BarsRequest, continued
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.token import BarsCursor

HOUR_NS = 3_600 * 10**9


def at(text, zone="Australia/Sydney"):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 10**9


@pytest.fixture
async def world(tmp_path):
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    world = World(tmp_path / "lake", engine, partitions=1)
    world.clock.now_ns = at("2025-04-20T00:00")
    yield world
    await world.query.close()
    engine.close()


def request(**changes):
    given = {
        "symbols": ("A",),
        "interval": "session",
        "calendar": "XASX",
        "start_ns": at("2025-04-03T00:00"),
        "end_ns": at("2025-04-09T00:00"),
        **changes,
    }
    return BarsRequest(**given)


async def test_a_session_is_one_bar_whatever_the_clock_was_set_to(world):
    # The clock is set back on Sunday, 6 April; Friday 18 April is a holiday.
    opens = [at(f"2025-04-{day:02}T10:00") for day in (3, 4, 7, 8)]
    outside = [at("2025-04-03T16:10"), at("2025-04-06T12:00"), at("2025-04-08T09:59")]
    times = sorted([*opens, *(one + 6 * HOUR_NS - 1 for one in opens), *outside])
    world.add(0, [("A", time_ns) for time_ns in times])
    answer = await world.query.bars(request())
    rows = answer.rows.to_pylist()
    assert [row["bar_start_ns"] for row in rows] == opens
    assert [row["bar_end_ns"] - row["bar_start_ns"] for row in rows] == [6 * HOUR_NS] * 4
    assert [row["trade_count"] for row in rows] == [2] * 4
    assert answer.meta.calendar == "XASX"


async def test_bars_within_a_session_begin_with_its_open_and_end_with_its_close(world):
    opened = at("2025-07-03T09:30", "America/New_York")  # a half day
    world.clock.now_ns = opened + 48 * HOUR_NS
    world.add(0, [("A", opened - 1), ("A", opened), ("A", opened + 3 * HOUR_NS + 1)])
    answer = await world.query.bars(
        request(
            interval=HOUR_NS,
            align="session",
            calendar="XNYS",
            fill="null",
            start_ns=opened - 9 * HOUR_NS,
            end_ns=opened + 20 * HOUR_NS,
        )
    )
    rows = answer.rows.to_pylist()
    starts = [(row["bar_start_ns"] - opened) / HOUR_NS for row in rows]
    lengths = [(row["bar_end_ns"] - row["bar_start_ns"]) / HOUR_NS for row in rows]
    assert (starts, lengths) == ([0, 1, 2, 3], [1, 1, 1, 0.5])
    # What was traded before the open is in no bar, and no price before one.
    first = rows[0]["open"]
    assert rows[0]["twap"] == first
    assert [row["trade_count"] for row in rows] == [1, 0, 0, 1]


async def test_a_page_of_sessions_carries_what_the_whole_answer_carries(world):
    opens = [at(f"2025-04-{day:02}T10:00") for day in (3, 4, 7, 8)]
    world.add(0, [("A", opens[0] + HOUR_NS), ("A", opens[0] + 7 * HOUR_NS), ("A", opens[3] + 5)])
    asked = request(interval=HOUR_NS, align="session", fill="prev")
    whole = await world.query.bars(asked)
    page = await world.query.bars(request(interval=HOUR_NS, align="session", fill="prev", limit=4))
    rows = page.rows.to_pylist()
    while page.meta.next_cursor is not None:
        page = await world.query.bars(continued(BarsCursor.decode(page.meta.next_cursor)))
        rows += page.rows.to_pylist()
    assert rows == whole.rows.to_pylist()
    assert len(rows) == 5 + 3 * 6  # from the hour of the first trade on


async def test_a_calendar_that_is_not_there_is_refused(world, monkeypatch):
    for changes, expected in (
        ({"calendar": "XXXX"}, "as XASX or XNYS"),
        ({"start_ns": 0}, "expected a range within them"),
    ):
        with pytest.raises(InvalidParameter, match=expected) as refused:
            await world.query.bars(request(**changes))
        assert refused.value.field == "calendar"
    calendars._calendar.cache_clear()
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(InvalidParameter, match=r"install k2-streams\[calendars\]"):
        await world.query.bars(request())
