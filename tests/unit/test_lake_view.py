"""The view of the lake while it is away: plans go on, and wait for nobody."""

import asyncio
import threading

import pytest
from lake_rows import NOON_NS, World, record, table_of

from k2_streams.core.load.circuit_breaker import BreakerPolicy, BreakerState
from k2_streams.core.query.keys import keys_of
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.lake import table as lake_table
from k2_streams.lake.breaker import Guard
from k2_streams.lake.table import Lake
from k2_streams.query.errors import LakeUnavailable
from k2_streams.query.lake_view import LakeView
from k2_streams.query.selection import Selection


@pytest.fixture
async def world(tmp_path, monkeypatch):
    monkeypatch.setattr(lake_table, "RELOAD_PAUSE_S", 0.001)
    world = World(tmp_path)
    lake = world.writer()
    for n in range(3):
        one = record(0, n, 4, start_ns=NOON_NS + n * 1_000_000)
        lake.append(table_of(one), {0: Range(n, n + 1)}, topic_id="t", commit_id=str(n))
    world.folder = tmp_path
    world.lake = Lake(world.config, stream=TRADES)
    world.guard = Guard(BreakerPolicy(failures=2))
    world.view = LakeView(lambda: world.lake, world.guard)
    yield world
    await world.view.close()


def take_away(world):
    """The store and the catalog, as a network that is gone would."""
    (world.folder / "warehouse").rename(world.folder / "warehouse.away")
    (world.folder / "catalog").rename(world.folder / "catalog.away")


async def test_with_the_store_away_a_question_never_asked_before_is_planned(world):
    head = await world.view.refresh()
    take_away(world)
    assert len(await world.view.files(head, Selection(keys_of(symbol=("AAA",))))) > 0
    early = Selection(start_ns=NOON_NS, end_ns=NOON_NS + 1_000_000)
    assert len(await world.view.files(head, early)) == 1
    later = Selection(start_ns=NOON_NS + 10_000_000)
    assert await world.view.files(head, later) == [], "no file of the lake is needed"


async def test_the_catalog_is_left_alone_and_the_head_stays(world):
    head = await world.view.refresh()
    take_away(world)
    for _ in range(4):
        with pytest.raises(LakeUnavailable):
            await world.view.refresh()
    assert world.guard.state is BreakerState.OPEN
    assert world.view.head is head
    with pytest.raises(LakeUnavailable, match="circuit breaker is open"):
        await world.view.snapshots()


async def test_a_head_whose_manifests_cannot_be_read_is_not_taken(world):
    head = await world.view.refresh()
    one = table_of(record(0, 3, 4))
    world.writer().append(one, {0: Range(3, 4)}, topic_id="t", commit_id="3")
    newest = sorted(
        (world.folder / "warehouse").rglob("*-m0.avro"), key=lambda f: f.stat().st_mtime
    )
    newest[-1].unlink()
    with pytest.raises(LakeUnavailable):
        await world.view.refresh()
    assert world.view.head is head, "its files would not be known when a query needs them"


async def test_a_plan_does_not_wait_behind_a_catalog_that_does_not_answer(world):
    head = await world.view.refresh()
    go = threading.Event()
    real = world.lake.head
    world.lake.head = lambda: go.wait(30) and real()
    refresh = asyncio.create_task(world.view.refresh())
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(10):
            assert await world.view.files(head, Selection(keys_of(symbol=("AAA",))))
        assert not refresh.done()
    finally:
        go.set()
    await refresh
