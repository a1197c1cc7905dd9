"""What a bar says of itself: what is missing of it, what is late, and whether it is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from query_world import T0, World

from k2_streams.core.query.bars.completeness import missing_in
from k2_streams.core.query.bars.grid import utc_grid
from k2_streams.core.records.events import ConflictingDuplicate, GapAbandoned, GapOpened, Late
from k2_streams.core.sequence.gaps import Lacking, meets
from k2_streams.query.bars.request import BarsRequest, continued
from k2_streams.query.errors import InvalidParameter, TooMuchError, UnknownSymbolError
from k2_streams.query.token import BarsCursor, Token

SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
START_NS = T0 // MINUTE_NS * MINUTE_NS
MINUTES = 10
LOST = {"scope": "X:A", "session": "0", "first": 5, "last": 7}

edge = st.one_of(st.none(), st.integers(0, 60))


@pytest.fixture
async def world(engine, tmp_path_factory):
    """A trade every ten seconds for ten minutes, half of them in the lake; all events are known."""
    world = World(engine[1] / tmp_path_factory.mktemp("one").name, engine[0], partitions=1)
    times = [START_NS + n * 10 * SECOND_NS for n in range(6 * MINUTES)]
    world.add(0, [("A", time_ns) for time_ns in times[: 3 * MINUTES]])
    world.commit()
    await world.query.refresh()
    world.add(0, [("A", time_ns) for time_ns in times[3 * MINUTES :]])
    world.gaps.cover(world.log.ends)
    world.clock.now_ns = START_NS + MINUTES * MINUTE_NS
    yield world
    await world.query.close()


def minutes(**changes):
    given = {
        "symbols": ("A",),
        "interval": MINUTE_NS,
        "start_ns": START_NS,
        "end_ns": START_NS + MINUTES * MINUTE_NS,
        **changes,
    }
    return BarsRequest(**given)


def opened(previous_ns, next_ns, **changes):
    return GapOpened(
        **{**LOST, **changes},
        size="small",
        exchange_time_ns=next_ns,
        previous_time_ns=previous_ns,
        next_time_ns=next_ns,
    )


async def incomplete(world, **changes):
    """The minutes that lack something, with how many numbers they may lack."""
    answer = await world.query.bars(minutes(**changes))
    rows = answer.rows.to_pylist()
    assert [row["complete"] for row in rows] == [row["missing"] == 0 for row in rows]
    assert answer.meta.complete == all(row["complete"] for row in rows)
    starts = [(row["bar_start_ns"] - START_NS) // MINUTE_NS for row in rows]
    return {
        start: row["missing"] for start, row in zip(starts, rows, strict=True) if row["missing"]
    }


async def test_without_a_gap_every_minute_is_complete(world):
    answer = await world.query.bars(minutes())
    assert answer.meta.complete
    assert answer.rows["complete"].to_pylist() == [True] * MINUTES
    assert answer.rows["trade_count"].to_pylist() == [6] * MINUTES


async def test_a_gap_within_a_minute_makes_exactly_that_minute_incomplete(world):
    world.gaps.apply(opened(START_NS + 190 * SECOND_NS, START_NS + 200 * SECOND_NS), 0, 1)
    assert await incomplete(world) == {3: 3}


async def test_a_gap_over_minutes_makes_exactly_those_between_its_edges_incomplete(world):
    world.gaps.apply(opened(START_NS + 170 * SECOND_NS, START_NS + 310 * SECOND_NS), 0, 1)
    assert await incomplete(world) == {2: 3, 3: 3, 4: 3, 5: 3}
    # A message of the gap has come, late: what is left of it lies on both sides of that one.
    received_ns = START_NS + 250 * SECOND_NS
    late = Late(scope="X:A", session="0", sequence=6, exchange_time_ns=received_ns)
    world.gaps.apply(late, 0, 2)
    assert await incomplete(world) == {2: 1, 3: 1, 4: 2, 5: 1}


async def test_what_was_abandoned_and_what_was_refused_is_missing_too(world):
    world.gaps.apply(opened(START_NS + 61 * SECOND_NS, START_NS + 62 * SECOND_NS), 0, 1)
    gap = {"gap_first": 5, "gap_last": 7}
    world.gaps.apply(
        GapAbandoned(scope="X:A", session="0", first=5, last=6, **gap, reason="horizon"), 0, 2
    )
    assert await incomplete(world) == {1: 3}
    world.gaps.apply(
        ConflictingDuplicate(
            scope="X:A", session="0", sequence=2, exchange_time_ns=START_NS + 490 * SECOND_NS
        ),
        0,
        3,
    )
    assert await incomplete(world) == {1: 3, 8: 1}


async def test_another_symbols_gap_is_not_a_bars(world):
    world.gaps.apply(opened(START_NS, START_NS + MINUTE_NS, scope="X:B"), 0, 1)
    assert await incomplete(world) == {}


async def test_an_empty_bar_is_known_to_be_empty_or_it_is_not_known(world):
    world.add(0, [("B", START_NS + SECOND_NS)])
    world.gaps.cover(world.log.ends)
    world.gaps.apply(
        opened(START_NS + 200 * SECOND_NS, START_NS + 201 * SECOND_NS, scope="X:B"), 0, 1
    )
    answer = await world.query.bars(minutes(symbols=("B",), fill="null"))
    rows = answer.rows.to_pylist()
    assert [row["trade_count"] for row in rows] == [1] + [0] * 9
    assert [row["complete"] for row in rows] == [True] * 3 + [False] + [True] * 6


async def test_a_bar_that_is_not_over_is_not_complete(world):
    world.clock.now_ns = START_NS + 9 * MINUTE_NS + 59 * SECOND_NS
    answer = await world.query.bars(minutes())
    assert answer.rows["complete"].to_pylist() == [True] * 9 + [False]


async def test_no_bar_is_complete_before_the_events_were_read(world):
    world.add(0, [("A", START_NS)])
    answer = await world.query.bars(minutes())
    assert not answer.meta.gaps_complete
    assert not any(answer.rows["complete"].to_pylist())


async def test_a_deferred_record_may_belong_to_any_bar(world):
    world.log.append(0, [("B", START_NS)])
    world.read_tail(0, deferred=1)
    world.gaps.cover(world.log.ends)
    answer = await world.query.bars(minutes())
    assert answer.meta.deferred == 1
    assert not any(answer.rows["complete"].to_pylist())


async def test_late_trades_are_counted(world):
    times = [("A", START_NS + 5 * SECOND_NS), ("A", START_NS + 6 * SECOND_NS)]
    world.log.append(0, times, more={"late": [True, False]})
    world.read_tail(0)
    answer = await world.query.bars(minutes())
    assert answer.rows["late"].to_pylist() == [1] + [0] * 9


async def test_the_volumes_of_bars_are_those_of_the_trades(world):
    rows = world.log.rows(world.log.ends)
    for interval in (SECOND_NS, MINUTE_NS, 3_600 * SECOND_NS, "all"):
        answer = await world.query.bars(
            minutes(interval=interval, start_ns=START_NS - 3_600 * SECOND_NS)
        )
        assert sum(answer.rows["volume"].to_pylist()) == sum(row["quantity"] for row in rows)
        assert sum(answer.rows["trade_count"].to_pylist()) == len(rows)


async def test_a_token_gives_the_same_bars_after_more_trades(world):
    first = await world.query.bars(minutes())
    world.add(0, [("A", START_NS + SECOND_NS)])
    again = await world.query.bars(minutes(as_of=Token.decode(first.meta.token)))
    assert again.rows.drop_columns(["missing", "complete"]) == first.rows.drop_columns(
        ["missing", "complete"]
    )
    newer = await world.query.bars(minutes())
    assert newer.rows["trade_count"].to_pylist() == [7] + [6] * 9


async def test_bars_as_known_at_a_time_hold_what_was_accepted_by_then_on_every_page(world):
    accepted_us = world.log.rows(world.log.ends)[0]["accepted_time"].timestamp() * 10**6
    world.tail.observe(world.log.ends, world.clock.now_ns)
    known = {"known_at_ns": int(accepted_us) * 1_000 + 500}
    whole = await world.query.bars(minutes(**known))
    assert whole.rows["trade_count"].to_pylist() == [6] * 5  # the first record's
    page = await world.query.bars(minutes(**known, limit=2))
    rows = page.rows.to_pylist()
    while page.meta.next_cursor is not None:
        page = await world.query.bars(continued(BarsCursor.decode(page.meta.next_cursor)))
        assert page.meta.known_at_ns == known["known_at_ns"]
        rows += page.rows.to_pylist()
    assert rows == whole.rows.to_pylist()


async def test_a_price_is_carried_over_a_week_and_no_longer(world):
    week_ns = 7 * 86_400 * SECOND_NS
    last_ns = START_NS + MINUTES * MINUTE_NS - 10 * SECOND_NS
    world.clock.now_ns = last_ns + 2 * week_ns
    within = last_ns + week_ns - MINUTE_NS
    answer = await world.query.bars(
        minutes(interval="all", start_ns=within, end_ns=within + MINUTE_NS, fill="prev")
    )
    (row,) = answer.rows.to_pylist()
    assert row["close"] == row["twap"] == world.log.rows(world.log.ends)[-1]["price"]
    beyond = last_ns + week_ns + MINUTE_NS
    for exchanges in ((), ("X",)):
        answer = await world.query.bars(
            minutes(
                interval="all",
                start_ns=beyond,
                end_ns=beyond + MINUTE_NS,
                fill="prev",
                exchanges=exchanges,
            )
        )
        assert answer.rows.num_rows == 0


async def test_a_sum_without_room_is_refused(world):
    big = {"quantity": ["90000000000000000000"] * 2, "notional": ["1", "1"]}
    world.log.append(0, [("B", START_NS), ("B", START_NS + 1)], more=big)
    world.read_tail(0)
    with pytest.raises(TooMuchError, match="20 digits"):
        await world.query.bars(minutes(symbols=("B",)))


async def test_what_cannot_be_answered_names_its_field(world):
    for changes, field in (
        ({"start_ns": None}, "start"),
        ({"align": "tz"}, "align"),
        ({"align": "session"}, "align"),
        ({"interval": "session"}, "interval"),
        ({"calendar": "XASX"}, "calendar"),
        ({"conditions": "eligible"}, "conditions"),
        ({"interval": SECOND_NS, "start_ns": 0}, "interval"),
        ({"start_ns": START_NS, "end_ns": START_NS - 1}, "start"),
    ):
        with pytest.raises(InvalidParameter) as refused:
            await world.query.bars(minutes(**changes))
        assert refused.value.field == field, changes
    with pytest.raises(UnknownSymbolError):
        await world.query.bars(minutes(symbols=("A", "Z")))


async def test_a_cursor_is_of_its_token_alone(world):
    first = await world.query.bars(minutes(limit=1))
    cursor = BarsCursor.decode(first.meta.next_cursor)
    world.add(0, [("A", START_NS)])
    other = await world.query.bars(minutes(limit=1))
    with pytest.raises(InvalidParameter, match="different token"):
        continued(cursor, as_of=Token.decode(other.meta.token))
    assert continued(cursor, as_of=cursor.token, limit=5).limit == 5


@given(
    st.lists(st.tuples(edge, edge, st.integers(1, 9)), max_size=5),
    st.integers(0, 30),
    st.integers(31, 60),
)
def test_a_bar_lacks_what_may_lie_in_it(lacking, start, end):
    grid = utc_grid(7, start, end)
    found = missing_in([Lacking(*one) for one in lacking], grid).tolist()
    assert found == [
        sum(
            numbers
            for previous, following, numbers in lacking
            if meets(previous, following, low, high)
        )
        for low, high in zip(grid.starts_ns.tolist(), grid.ends_ns.tolist(), strict=True)
    ]
