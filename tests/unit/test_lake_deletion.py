"""Expired snapshots' files are deleted late, orphans by request, and nothing that is reachable."""

import time
from pathlib import Path

import pytest
from lake_rows import World, append, places_of, record, table_of
from maintenance_world import SetClock, commit, compact_all, filled, rows_of, state_of
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem
from pyiceberg.io.fsspec import FsspecFileIO
from pyiceberg.io.pyarrow import PyArrowFileIO

from k2_streams.core.maintenance.deletion import plain
from k2_streams.failpoints import FailpointError, arm, parse
from k2_streams.lake.errors import LakeConfigError, LakeUnavailableError, VectorMissingError
from k2_streams.lake.maintenance import deletions
from k2_streams.lake.maintenance.deletions import delete_due
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.maintenance.orphans import (
    OLDER_THAN_S,
    OrphansRefusedError,
    delete_orphans,
    find_orphans,
)
from k2_streams.lake.maintenance.table_files import ReachableFiles, delete_file, list_files

NOW_MS = SetClock().now_ns // 1_000_000
LATER = 1 << 62
DELAY_S = 3_600.0


@pytest.fixture
def world(tmp_path):
    yield World(tmp_path)
    arm(())


def expire(world, keep=1, at_ms=NOW_MS):
    return expire_snapshots(world.writer(), keep=keep, older_than_ms=LATER, files_at_ms=at_ms)


def delete(world, after_s=DELAY_S):
    return delete_due(
        world.writer(), SetClock((NOW_MS + int(after_s * 1000)) * 1_000_000), delay_s=DELAY_S
    )


def files_on_disk(world):
    table = world.table()
    return {plain(one.path): one.size_bytes for one in list_files(table.io, table.location())}


def reachable(world):
    table = world.table()
    return set(ReachableFiles(table.io).of(table.metadata, table.metadata.snapshots))


@pytest.mark.slow
def test_compacted_files_go_when_their_snapshots_have_expired_and_the_delay_is_over(world):
    filled(world, 8)
    before, inputs = state_of(world), world.data_files()
    compact_all(world)
    assert len(expire(world).snapshot_ids) == 8
    assert delete(world, after_s=DELAY_S - 1).waiting == 1
    assert set(inputs) < set(world.data_files())
    done = delete(world)
    assert (done.records, done.waiting) == (1, 0)
    assert not set(inputs) & set(world.data_files())
    assert done.files >= 8 + 8 + 8  # data files, manifests, manifest lists
    assert state_of(world) == before
    assert reachable(world) <= set(files_on_disk(world))
    assert delete(world).records == 0


@pytest.mark.slow
def test_a_month_of_commits_takes_little_more_than_its_live_rows(world):
    """Compacted, expired and deleted again and again: what is left is what is live."""
    lake = world.writer()
    for start in range(60):
        commit(lake, start, count=200)
        if start % 8 == 7:
            compact_all(world)
            expire(world, keep=2, at_ms=NOW_MS + start)
            delete(world, after_s=DELAY_S + start)
    live = sum(task.file.file_size_in_bytes for task in world.table().scan().plan_files())
    on_disk = sum(path.stat().st_size for path in world.data_files())
    assert on_disk <= 2 * live
    assert world.places() == places_of(*[(0, n) for n in range(60)], count=200)


def test_what_another_snapshot_reaches_stays(world):
    lake = filled(world, 3)
    with world.table().manage_snapshots() as manage:
        manage.create_tag(lake.head().snapshot_id, "audit")
    tagged = rows_of(world)
    compact_all(world, clock=SetClock(SetClock().now_ns + 86_400_000_000_000))
    for start in range(3, 6):
        commit(lake, start)
    expire(world)
    delete(world)
    snapshot = world.table().metadata.refs["audit"].snapshot_id
    assert rows_of(world, snapshot_id=snapshot).equals(tagged)
    assert reachable(world) <= set(files_on_disk(world))


