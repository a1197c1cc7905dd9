"""A lake with many small commits, for the tests of its maintenance."""

import datetime as dt

import pyarrow.compute as pc
from lake_rows import DAY_NS, NOON_NS, TOPIC_ID, World, record, table_of

from k2_streams.core.maintenance.compaction import CompactionPolicy
from k2_streams.core.maintenance.row_sums import sums_of
from k2_streams.core.records.vector import Range
from k2_streams.lake.maintenance.compaction import Compactor

TODAY = NOON_NS // DAY_NS
#: Small files are far below it.
POLICY = CompactionPolicy(target_bytes=1 << 20)


class SetClock:
    """A clock that tests move."""

    def __init__(self, now_ns=NOON_NS):
        self.now_ns = now_ns

    def time_ns(self):
        return self.now_ns

    def monotonic(self):
        return self.now_ns / 1e9


def commit(lake, start, *, count=3, partition=0, day=0, symbols=("AAA", "BBB", "CCC")):
    """One more small commit: a record of `count` rows at an offset, of a day after noon's."""
    made = record(
        partition, start, count, symbols=symbols, start_ns=NOON_NS + day * DAY_NS + start * 1_000
    )
    ranges = {partition: Range(start, start + 1)}
    name = f"commit-{partition}-{start}"
    return lake.append(table_of(made), ranges, topic_id=TOPIC_ID, commit_id=name)


def filled(world: World, commits, **more):
    """A writer, and so many commits by it."""
    lake = world.writer()
    for start in range(commits):
        commit(lake, start, **more)
    return lake


def compactor(world, *, clock=None, policy=POLICY, **more):
    """Of a handle of its own."""
    return Compactor(world.writer(), clock or SetClock(), policy, **more)


def compact_all(world, **more):
    """Every group there is."""
    compacting = compactor(world, **more)
    done = []
    while found := compacting.run_once():
        done.append(found)
    return done


def live_files(world):
    """The data files of the head."""
    return [task.file for task in world.table().scan().plan_files()]


def rows_of(world, snapshot_id=None):
    """All rows as another engine reads them, in the order of their places."""
    rows = world.table().scan(snapshot_id=snapshot_id).to_arrow()
    order = pc.sort_indices(
        rows, [(name, "ascending") for name in ("log_partition", "log_offset", "log_row")]
    )
    return rows.take(order)


def state_of(world):
    """What must not change by maintenance: rows, their checksum, and the vector."""
    rows = rows_of(world)
    return rows.num_rows, sums_of(rows), world.writer().head().vector


def day_of(number):
    """A day since 1970 as a date."""
    return dt.date(1970, 1, 1) + dt.timedelta(number)
