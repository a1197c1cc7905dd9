"""The background job: it works where it may, tells what it did, and an error does not end it."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lake_rows import World
from maintenance_world import SetClock, commit, compactor, filled, live_files
from metric_values import value

from k2_streams.lake.errors import LakeUnavailableError, TableMismatchError
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.maintenance.keeper import TableKeeper
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import from_environment


class Kept:
    """A keeper over a table of the test's."""

    def __init__(self, world, **limits):
        self.metrics, self.may_work, self.clock = Metrics(), True, SetClock()
        self.compactor = compactor(world)
        self.keeper = TableKeeper(
            self.compactor._lake,
            self.compactor,
            self.metrics.maintenance.of("trades"),
            self.clock,
            may_work=lambda: self.may_work,
            interval_s=0.001,
            delete_delay_s=60.0,
            thread=ThreadPoolExecutor(1),
            limits=Limits(**limits),
        )

    def counted(self, name):
        return value(self.metrics.registry, name, stream="trades")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
async def kept(world):
    kept = Kept(world)
    yield kept
    await kept.keeper.close()


async def test_it_compacts_and_shows_what_it_did(world, kept):
    filled(world, 8)
    await kept.keeper.look()
    assert len(live_files(world)) == 1
    assert kept.counted("k2_maintenance_compacted_files_total") == 8
    assert kept.counted("k2_maintenance_compacted_rows_total") == 24
    assert kept.counted("k2_maintenance_compaction_seconds_count") == 1
    assert kept.counted("k2_maintenance_table_files") == 1
    shown = kept.keeper.as_dict()
    assert (shown["compacted_files"], shown["compacted_rows"]) == (8, 24)
    assert shown["last_compaction"]["snapshot"] == world.table().current_snapshot().snapshot_id
    assert shown["error"] is None


async def test_a_worker_without_the_first_partition_does_nothing(world, kept):
    filled(world, 8)
    kept.may_work = False
    await kept.keeper.look()
    assert len(live_files(world)) == 8
    assert kept.keeper.as_dict()["working"] is False


async def test_it_stops_between_two_groups_when_the_partition_is_gone(world, kept):
    filled(world, 16, day=-1)
    filled_later = world.writer()
    real = kept.compactor.run_once

    def run_once():
        kept.may_work = False
        return real()

    kept.compactor.run_once = run_once
    await kept.keeper.look()
    assert kept.counted("k2_maintenance_compaction_seconds_count") == 1
    filled_later.close()


async def test_snapshots_expire_and_their_files_are_deleted_after_the_delay(world):
    kept = Kept(world, snapshots_kept=2, snapshots_spare=8)
    kept.clock.now_ns = time.time_ns() + 3_600_000_000_000  # after the commits
    filled(world, 8)
    inputs = world.data_files()
    await kept.keeper.look()
    assert len(world.table().metadata.snapshots) == 2
    assert kept.counted("k2_maintenance_expired_snapshots_total") == 7
    commit(world.writer(), 8)
    kept.clock.now_ns += 59_000_000_000
    await kept.keeper.look()
    assert kept.counted("k2_maintenance_deleted_files_total") == 0
    kept.clock.now_ns += 1_000_000_000
    await kept.keeper.look()
    # The one before the newest still reaches what was compacted.
    deleted = kept.counted("k2_maintenance_deleted_files_total")
    assert deleted > 0
    assert kept.keeper.as_dict()["expired_snapshots"] == 7
    assert kept.keeper.as_dict()["deleted_files"] == deleted
    assert set(inputs) <= set(world.data_files())
    await kept.keeper.close()


async def test_what_it_does_in_a_row_has_a_limit(world):
    kept = Kept(world, compactions_in_a_row=3)
    calls = []
    group = kept.compactor.run_once
    filled(world, 8)
    done = group()
    kept.compactor.run_once = lambda: calls.append(1) or done
    await kept.keeper.look()
    assert len(calls) == 3
    await kept.keeper.close()


@pytest.mark.parametrize(
    "error", [LakeUnavailableError("away"), TableMismatchError("renamed"), ValueError("a bug")]
)
async def test_an_error_is_shown_and_the_next_look_tries_again(world, kept, error):
    filled(world, 8)
    real = kept.compactor.run_once

    def run_once():
        raise error

    kept.compactor.run_once = run_once
    for _ in range(2):
        await kept.keeper.look()
    assert kept.counted("k2_maintenance_failures_total") == 2
    assert kept.keeper.as_dict()["error"] == f"{type(error).__name__}: {error}"
    assert kept.keeper._pause_s() > 0.001
    kept.compactor.run_once = real
    await kept.keeper.look()
    assert kept.keeper.as_dict()["error"] is None
    assert kept.keeper._pause_s() == 0.001


async def test_a_table_that_cannot_be_compacted_has_its_snapshots_and_files_looked_after(world):
    """Else the sink would let them expire, who writes down no file."""
    kept = Kept(world, snapshots_kept=2, snapshots_spare=2)
    filled(world, 8)
    kept.clock.now_ns = time.time_ns() + 10**9

    def run_once():
        raise TableMismatchError("deletes of another engine")

    kept.compactor.run_once = run_once
    await kept.keeper.look()
    assert len(world.table().metadata.snapshots) == 2
    assert kept.keeper.as_dict()["expired_snapshots"] == 6
    assert kept.keeper.as_dict()["error"] == "TableMismatchError: deletes of another engine"
    await kept.keeper.close()


async def test_files_that_stay_as_they_are_are_counted(world, kept):
    kept.compactor.unfit["s3://somewhere"] = "it has a column of its own"
    await kept.keeper.look()
    assert kept.counted("k2_maintenance_unfit_files") == 1
    assert kept.keeper.as_dict()["unfit_files"] == 1


async def test_it_runs_until_it_is_closed(world, kept):
    filled(world, 8)
    looked, real = asyncio.Event(), kept.keeper.look

    async def look():
        await real()
        looked.set()

    kept.keeper.look = look
    running = asyncio.ensure_future(kept.keeper.run())
    async with asyncio.timeout(30):
        await looked.wait()
    running.cancel()
    assert len(live_files(world)) == 1


def test_the_target_follows_the_setting():
    found = from_environment({"K2_COMPACT_TARGET_MB": "8", "K2_MAINTENANCE": "1"})
    assert found.compaction.target_bytes == 8 << 20
    assert found.maintenance
    assert not from_environment({}).maintenance
