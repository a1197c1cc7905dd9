"""Maintenance is killed, kill -9, at each of its steps, beside a sink that goes on committing.

No broker is needed: the lake is a SQLite catalog and files, the maintenance a process of its own.
"""

import itertools
import subprocess
import sys
import time

import pytest
from lake_rows import World, places_of
from maintenance_world import SetClock, commit, state_of

from k2_streams.core.maintenance.deletion import plain
from k2_streams.lake.maintenance.deletions import delete_due, pending
from k2_streams.lake.maintenance.orphans import OLDER_THAN_S, delete_orphans
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


def maintain(world, plan):
    """The exit code of one run."""
    command = [sys.executable, "-c", PROGRAM, world.config.catalog_uri, world.config.warehouse]
    done = subprocess.run([*command, plan], capture_output=True, text=True, check=False)
    assert done.returncode in (0, SIGKILLED), done.stderr
    return done.returncode


@pytest.mark.long
def test_rows_vector_and_files_are_as_they_should_be_after_fifty_kills(tmp_path):
    world, kills, committed = World(tmp_path), 0, 0
    sink = world.writer()
    for point in itertools.cycle(POINTS):
        if kills == KILLS:
            break
        for _ in range(3):
            commit(sink, committed)
            committed += 1
        kills += maintain(world, f"{point}=crash") == SIGKILLED
        rows, _, vector = state_of(world)
        assert rows == 3 * committed
        assert vector.next_of("k2.trades", 0) == committed
    before = state_of(world)
    assert maintain(world, "") == 0
    assert state_of(world) == before
    assert world.places() == places_of(*[(0, n) for n in range(committed)])
    # What the killed ones left behind is found, and nothing else.
    delete_due(world.writer(), SetClock(time.time_ns()), delay_s=0.0)
    later = SetClock(time.time_ns() + int((OLDER_THAN_S + 60) * 1e9))
    delete_orphans(world.writer(), later, force=True)
    table = world.table()
    reachable = ReachableFiles(table.io).of(table.metadata, table.metadata.snapshots)
    stored = {plain(one.path) for one in list_files(table.io, table.location())}
    assert reachable.keys() <= stored
    assert not pending(table)
    assert {path for path in stored if path.endswith((".parquet", ".avro"))} <= reachable.keys()
    assert state_of(world) == before
