"""The sink while the lake is away: what it keeps, what it leaves in the log, how it comes back."""

import asyncio
import itertools
import time

import lake_rows
import pytest
from metric_values import value
from sink_world import T0_MS, SinkWorld

from k2_streams.core.load.circuit_breaker import BreakerState
from k2_streams.core.records.log_chunk import LogChunk
from k2_streams.core.records.vector import Range
from k2_streams.lake.errors import TableMismatchError
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.sink import EMPTY_EVERY_COMMITS
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.sinks import runner as sinking
from k2_streams.runtime.sinks.runner import PAUSE_AFTER_MS, LakeBehindError, MarkerPendingError


@pytest.fixture
async def world():
    world = SinkWorld()
    await world.start()
    yield world
    await world.runner.close()


def covered(world):
    """The committed ranges, as one if they leave no hole and overlap nowhere."""
    ranges = [ranges[0] for ranges, _ in world.lake.commits]
    for one, other in itertools.pairwise(ranges):
        assert one.end == other.start
    return Range(ranges[0].start, ranges[-1].end)


async def test_a_lake_that_is_away_is_asked_again_with_growing_pauses(world):
    world.runner.guard.policy = world.runner.guard.policy.__class__(failures=100)
    world.lake.away = True
    world.read()
    asked_at = []
    for _ in range(200):
        before = world.lake.asked
        await world.look(after_s=1.0)
        if world.lake.asked > before:
            asked_at.append(world.clock.now_s)
    pauses = [b - a for a, b in itertools.pairwise(asked_at)]
    assert pauses[:5] == [1, 2, 4, 8, 16]
    assert set(pauses[5:]) == {30}
    assert world.runner.retrying == "away"


async def test_while_the_breaker_is_open_nothing_is_buffered_but_the_batch_on_its_way(world):
    world.lake.away = True
    await world.pass_time(60)
    assert world.runner.guard.state is BreakerState.OPEN
    assert world.paused
    on_its_way = world.runner.buffered_rows
    assert 0 < on_its_way <= 12
    # What was fetched before the pause and comes now is not taken in either.
    world.give(world.position)
    assert world.runner.buffered_rows == on_its_way


async def test_when_the_lake_is_back_everything_comes_once_and_in_order(world):
    await world.pass_time(3)
    world.lake.away = True
    await world.pass_time(45)
    world.lake.away = False
    await world.pass_time(60)
    assert world.runner.guard.state is BreakerState.CLOSED
    assert not world.paused
    assert world.runner.retrying is None
    assert world.seeks, "the log is read on behind the batch that was on its way"
    held = covered(world)
    assert held.start == 0
    assert held.end >= world.position - 1
    assert sum(rows for _, rows in world.lake.commits) == 2 * held.end


async def test_a_trial_that_fails_keeps_the_batch_and_the_pause(world):
    world.lake.away = True
    await world.pass_time(10)
    assert world.paused
    asked = world.lake.asked
    await world.look(after_s=25.0)
    assert world.lake.asked == asked + 1
    assert world.runner.guard.state is BreakerState.OPEN
    assert world.paused
    assert world.lake.commits == []


async def test_a_lake_that_goes_away_while_the_sink_looks_where_to_go_on_does_not_end_it(world):
    world.read(3)
    world.lake.next[0] = 2  # someone else committed
    real = world.lake.append

    def append_then_away(*args, **kwargs):
        world.lake.append = real
        try:
            return real(*args, **kwargs)
        finally:
            world.lake.away = True

    world.lake.append = append_then_away
    await world.look()
    await world.look(after_s=2.0)
    assert world.runner.retrying == "away"
    world.lake.away = False
    await world.look(after_s=30.0)
    assert world.runner.error is None
    assert world.seeks[-1] == {0: 2}
    await world.pass_time(10)
    assert covered(world).start == 2


async def test_rows_that_the_log_may_lose_hold_the_source_until_they_are_in_the_lake(world):
    assert not world.runner.is_far_behind
    world.read(age_ms=PAUSE_AFTER_MS + 1)
    assert world.runner.is_far_behind
    await world.look()
    await world.look(after_s=2.0)
    assert world.lake.commits
    assert not world.runner.is_far_behind


async def test_rows_grow_old_while_the_lake_is_away(world):
    world.lake.away = True
    await world.pass_time(10)
    assert not world.runner.is_far_behind
    world.clock.now_s += PAUSE_AFTER_MS / 1000
    assert world.runner.is_far_behind


async def test_a_refused_table_is_asked_again_by_the_runner_itself():
    world = SinkWorld(limits=Limits(sink_tick_s=0.001))
    accepted = world.lake.append

    def refuse(*_, **__):
        raise TableMismatchError("renamed")

    async def until(condition):
        async with asyncio.timeout(10):
            while not condition():
                world.clock.now_s += 1.0
                await asyncio.sleep(0.005)

    world.lake.append = refuse
    running = asyncio.create_task(world.runner.run())
    await world.start()
    world.read(2)
    await until(lambda: world.runner.error is not None)
    assert world.runner.error == "renamed"
    assert world.paused
    world.lake.append = accepted
    await until(lambda: world.runner.error is None)
    assert covered(world).end == 2
    running.cancel()
    await world.runner.close()


async def test_a_batch_out_of_chain_is_sought_anew(world):
    world.read()
    world.give(5)
    assert world.seeks == [{0: 1}]
    assert world.runner.positions == {0: 1}


