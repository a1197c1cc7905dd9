"""Coverage: the dates of findings, conditions, and as known at a time."""

import datetime as dt
from collections.abc import AsyncIterator

import pytest
from ledger_world import Accepted, EventsWorld, add_rows
from query_world import T0, World

from k2_streams.core.records.events import (
    Dead,
    Duplicates,
    GapAbandoned,
    GapFilled,
    GapOpened,
    Late,
    Redriven,
)
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import NotYetError
from k2_streams.query.gaps import GapsView
from k2_streams.query.ledger.coverage import CoverageQuery, CoverageRequest
from k2_streams.query.request import GapsRequest
from k2_streams.query.token import Token

DAY_NS = 86_400 * 10**9
DAY = T0 // DAY_NS
DATE = dt.date(1970, 1, 1) + dt.timedelta(days=DAY)
US = T0 // 1_000


class CoverageWorld:
    """Rows, their events, and what is asked about both."""

    def __init__(self, folder, engine: Engine) -> None:
        findings = GapsView()
        self.rows = World(folder / "rows", engine, partitions=1, gaps=findings)
        self.events = EventsWorld(folder / "events", engine, findings)
        self.query = CoverageQuery(self.rows.query.questions, self.events.query.questions, findings)

    def accept(self, *numbers: int, symbol: str = "A", day: int = DAY, **more) -> None:
        """Rows with these numbers, a nanosecond apart."""
        rows = [Accepted(symbol, "0", one, day * DAY_NS + one, day, **more) for one in numbers]
        add_rows(self.rows, rows)
        self.events.findings.cover(self.rows.log.ends)

    async def ask(self, **fields) -> list[dict]:
        answer = await self.query.answer(CoverageRequest(**fields))
        return answer.rows.to_pylist()


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[CoverageWorld]:
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    world = CoverageWorld(tmp_path, engine)
    yield world
    await world.rows.query.close()
    await world.events.query.close()
    engine.close()


def opened(first: int, last: int, symbol: str = "A", day: int = DAY, **more) -> GapOpened:
    return GapOpened(
        scope=f"X:{symbol}", session="0", first=first, last=last, size="small",
        exchange_time_ns=day * DAY_NS + last + 1, **more,
    )  # fmt: skip


def counts(row: dict) -> tuple[int, ...]:
    names = ("expected", "received", "missing", "abandoned", "dead")
    return tuple(row[name] for name in names)


async def test_a_day_counts_what_came_and_what_did_not(world):
    world.accept(1, 2, 6, 9)
    world.accept(4, late=True)
    of = {"scope": "X:A", "session": "0"}
    world.events.publish(
        [
            opened(3, 5),
            opened(7, 8),
            Late(**of, sequence=4),
            GapAbandoned(**of, first=7, last=7, gap_first=7, gap_last=8, reason="limit"),
            Duplicates(**of, count=3, ranges=[(1, 2)], exchange_time_ns=T0),
        ]
    )
    (row,) = await world.ask()
    assert (row["exchange"], row["symbol"], row["session"], row["trading_date"]) == (
        "X", "A", "0", DATE,
    )  # fmt: skip
    assert (row["first_sequence"], row["last_sequence"], row["rows"]) == (1, 9, 5)
    assert counts(row) == (9, 5, 3, 1, 0)
    assert (row["late"], row["duplicates"], row["deferred"]) == (1, 3, 0)


