"""Expiry removes snapshots and nothing that the table says of the log, beside a sink as well."""

import time

import pytest
from lake_rows import World, append, before_each_commit, places_of, record, table_of

from k2_streams.core.records.vector import Vector
from k2_streams.lake.errors import (
    LakeUnavailableError,
    SnapshotNotFoundError,
    VectorMissingError,
)
from k2_streams.lake.maintenance.expiry import EXPIRE_TRIES, expire_snapshots

LATER = 1 << 62


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def filled(world, count):
    lake = world.writer()
    return lake, [append(lake, 0, n, n + 1).snapshot_id for n in range(count)]


def test_old_snapshots_go_and_rows_and_vector_stay(world):
    lake, ids = filled(world, 5)
    before = lake.head()
    done = expire_snapshots(lake, keep=2, older_than_ms=LATER)
    assert done.snapshot_ids == tuple(ids[:3])
    assert done.head == before == lake.head()
    assert [s.id for s in lake.snapshots()] == ids[3:]
    assert world.places() == places_of(*[(0, n) for n in range(5)])
    with pytest.raises(SnapshotNotFoundError):
        world.writer().plan(ids[0])
    append(lake, 0, 5, 6)
    assert world.vector() == {0: 6}


def test_the_newest_are_the_last_committed_whatever_their_writers_clock_says(world, monkeypatch):
    """A worker an hour behind: what it just committed is not what goes first."""
    lake, ids = filled(world, 3)
    now = time.time()
    with monkeypatch.context() as behind:
        behind.setattr(time, "time", lambda: now - 3_600)
        ids += [append(lake, 0, n, n + 1).snapshot_id for n in (3, 4)]
    ids.append(append(lake, 0, 5, 6).snapshot_id)
    assert expire_snapshots(lake, keep=3, older_than_ms=LATER).snapshot_ids == tuple(ids[:3])
    assert [s.id for s in lake.snapshots()] == ids[3:]


def test_young_snapshots_and_the_last_ones_stay(world):
    lake, ids = filled(world, 3)
    assert expire_snapshots(lake, keep=1, older_than_ms=0).snapshot_ids == ()
    assert expire_snapshots(lake, keep=3, older_than_ms=LATER).snapshot_ids == ()
    assert [s.id for s in lake.snapshots()] == ids
    with pytest.raises(ValueError, match="one snapshot or more"):
        expire_snapshots(lake, keep=0, older_than_ms=LATER)


def test_a_tag_is_kept(world):
    lake, ids = filled(world, 3)
    with world.table().manage_snapshots() as manage:
        manage.create_tag(ids[0], "audit")
    assert expire_snapshots(lake, keep=1, older_than_ms=LATER).snapshot_ids == (ids[1],)


def test_the_snapshot_that_carries_the_vector_is_kept(world):
    """The last one, say, of another engine carries none."""
    lake, ids = filled(world, 3)
    world.table().append(table_of(record(7, 0)))
    done = expire_snapshots(lake, keep=1, older_than_ms=LATER)
    assert done.snapshot_ids == tuple(ids[:2])
    assert done.head.vector.next_of("k2.trades", 0) == 3


def test_a_vector_known_from_the_property_alone_survives(world):
    lake, ids = filled(world, 1)
    for n in range(3):
        world.table().append(table_of(record(7, n)))
    world.table().maintenance.expire_snapshots().by_id(ids[0]).commit()
    assert len(expire_snapshots(lake, keep=1, older_than_ms=LATER).snapshot_ids) == 2
    append(lake, 0, 1, 2)
    assert world.vector() == {0: 2}


def test_a_sink_that_commits_in_between_is_not_set_back(world):
    lake, ids = filled(world, 3)
    sink = world.writer()
    before_each_commit(lake, lambda n: append(sink, 0, n + 2, n + 3), times=1)
    done = expire_snapshots(lake, keep=1, older_than_ms=LATER)
    assert done.snapshot_ids == tuple(ids)
    assert done.head.vector.next_of("k2.trades", 0) == 4
    mirror = Vector.decode(world.table().properties["k2.offsets"])
    assert mirror.next_of("k2.trades", 0) == 4
    assert world.places() == places_of(*[(0, n) for n in range(4)])


def test_an_expiry_beside_a_sink_does_not_refuse_it(world):
    sink, _ = filled(world, 3)
    other = world.writer()
    before_each_commit(
        sink, lambda n: expire_snapshots(other, keep=1, older_than_ms=LATER), times=1
    )
    append(sink, 0, 3, 4)
    assert world.vector() == {0: 4}
    assert world.places() == places_of(*[(0, n) for n in range(4)])


def test_sinks_without_end_are_given_way(world):
    lake, ids = filled(world, 2)
    sink = world.writer()
    before_each_commit(lake, lambda n: append(sink, 0, n + 1, n + 2), times=EXPIRE_TRIES)
    with pytest.raises(LakeUnavailableError, match="others were first"):
        expire_snapshots(lake, keep=1, older_than_ms=LATER)
    assert {s.id for s in lake.snapshots()} > set(ids)


def test_a_table_that_does_not_say_what_it_holds_is_not_touched(world):
    for n in range(2):
        world.table().append(table_of(record(0, n)))
    with pytest.raises(VectorMissingError):
        expire_snapshots(world.writer(), keep=1, older_than_ms=LATER)
    assert len(world.table().snapshots()) == 2
