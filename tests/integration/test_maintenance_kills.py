"""Maintenance is killed, kill -9, at each of its steps, beside a sink that goes on committing.

No broker is needed: the lake is a SQLite catalog and files, the maintenance a process of its own.
"""

import itertools
import os
import time

import forked
import pytest
from lake_rows import World, places_of
from maintenance_world import SetClock, commit, state_of

from k2_streams.core.maintenance.deletion import plain
from k2_streams.lake.maintenance.deletions import delete_due, pending
from k2_streams.lake.maintenance.orphans import OLDER_THAN_S, delete_orphans, find_orphans
from k2_streams.lake.maintenance.table_files import ReachableFiles, list_files

POINTS = (
    "maintenance.planned", "maintenance.rewritten", "maintenance.proven", "lake.manifests-written",
    "lake.committing", "lake.committed", "maintenance.replaced", "maintenance.written-down",
    "maintenance.expired", "maintenance.deleting", "maintenance.deleted",
)  # fmt: skip
KILLS = 50
SIGKILLED = -9

#: Compacts, lets snapshots expire and deletes, with a plan of what goes wrong.
PROGRAM = """
import sys
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.maintenance.compaction import CompactionPolicy
from k2_streams.core.records.stream import TRADES
from k2_streams.failpoints import arm, parse
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.maintenance.compaction import Compactor
from k2_streams.lake.maintenance.deletions import delete_due
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.table import Lake

uri, warehouse, plan = sys.argv[1:]
lake = Lake(LakeConfig(uri, warehouse), stream=TRADES)
arm(parse(plan))
compactor = Compactor(lake, SYSTEM_CLOCK, CompactionPolicy(1 << 20))
while compactor.run_once() is not None:
    pass
now_ms = SYSTEM_CLOCK.time_ns() // 1_000_000
expire_snapshots(lake, keep=2, older_than_ms=now_ms, files_at_ms=now_ms)
delete_due(lake, SYSTEM_CLOCK, delay_s=0.0)
"""


#: Commits once.
COMMIT = """
import sys
from maintenance_world import commit
from k2_streams.core.records.stream import TRADES
from k2_streams.failpoints import arm, parse
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake

uri, warehouse, plan, start = sys.argv[1:]
lake = Lake(LakeConfig(uri, warehouse), stream=TRADES)
arm(parse(plan))
commit(lake, int(start), partition=1)
"""
#: Where a commit is killed; at the last one it has landed.
COMMIT_POINTS = ("lake.files-written", "lake.manifests-written", "lake.committing",
                 "lake.committed")  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Runs a program on the world's lake; whether it was killed."""

    def run(world, program, *arguments):
        file = tmp_path / "program.py"
        file.write_text(program)
        command = [str(file), world.config.catalog_uri, world.config.warehouse, *arguments]
        done = forked.run(command, os.environ, tmp_path)
        assert done.returncode in (0, SIGKILLED), done.stderr
        return done.returncode == SIGKILLED

    return run


def stored_files(world):
    table = world.table()
    return {plain(one.path) for one in list_files(table.io, table.location())}


@pytest.mark.long
def test_the_orphans_of_a_hundred_killed_commits_are_found_exactly(tmp_path, run):
    world, left, landed = World(tmp_path), set(), 0
    commit(world.writer(), 0)
    for point in itertools.islice(itertools.cycle(COMMIT_POINTS), 100):
        before = stored_files(world)
        assert run(world, COMMIT, f"{point}=crash", str(landed))
        if point == COMMIT_POINTS[-1]:
            landed += 1
        else:
            left |= stored_files(world) - before
    assert world.places() == places_of((0, 0), *((1, n) for n in range(landed)))
    assert landed == 25
    later = SetClock(time.time_ns() + int((OLDER_THAN_S + 60) * 1e9))
    assert {plain(one.path) for one in find_orphans(world.writer(), later).files} == left
    before, stored = state_of(world), stored_files(world)
    delete_orphans(world.writer(), later, force=True)
    assert stored_files(world) == stored - left
    assert state_of(world) == before


@pytest.mark.long
def test_rows_vector_and_files_are_as_they_should_be_after_fifty_kills(tmp_path, run):
    world, kills, committed = World(tmp_path), 0, 0
    sink = world.writer()
    for point in itertools.cycle(POINTS):
        if kills == KILLS:
            break
        for _ in range(3):
            commit(sink, committed)
            committed += 1
        kills += run(world, PROGRAM, f"{point}=crash")
        rows, _, vector = state_of(world)
        assert rows == 3 * committed
        assert vector.next_of("k2.trades", 0) == committed
    before = state_of(world)
    assert not run(world, PROGRAM, "")
    assert state_of(world) == before
    assert world.places() == places_of(*[(0, n) for n in range(committed)])
    # What the killed ones left behind is found, and nothing else.
    delete_due(world.writer(), SetClock(time.time_ns()), delay_s=0.0)
    later = SetClock(time.time_ns() + int((OLDER_THAN_S + 60) * 1e9))
    delete_orphans(world.writer(), later, force=True)
    table = world.table()
    reachable = ReachableFiles(table.io).of(table.metadata, table.metadata.snapshots)
    stored = stored_files(world)
    assert reachable.keys() <= stored
    assert not pending(table)
    assert {path for path in stored if path.endswith((".parquet", ".avro"))} <= reachable.keys()
    assert state_of(world) == before
