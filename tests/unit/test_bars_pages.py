"""Pages of filled bars reach the trades behind the last bar that is filled."""

import pytest
from query_world import T0, World

from k2_streams.core.query.bars.fold import MAX_CARRY_NS
from k2_streams.query.bars.request import BarsRequest, continued
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.token import BarsCursor

HOUR_NS = 3_600 * 10**9
START_NS = T0 // HOUR_NS * HOUR_NS
FAR_NS = MAX_CARRY_NS + 48 * HOUR_NS


@pytest.fixture
async def world(tmp_path):
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    world = World(tmp_path / "lake", engine, partitions=1)
    yield world
    await world.query.close()
    engine.close()


async def starts(world, limit):
    """Of all bars from `START_NS` on, over all pages."""
    request = BarsRequest(
        symbols=("A",), interval=HOUR_NS, fill="prev", limit=limit,
        start_ns=START_NS, end_ns=START_NS + FAR_NS + HOUR_NS,
    )  # fmt: skip
    page = await world.query.bars(request)
    found = page.rows["bar_start_ns"].to_pylist()
    while page.meta.next_cursor is not None:
        page = await world.query.bars(continued(BarsCursor.decode(page.meta.next_cursor)))
        found += page.rows["bar_start_ns"].to_pylist()
    return found


@pytest.mark.parametrize("limit", [1, 20, 1_000])
async def test_a_trade_behind_the_time_of_the_answer_is_reached(world, limit):
    """A venue's clock may be ahead: bars between now and its trade are not filled."""
    world.clock.now_ns = START_NS + 2 * HOUR_NS
    world.add(0, [("A", START_NS - HOUR_NS), ("A", START_NS + 40 * HOUR_NS)])
    expected = [START_NS + n * HOUR_NS for n in (0, 1, 40)]
    assert await starts(world, limit) == expected


@pytest.mark.parametrize("limit", [7, 20, 200])
async def test_a_trade_behind_the_last_bar_that_a_price_is_carried_to_is_reached(world, limit):
    world.clock.now_ns = START_NS + 2 * FAR_NS
    world.add(0, [("A", START_NS - HOUR_NS), ("A", START_NS + FAR_NS)])
    found = await starts(world, limit)
    assert found[-2:] == [START_NS + MAX_CARRY_NS - HOUR_NS, START_NS + FAR_NS]