async def test_a_number_is_dead_until_it_is_redriven(world):
    world.accept(1, 3)
    # Without an event time it counts for the day on which it was accepted.
    of = {"scope": "X:A", "session": "0", "accepted_time_us": DAY * DAY_NS // 1_000}
    world.events.publish([Dead(**of, sequence=2), Dead(**of, sequence=4)])
    (row,) = await world.ask()
    assert (counts(row), row["last_sequence"]) == ((4, 2, 0, 0, 2), 4)
    world.accept(2, late=True)
    world.events.publish([Redriven(**of, sequence=2)])
    (row,) = await world.ask()
    assert (counts(row), row["late"]) == ((4, 3, 0, 0, 1), 1)


async def test_a_gap_belongs_to_the_date_of_the_message_above_it(world):
    world.accept(1, 2)
    world.accept(5, day=DAY + 1)
    # By the venue's date, which its event time in UTC need not have.
    world.events.publish([opened(3, 4, day=DAY)])
    before, after = await world.ask()
    assert (before["trading_date"], counts(before)) == (DATE, (2, 2, 0, 0, 0))
    assert (after["trading_date"], counts(after)) == (DATE + dt.timedelta(1), (3, 1, 2, 0, 0))
    assert after["first_sequence"] == 3


async def test_one_day_is_counted_alone_as_among_others(world):
    for day in range(8):
        world.accept(10 * day + 1, 10 * day + 9, day=DAY + day)
        if day:
            world.events.publish([opened(10 * day, 10 * day, day=DAY + day)])
        world.events.publish([opened(10 * day + 2, 10 * day + 8, day=DAY + day)])
    every = await world.ask()
    assert len(every) == 8
    for day, row in enumerate(every):
        assert await world.ask(dates=(DATE + dt.timedelta(day),)) == [row]


async def test_a_connection_has_a_row_of_its_own_beside_each_symbol(world):
    world.accept(1, symbol="A")
    world.accept(2, symbol="B")
    world.events.publish([opened(5, 7, symbol="@feed")])
    assert [row["symbol"] for row in await world.ask(symbols=("A",))] == ["@feed", "A"]
    of_connection, *_ = await world.ask(exchanges=("X",))
    assert counts(of_connection) == (3, 0, 3, 0, 0)
    assert await world.ask(exchanges=("Y",)) == []


async def test_a_condition_is_told_when_the_day_is_over_everywhere(world):
    world.accept(1, 3, symbol="A")
    world.accept(1, symbol="B")
    world.events.publish([opened(2, 2, symbol="A"), opened(5, 5, symbol="@feed")])
    ends = dt.datetime.combine(DATE, dt.time(), dt.UTC) + dt.timedelta(hours=36)
    for clock in (world.rows.clock, world.events.clock):
        clock.now_ns = int(ends.timestamp()) * 10**9 - 1
    found = {row["symbol"]: (row["condition"], row["sealed_at"]) for row in await world.ask()}
    assert found == dict.fromkeys(("@feed", "A", "B"), ("pending", None))
    for clock in (world.rows.clock, world.events.clock):
        clock.now_ns += 1
    found = {row["symbol"]: (row["condition"], row["sealed_at"]) for row in await world.ask()}
    assert found == {
        "@feed": ("missing", ends), "A": ("degraded", ends), "B": ("available", ends),
    }  # fmt: skip


async def test_as_known_at_a_time_a_gap_that_was_filled_later_is_open(world):
    world.accept(1, 4)  # accepted at 1 s
    world.events.publish([opened(2, 3, accepted_time_us=1_000_000)])
    world.accept(2, 3, late=True)
    of = {"scope": "X:A", "session": "0", "accepted_time_us": 1_000_002}
    filled = [Late(**of, sequence=2), Late(**of, sequence=3), GapFilled(**of, first=2, last=3)]
    world.events.publish(filled)
    for part in (world.rows, world.events):
        part.tail.observe(part.log.ends, part.clock.now_ns)
    (now,), (then,) = await world.ask(), await world.ask(known_at_ns=1_000_001_000)
    assert (counts(now), now["late"]) == ((4, 4, 0, 0, 0), 2)
    assert (counts(then), then["late"]) == ((4, 2, 2, 0, 0), 0)
    answer = await world.events.query.gaps(GapsRequest(known_at_ns=1_000_001_000))
    assert [(gap.first, gap.state) for gap in answer.gaps] == [(2, "open")]


async def test_a_time_before_the_first_event_has_rows_and_no_gap(world):
    world.accept(1, 2)
    world.events.publish([opened(3, 3, accepted_time_us=9_000_000)])
    for part in (world.rows, world.events):
        part.tail.observe(part.log.ends, part.clock.now_ns)
    (row,) = await world.ask(known_at_ns=2_000_000_000)
    assert counts(row) == (2, 2, 0, 0, 0)
    answer = await world.events.query.gaps(GapsRequest(known_at_ns=2_000_000_000))
    assert (answer.gaps, answer.meta.complete) == ((), True)
    with pytest.raises(NotYetError):
        await world.ask(known_at_ns=T0)


async def test_the_answer_to_two_tokens_is_the_same_again(world):
    world.accept(1, 3)
    world.events.publish([opened(2, 2)])
    first = await world.query.answer(CoverageRequest())
    world.accept(2, 5, late=True)
    of = {"scope": "X:A", "session": "0"}
    world.events.publish([Late(**of, sequence=2), GapFilled(**of, first=2, last=2), opened(4, 4)])
    again = await world.query.answer(
        CoverageRequest(
            as_of=Token.decode(first.meta.token),
            events_as_of=Token.decode(first.meta.events_token),
        )
    )
    assert again.rows == first.rows
    (now,) = await world.ask()
    assert counts(now) == (5, 4, 1, 0, 0)


async def test_events_that_are_not_read_as_far_as_the_rows_are_not_complete(world):
    world.accept(1)
    assert (await world.query.answer(CoverageRequest())).meta.complete
    for clock in (world.rows.clock, world.events.clock):
        clock.now_ns = T0 + 10 * DAY_NS
    assert [row["condition"] for row in await world.ask()] == ["available"]
    add_rows(world.rows, [Accepted("A", "0", 2, T0, DAY)])
    assert not (await world.query.answer(CoverageRequest())).meta.complete
    assert [row["condition"] for row in await world.ask()] == ["unknown"]


async def test_where_nobody_reads_the_events_nothing_is_complete_not_even_no_rows(world):
    """As in a node over the tables alone, which may hold less than there ever was."""
    rows, events = world.rows.query.questions, world.events.query.questions
    assert (await world.query.answer(CoverageRequest())).meta.complete
    answer = await CoverageQuery(rows, events, GapsView()).answer(CoverageRequest())
    assert (answer.rows.num_rows, answer.meta.complete) == (0, False)


async def test_a_token_of_the_rows_alone_does_not_make_the_events_complete(world):
    """As SQL asks that names the rows' token: the events are then those of now."""
    world.accept(1)
    add_rows(world.rows, [Accepted("A", "0", 2, T0, DAY)])
    found = (await world.query.answer(CoverageRequest())).meta
    rows, events = Token.decode(found.token), Token.decode(found.events_token)
    alone = await world.query.answer(CoverageRequest(as_of=rows))
    both = await world.query.answer(CoverageRequest(as_of=rows, events_as_of=events))
    assert (alone.meta.complete, both.meta.complete) == (False, True)