def test_an_expiry_that_failed_deletes_nothing(world):
    """Its files are written down, and all of them are still reachable."""
    filled(world, 4)
    compact_all(world, clock=SetClock(SetClock().now_ns + 86_400_000_000_000))
    before = set(files_on_disk(world))
    arm(parse("maintenance.written-down=raise"))
    with pytest.raises(FailpointError):
        expire(world)
    arm(())
    done = delete(world)
    assert (done.files, done.records) == (0, 1)
    assert set(files_on_disk(world)) == before
    # The next expiry writes them down once more.
    expire(world)
    assert delete(world).files > 0


def test_a_crash_after_the_expiry_forgets_no_file(world):
    filled(world, 4)
    compact_all(world, clock=SetClock(SetClock().now_ns + 86_400_000_000_000))
    arm(parse("maintenance.expired=raise"))
    with pytest.raises(FailpointError):
        expire(world)
    arm(())
    assert len(world.table().metadata.snapshots) == 1
    assert delete(world).files > 0
    assert len(world.data_files()) == 1


@pytest.mark.parametrize(
    "entry",
    ["maintenance.deleting=raise", "maintenance.deleting=raise@3", "maintenance.deleted=raise"],
)
def test_a_deletion_that_ended_halfway_is_repeated(world, entry):
    filled(world, 4)
    compact_all(world, clock=SetClock(SetClock().now_ns + 86_400_000_000_000))
    before = state_of(world)
    expire(world)
    arm(parse(entry))
    with pytest.raises(FailpointError):
        delete(world)
    arm(())
    delete(world)
    assert len(world.data_files()) == 1
    assert [*deletions.pending(world.table())] == []
    assert state_of(world) == before


def test_a_table_set_back_to_a_snapshot_that_is_there_keeps_its_files(world):
    """They were written down by an expiry that another engine forestalled."""
    lake = filled(world, 3)
    first = lake.snapshots()[0].id
    compact_all(world, clock=SetClock(SetClock().now_ns + 86_400_000_000_000))
    arm(parse("maintenance.written-down=raise"))
    with pytest.raises(FailpointError):
        expire(world)
    arm(())
    with world.table().manage_snapshots() as manage:
        manage.rollback_to_snapshot(first)
    expire_snapshots(world.writer(), keep=1, older_than_ms=LATER)
    delete(world)
    assert world.places() == places_of((0, 0))


def test_a_manifest_that_cannot_be_read_stops_the_deletion(world, monkeypatch):
    filled(world, 3)
    compact_all(world, clock=SetClock(SetClock().now_ns + 86_400_000_000_000))
    expire(world)
    before = set(files_on_disk(world))

    def unreadable(*_):
        raise OSError("503 slow down")

    monkeypatch.setattr(ReachableFiles, "_files_of", unreadable)
    with pytest.raises(LakeUnavailableError):
        delete(world)
    assert set(files_on_disk(world)) == before


def clock_after(seconds):
    """A clock ahead of the files' own times."""
    return SetClock(time.time_ns() + int(seconds * 1e9))


def killed_commits(world, count):
    """Commits that end at a point in turn; the files that they leave behind."""
    points = ("lake.files-written", "lake.manifests-written", "lake.committing")
    table = world.table()
    left = set()
    for number in range(count):
        before = set(files_on_disk(world))
        arm(parse(f"{points[number % 3]}=raise"))
        with pytest.raises((FailpointError, LakeUnavailableError)):
            append(world.writer(), 1, number, number + 1)
        arm(())
        left |= set(files_on_disk(world)) - before
    assert table.metadata == world.table().metadata
    return left


@pytest.fixture
def with_orphans(world, monkeypatch):
    """A table with large live files, and what killed commits left behind."""
    monkeypatch.setattr("k2_streams.lake.table.COMMIT_TRIES", 1)
    commit(world.writer(), 0, count=3)
    lake = world.writer()
    append(lake, 0, 1, 100, count=20_000)
    return world, killed_commits(world, 9)