async def test_the_lake_reaches_the_end_of_a_log_whose_last_batch_is_a_marker(world):
    world.read(2)
    await world.look()
    await world.look(after_s=1.0)
    world.give(2, records=0, markers=1)
    await world.look()
    await world.look(after_s=EMPTY_EVERY_COMMITS)
    assert [ranges[0] for ranges, _ in world.lake.commits] == [Range(0, 2), Range(2, 3)]
    assert not world.seeks


async def test_what_was_fetched_and_came_from_memory_before_is_no_reason_to_seek(world):
    world.read(2)
    world.give(1)
    assert (world.runner.positions, world.seeks) == ({0: 2}, [])


@pytest.fixture
def short_lists(monkeypatch):
    """Two snapshots are kept, and three more are no harm; how often expiry was asked for."""
    asked = []

    def expire(*args, **kwargs):
        asked.append(kwargs)
        return expire_snapshots(*args, **kwargs)

    monkeypatch.setattr(sinking, "expire_snapshots", expire)
    return asked


async def commits_of_a_worker(lake, count, *, at_s):
    """Commit so many times, and end; how many snapshots the table had after each."""
    world = SinkWorld(lake=lake, limits=Limits(snapshots_kept=2, snapshots_spare=3))
    world.clock.now_s += at_s - T0_MS / 1000
    await world.start()
    had = []
    for _ in range(count):
        world.read()
        await world.look()
        await world.look(after_s=1.0)
        had.append(len(lake.snapshots()))
    await world.runner.close()
    return had


async def test_workers_that_do_not_live_long_let_snapshots_expire_as_well(tmp_path, short_lists):
    had = []
    for _ in range(5):
        lake = lake_rows.World(tmp_path).writer()
        had += await commits_of_a_worker(lake, 2, at_s=time.time() + 3_600)
    assert had == [1, 2, 3, 4, 2, 3, 4, 2, 3, 4]
    assert len(short_lists) == 2


async def test_snapshots_that_cannot_go_are_not_asked_for_with_every_commit(tmp_path, short_lists):
    lake = lake_rows.World(tmp_path).writer()
    had = await commits_of_a_worker(lake, 9, at_s=time.time() - 3_600)  # all are of later times
    assert had[-1] == 9
    assert len(short_lists) == 2


# -- rows from memory ----------------------------------------------------------------------------


def give(world, offset):
    """A task of this worker commits one record of two rows."""
    batches = (lake_rows.record(0, offset, 2),)
    chunk = LogChunk(0, offset, offset + 1, batches, None, world.clock.time_ns() // 1_000_000)
    world.committed.give(chunk)


async def test_while_a_task_gives_rows_nothing_of_the_partition_is_fetched(world):
    give(world, 0)
    await world.look()
    assert world.memory == [({0}, True)]
    world.give(0)  # it was on its way
    world.give(1)
    assert (world.runner.positions, world.seeks) == ({0: 1}, [])
    give(world, 1)
    await world.look()
    assert (world.runner.positions, world.runner.buffered_rows) == ({0: 2}, 4)
    labels = {"stream": "trades", "origin": "memory"}
    assert value(world.metrics.registry, "k2_sink_rows_read_total", **labels) == 4


async def test_the_log_is_read_from_where_memory_ended(world):
    give(world, 0)
    await world.look()
    world.committed.clear(0)
    await world.look()
    assert world.memory == [({0}, True), ({0}, False)]
    assert world.seeks == [{0: 0}]  # it may be a marker that is still to come
    world.give(0, records=2)
    assert world.runner.positions == {0: 2}
    assert world.runner.buffered_rows == 4


async def test_a_full_sink_takes_nothing_from_memory_and_goes_on_where_it_was(world):
    world.lake.away = True
    for offset in range(8):
        give(world, offset)
    await world.look(after_s=1.0)
    assert world.paused
    assert world.runner.positions[0] < 8
    await world.pass_time(3)
    world.lake.away = False
    await world.pass_time(40)
    assert covered(world).end == world.runner.positions[0]
    assert sum(rows for _, rows in world.lake.commits) == 2 * covered(world).end


async def test_a_partition_that_goes_is_fetched_when_it_comes_back(world):
    give(world, 0)
    await world.look()
    await world.runner.assign(set())
    assert world.memory[-1] == ({0}, False)
    await world.start()
    give(world, 1)
    await world.look()
    assert world.runner.positions == {0: 0}  # the lake has nothing: memory does not begin there


async def test_a_lake_that_ends_behind_the_last_stable_offset_is_no_error(world):
    """A commit is acknowledged before its marker is written, and its rows are in the lake."""
    world.kafka.stable, world.kafka.end, world.lake.next = 3, 5, {0: 5}
    await world.runner.assign(set())
    assert await world.runner.assign({0}) == {0: 5}


async def test_a_sink_waits_for_the_marker_of_what_the_lake_has(world):
    world.kafka.end, world.lake.next = 5, {0: 6}
    await world.runner.assign(set())
    with pytest.raises(MarkerPendingError, match="marker at offset 5"):
        await world.runner.assign({0})
    world.lake.next = {0: 7}  # two offsets more are no marker
    with pytest.raises(LakeBehindError):
        await world.runner.assign({0})


async def test_a_full_sink_reads_no_partition_that_is_assigned_meanwhile(world):
    world.lake.away = True
    await world.pass_time(10)
    world.lake.away = False
    world.clock.now_s += 60  # it may be asked again, and has not taken the batch yet
    world.paused = False  # as the driver has each new assignment
    await world.runner.assign(set())
    await world.start()
    assert world.paused


async def test_a_sink_whose_rows_went_with_their_partition_reads_the_next_one(world):
    """Nothing is left to commit, after which it would read on."""
    while not world.paused:
        world.read()
    await world.runner.assign(set())
    await world.start()
    assert not world.paused
