"""`k2 tag create --date`: a day is tagged when it is over, whole, and in the lake."""

import datetime as dt
from pathlib import Path

import pytest
from lake_rows import World, append

from k2_streams.cli import tag_date
from k2_streams.cli.errors import CannotError
from k2_streams.cli.tag_date import DayWaiting, day_in_tables, needed_of, pending
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import TRADES
from k2_streams.query.token import Token

DATE = dt.date(2026, 11, 24)
OVER_NS = int(dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC).timestamp()) * 10**9
META = {
    "deferred": 0,
    "complete": True,
    "token": Token("a", {0: 5}, 1, 0).encode(),
    "events_token": Token("b", {0: 2}, 1, 0).encode(),
}
EVENTS = TRADES_INPUT.ledger.gap_events


@pytest.mark.parametrize(
    ("now_ns", "meta", "why"),
    [
        (OVER_NS, {}, None),
        (OVER_NS - 1, {}, "is over everywhere at 2026-11-25T12:00:00"),
        (OVER_NS, {"deferred": 3}, "3 records are deferred"),
        (OVER_NS, {"deferred": -1}, "records are deferred"),
        (OVER_NS, {"complete": False}, "not read as far"),
    ],
)
def test_a_day_is_pending_until_it_is_over_and_nothing_lacks(now_ns, meta, why):
    found = pending(DATE, now_ns, META | meta)
    assert (found is None) == (why is None)
    assert why is None or why in found


def test_the_tables_must_have_the_rows_and_the_events_that_were_counted(tmp_path: Path):
    assert needed_of(META) == {TRADES: {0: 5}, EVENTS: {0: 2}}
    world = World(tmp_path)
    append(world.writer(), 0, 0, 4)
    needed = {TRADES: {0: 5, 1: 0}}
    assert day_in_tables(world.config, needed) == "table k2.trades does not have all rows yet"
    append(world.writer(), 0, 4, 5)
    assert day_in_tables(world.config, needed) is None


class Clock:
    """Time passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return OVER_NS - 10 * 10**9 + int(self.now_s * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_it_waits_for_the_day_and_then_for_the_lake(monkeypatch: pytest.MonkeyPatch):
    clock, told = Clock(), []
    monkeypatch.setattr(tag_date.time, "sleep", clock.sleep)
    monkeypatch.setattr(DayWaiting, "_ask", lambda *_: META)
    lacks = ["k2.trades lacks rows"] * 2
    waiting = DayWaiting("http://node", None, clock, told.append)
    waiting.wait(DATE, 60.0, lambda _: lacks.pop() if lacks else None)
    assert clock.now_s == pytest.approx(20.0)
    assert [text.partition(": ")[2].split()[0] for text in told] == ["2026-11-24", "k2.trades"]
    with pytest.raises(CannotError, match="cannot be tagged yet: never"):
        waiting.wait(DATE, 12.0, lambda _: "never")