def test_orphans_are_exactly_the_files_of_killed_commits(with_orphans):
    world, left = with_orphans
    found = find_orphans(world.writer(), clock_after(OLDER_THAN_S + 60))
    assert {plain(one.path) for one in found.files} == left
    assert len(left) >= 9
    assert find_orphans(world.writer(), clock_after(OLDER_THAN_S - 60)).files == ()


def test_orphans_are_deleted_and_nothing_else(with_orphans):
    world, left = with_orphans
    before, on_disk = state_of(world), set(files_on_disk(world))
    done = delete_orphans(world.writer(), clock_after(OLDER_THAN_S + 60), force=True)
    assert done.deleted == len(left)
    assert set(files_on_disk(world)) == on_disk - left
    assert state_of(world) == before
    assert find_orphans(world.writer(), clock_after(OLDER_THAN_S + 60)).files == ()


def test_the_hint_of_engines_without_a_catalog_is_no_orphan(world):
    commit(world.writer(), 0)
    hint = Path(world.table().location().removeprefix("file://")) / "metadata" / "version-hint.text"
    hint.write_text("1")
    assert find_orphans(world.writer(), clock_after(OLDER_THAN_S + 60)).files == ()


def test_many_orphans_are_refused_until_it_is_forced(world, monkeypatch):
    monkeypatch.setattr("k2_streams.lake.table.COMMIT_TRIES", 1)
    commit(world.writer(), 0)
    left = killed_commits(world, 6)
    with pytest.raises(OrphansRefusedError, match="more than 10%"):
        delete_orphans(world.writer(), clock_after(OLDER_THAN_S + 60))
    assert left <= set(files_on_disk(world))


def test_young_files_are_never_called_orphans(world):
    with pytest.raises(OrphansRefusedError, match="a commit under way"):
        find_orphans(world.writer(), SetClock(), older_than_s=60.0)


def test_files_that_wait_for_their_deletion_are_no_orphans(world):
    filled(world, 3)
    compact_all(world, clock=SetClock(SetClock().now_ns + 86_400_000_000_000))
    expire(world)
    assert find_orphans(world.writer(), clock_after(OLDER_THAN_S + 60)).files == ()


def test_of_a_table_that_does_not_say_what_it_holds_nothing_is_called_an_orphan(world):
    world.table().append(table_of(record(0, 0)))
    with pytest.raises(VectorMissingError):
        find_orphans(world.writer(), clock_after(OLDER_THAN_S + 60))


class FolderForBucket(PyArrowFileIO):
    """A store with buckets, which is a folder here."""

    def __init__(self, folder):
        super().__init__()
        stores = {"s3": SubTreeFileSystem(str(folder), LocalFileSystem())}
        self.fs_by_scheme = lambda scheme, _bucket: stores[scheme]


def test_files_of_a_store_are_listed_and_deleted_by_their_addresses(tmp_path):
    (tmp_path / "bucket/lake/k2/trades/data").mkdir(parents=True)
    (tmp_path / "bucket/lake/k2/trades/data/a.parquet").write_bytes(b"abc")
    (tmp_path / "bucket/lake/k2/trades2").mkdir()
    (tmp_path / "bucket/lake/k2/trades2/b.parquet").write_bytes(b"b")
    store = FolderForBucket(tmp_path)
    (found,) = list_files(store, "s3://bucket/lake/k2/trades")
    assert (found.path, found.size_bytes) == ("s3://bucket/lake/k2/trades/data/a.parquet", 3)
    assert abs(found.modified_ms / 1_000 - time.time()) < 3_600
    assert [*list_files(store, "s3://bucket/nowhere")] == []
    assert delete_file(store, found.path)
    assert not delete_file(store, found.path)


def test_a_store_that_cannot_be_listed_is_refused():
    with pytest.raises(LakeConfigError, match="py-io-impl"):
        [*list_files(FsspecFileIO({}), "s3://bucket/lake")]
