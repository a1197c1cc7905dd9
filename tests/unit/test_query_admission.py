"""Every query takes a turn: none passes those that run, whatever it asks for."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from query_world import T0, World

from k2_streams.core.load.admission import HEAVY_UNITS
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import BusyError
from k2_streams.query.request import GapsRequest, RowsRequest, SnapshotsRequest, SymbolsRequest
from k2_streams.query.turns import HEAVY_TURNS, LIGHT_TURNS, MAX_WAITING

QUERIES = {
    "rows": RowsRequest(),
    "gaps": GapsRequest(),
    "symbols": SymbolsRequest(),
    "snapshots": SnapshotsRequest(),
}
HEAVY_ROWS = 2 * HEAVY_UNITS


@pytest.fixture
async def world(tmp_path):
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    world = World(tmp_path / "lake", engine)
    yield world, engine
    await world.view.close()
    engine.close()


async def every_turn(engine):
    """Holds all turns there are, until the stack is closed."""
    stack = AsyncExitStack()
    for _ in range(LIGHT_TURNS):
        await stack.enter_async_context(engine.turn(1, 1, reads_lake=False))
    for _ in range(HEAVY_TURNS):
        await stack.enter_async_context(engine.turn(HEAVY_ROWS, HEAVY_ROWS, reads_lake=False))
    return stack


@pytest.mark.parametrize("kind", QUERIES)
async def test_a_query_waits_for_its_turn(world, kind):
    world, engine = world
    held = await every_turn(engine)
    answer = asyncio.ensure_future(getattr(world.query, kind)(QUERIES[kind]))
    done, _ = await asyncio.wait([answer], timeout=0.2)
    assert not done
    await held.aclose()
    async with asyncio.timeout(10):
        await answer


@pytest.mark.parametrize("kind", QUERIES)
async def test_a_query_that_would_wait_too_long_is_refused(world, kind):
    world, engine = world
    held = await every_turn(engine)
    waiting = [
        asyncio.ensure_future(world.query.gaps(GapsRequest(limit=1))) for _ in range(MAX_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(BusyError):
        await getattr(world.query, kind)(QUERIES[kind])
    await held.aclose()
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)


async def test_the_first_list_of_symbols_counts_the_lake_and_the_next_one_the_tail(
    world, monkeypatch
):
    world, engine = world
    turn, asked = engine.turn, []

    def counted(rows, scanned, *, reads_lake):
        asked.append((scanned, reads_lake))
        return turn(rows, scanned, reads_lake=reads_lake)

    monkeypatch.setattr(engine, "turn", counted)
    world.add(0, [("A", T0 + 1)])
    world.commit()
    await world.query.refresh()
    for _ in range(2):
        await world.query.symbols(SymbolsRequest())
    (first, reads_lake), (second, reads_it_again) = asked
    assert (reads_lake, reads_it_again) == (True, False)
    assert first > second
