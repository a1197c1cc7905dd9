"""An append to the lake is a compare-and-set on the offset vector: each row once, whatever happens.

Every test looks at the rows from outside, through the manifests, so a commit whose files were
deleted behind it shows as a failure to read.
"""

import threading

import pytest
from lake_rows import TOPIC_ID, World, append, places_of, record, table_of
from maintenance_world import SetClock
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from sqlalchemy.exc import OperationalError

from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range, Vector
from k2_streams.lake import table as lake_table
from k2_streams.lake.errors import (
    CommitUnknownError,
    LakeUnavailableError,
    TopicChangedError,
    VectorMissingError,
    VectorMovedError,
    VectorWentBackError,
)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(lake_table, "RELOAD_PAUSE_S", 0.001)
    return World(tmp_path)


def locked():
    return OperationalError("update", {}, Exception("database is locked"))


def on_commit(lake, *steps):
    """Run steps[i](real) in place of the writer's i-th request to the catalog, then the real one.

    A step gets a function that makes the request, and may call it or not, raise or not.
    """
    lake.head()
    real, calls = lake._catalog.commit_table, []

    def commit_table(*args, **kwargs):
        calls.append(args)
        index = len(calls) - 1
        if index < len(steps):
            return steps[index](lambda: real(*args, **kwargs))
        return real(*args, **kwargs)

    lake._catalog.commit_table = commit_table
    return calls


def land_then_raise(error):
    def step(real):
        real()
        raise error

    return step


def raise_only(error):
    def step(real):
        raise error

    return step


def first(act):
    """Another's act between our look at the table and our request."""

    def step(real):
        act()
        return real()

    return step


LOST = [
    pytest.param(CommitFailedException("conflict"), id="as a conflict"),
    pytest.param(CommitStateUnknownException("502"), id="as state unknown"),
    pytest.param(TimeoutError("read timed out"), id="as a timeout"),
    pytest.param(locked(), id="as a locked database"),
]


def test_files_that_may_be_orphans_by_now_are_written_again(world):
    """The process stood still between the files and the commit; its batch is tried again."""
    clock = SetClock()
    lake = lake_table.Lake(world.config, clock, stream=TRADES)

    def stands_still(real):
        clock.now_ns += int((lake_table.COMMIT_WITHIN_S + 1) * 1e9)
        raise CommitFailedException("conflict")

    on_commit(lake, *[stands_still] * 5)
    with pytest.raises(LakeUnavailableError, match="written again"):
        append(lake, 0, 0, 5)
    assert world.places() == []
    append(lake, 0, 0, 5)
    assert world.places() == places_of((0, 0))


def test_batches_follow_each_other_and_the_vector_with_them(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    done = append(lake, 0, 5, 9)
    assert done.head == lake.head()
    assert (done.attempts, done.files, done.head.rows) == (1, 1, 6)
    assert world.vector() == {0: 9}
    assert world.places() == places_of((0, 0), (0, 5))


def test_a_stale_writer_is_refused(world):
    owner, stale = world.writer(), world.writer()
    stale.head()
    append(owner, 0, 0, 5)
    with pytest.raises(VectorMovedError) as refused:
        append(stale, 0, 0, 5)
    assert refused.value.found == {0: 5}
    assert "expected the table to end at 0, found 5" in str(refused.value)
    assert world.places() == places_of((0, 0))
    assert len(world.data_files()) == 1  # refused before a file was written


def test_a_writer_that_goes_stale_between_look_and_request_is_refused(world):
    owner, stale = world.writer(), world.writer()
    calls = on_commit(stale, first(lambda: append(owner, 0, 0, 5)))
    with pytest.raises(VectorMovedError):
        append(stale, 0, 0, 5)
    assert len(calls) == 1  # refused by the catalog once, by the vector before the second request
    assert world.places() == places_of((0, 0))
    assert world.vector() == {0: 5}


def test_two_stale_writers_of_disjoint_partitions_both_land(world):
    one, two = world.writer(), world.writer()
    append(one, 0, 0, 5)
    append(two, 1, 0, 5)
    on_commit(two, first(lambda: append(one, 0, 5, 9)))
    done = append(two, 1, 5, 9)
    assert done.attempts == 2
    assert world.vector() == {0: 9, 1: 9}
    assert Vector.decode(world.table().properties["k2.offsets"]).topics["k2.trades"].next == {
        0: 9,
        1: 9,
    }
    # With the summary of the first attempt, writer one would now read [5, 9) again.
    append(one, 0, 9, 12)
    assert world.places() == places_of((0, 0), (0, 5), (0, 9), (1, 0), (1, 5))


@pytest.mark.parametrize("lost", LOST)
def test_a_lost_acknowledgement_is_found_to_have_landed(world, lost):
    lake = world.writer()
    append(lake, 0, 0, 5)
    calls = on_commit(lake, land_then_raise(lost))
    done = append(lake, 0, 5, 9)
    assert len(calls) == 1  # nothing was sent twice
    assert done.head.vector.next_of("k2.trades", 0) == 9
    assert world.places() == places_of((0, 0), (0, 5))
    append(lake, 0, 9, 12)
    assert world.places() == places_of((0, 0), (0, 5), (0, 9))


@pytest.mark.parametrize("lost", LOST)
def test_a_lost_acknowledgement_with_another_commit_on_top_is_found(world, lost):
    lake, other = world.writer(), world.writer()

    def step(real):
        real()
        append(other, 1, 0, 5)
        raise lost

    on_commit(lake, step)
    append(lake, 0, 0, 5)
    assert world.vector() == {0: 5, 1: 5}
    assert world.places() == places_of((0, 0), (1, 0))


def test_a_lost_acknowledgement_at_the_last_retry_leaves_the_table_readable(world):
    """Here pyiceberg itself would delete the manifests of the commit that landed."""
    with world.table().transaction() as change:
        change.set_properties({"commit.retry.num-retries": "0"})
    lake = world.writer()
    on_commit(lake, land_then_raise(CommitFailedException("conflict")))
    append(lake, 0, 0, 5)
    assert world.places() == places_of((0, 0))


@pytest.mark.parametrize("failed", LOST)
def test_a_request_that_did_not_land_is_made_again(world, failed):
    lake = world.writer()
    calls = on_commit(lake, raise_only(failed))
    done = append(lake, 0, 0, 5)
    assert (len(calls), done.attempts) == (2, 2)
    assert world.places() == places_of((0, 0))


def test_a_request_that_lands_after_we_gave_it_up_lands_once(world):
    lake = world.writer()
    late = []

    def in_flight(real):
        late.append(real)
        raise TimeoutError("read timed out")

    on_commit(lake, in_flight, lambda real: (late[0](), real())[1])
    append(lake, 0, 0, 5)
    assert world.places() == places_of((0, 0))
    assert world.vector() == {0: 5}


@pytest.mark.parametrize("landed", [True, False])
def test_an_unknown_commit_is_resolved_by_the_same_call_later(world, landed, monkeypatch):
    lake = world.writer()

    def step(real):
        if landed:
            real()
        lake._catalog.load_table = away
        raise TimeoutError("read timed out")

    def away(*_):
        raise ConnectionError("catalog is away")

    on_commit(lake, step)
    with pytest.raises(CommitUnknownError) as unknown:
        append(lake, 0, 0, 5, "batch-7")
    assert unknown.value.commit_id == "batch-7"
    del lake._catalog.load_table
    done = append(lake, 0, 0, 5, "batch-7")
    assert done.attempts == (0 if landed else 1)
    assert world.places() == places_of((0, 0))
    assert done.head.rows == 3


def test_a_commit_id_used_twice_hides_no_rows(world):
    lake = world.writer()
    append(lake, 0, 0, 5, "same")
    append(lake, 0, 5, 9, "same")
    assert world.places() == places_of((0, 0), (0, 5))


def test_conflicts_without_end_are_given_up_with_nothing_written(world):
    lake = world.writer()
    on_commit(lake, *[raise_only(CommitFailedException("conflict"))] * 100)
    with world.table().transaction() as change:
        change.set_properties({"commit.retry.min-wait-ms": "1"})
    with pytest.raises(LakeUnavailableError, match="other writers were first") as given_up:
        append(lake, 0, 0, 5)
    assert not isinstance(given_up.value, CommitUnknownError)
    assert world.table().current_snapshot() is None


def test_a_concurrent_property_change_is_kept(world):
    lake = world.writer()

    def change():
        with world.table().transaction() as tx:
            tx.set_properties({"owner": "desk"})

    on_commit(lake, first(change))
    append(lake, 0, 0, 5)
    assert world.table().properties["owner"] == "desk"
    assert world.places() == places_of((0, 0))


def test_a_property_change_within_the_catalogs_own_step_is_kept(world):
    """Between the catalog's read and its update: a real conflict, with the head unchanged."""
    lake = world.writer()
    lake.head()
    real, calls = lake._catalog._write_metadata, []

    def write_metadata(*args, **kwargs):
        calls.append(args)
        if len(calls) == 1:
            with world.table().transaction() as tx:
                tx.set_properties({"owner": "desk"})
        return real(*args, **kwargs)

    lake._catalog._write_metadata = write_metadata
    done = append(lake, 0, 0, 5)
    assert done.attempts == 2
    assert world.table().properties["owner"] == "desk"
    assert world.vector() == {0: 5}
    assert world.places() == places_of((0, 0))


def test_a_table_with_rows_and_no_vector_is_refused(world):
    world.table().append(table_of(record(0, 0)))
    lake = world.writer()
    with pytest.raises(VectorMissingError, match="3 rows"):
        lake.head()
    with pytest.raises(VectorMissingError):
        append(lake, 0, 0, 5)
    assert world.places() == places_of((0, 0))


def test_a_snapshot_of_another_engine_hides_no_vector(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    world.table().append(table_of(record(7, 0)))
    assert lake.head().vector.next_of("k2.trades", 0) == 5
    with pytest.raises(VectorMovedError):
        append(world.writer(), 0, 0, 5)
    append(lake, 0, 5, 9)
    assert world.vector() == {0: 9}


def test_the_property_says_it_when_every_snapshot_that_said_it_has_expired(world):
    lake = world.writer()
    kept = append(lake, 0, 0, 5).snapshot_id
    world.table().append(table_of(record(7, 0)))
    world.table().maintenance.expire_snapshots().by_id(kept).commit()
    assert lake.head().vector.next_of("k2.trades", 0) == 5
    append(lake, 0, 5, 9)
    assert world.places() == places_of((0, 0), (0, 5), (7, 0))


def test_a_retry_does_not_read_its_own_mirror_as_the_tables(world):
    """The vector comes from the property here, and the first attempt had staged a new one."""
    lake = world.writer()
    kept = append(lake, 0, 0, 5).snapshot_id
    world.table().append(table_of(record(7, 0)))
    world.table().maintenance.expire_snapshots().by_id(kept).commit()
    on_commit(lake, first(lambda: world.table().append(table_of(record(8, 0)))))
    assert append(lake, 0, 5, 9).attempts == 2
    assert world.vector() == {0: 9}


def test_a_topic_created_anew_is_refused(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    rows = table_of(record(0, 5))
    with pytest.raises(TopicChangedError) as refused:
        lake.append(rows, {0: Range(5, 9)}, topic_id="topic-2", commit_id="x")
    assert (refused.value.expected, refused.value.found) == (TOPIC_ID, "topic-2")
    assert world.places() == places_of((0, 0))


def test_a_batch_from_before_the_tables_end_is_refused(world):
    lake = world.writer()
    append(lake, 0, 0, 9)
    for start, end in ((0, 9), (3, 9), (3, 12), (12, 15)):
        with pytest.raises(VectorMovedError):
            append(lake, 0, start, end)
    assert world.vector() == {0: 9}


def test_one_moved_partition_refuses_the_whole_batch(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    rows = table_of(record(0, 3), record(1, 0))
    with pytest.raises(VectorMovedError) as refused:
        lake.append(rows, {0: Range(3, 9), 1: Range(0, 4)}, topic_id=TOPIC_ID, commit_id="x")
    assert refused.value.found == {0: 5}
    assert world.vector() == {0: 5}


def test_a_vector_that_someone_set_back_is_an_error(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    old = lake.head().vector.encode()
    append(lake, 0, 5, 9)
    world.table().append(table_of(record(7, 0)), snapshot_properties={"k2.offsets": old})
    with pytest.raises(VectorWentBackError, match="expected 9 or more, found 5"):
        lake.head()
    with pytest.raises(VectorWentBackError):
        append(lake, 0, 5, 9)


def test_a_summary_that_is_no_vector_is_an_error(world):
    world.table().append(table_of(record(7, 0)), snapshot_properties={"k2.offsets": "{"})
    with pytest.raises(VectorMissingError, match="expected a vector"):
        world.writer().head()


def test_a_range_without_rows_moves_the_vector(world):
    lake = world.writer()
    append(lake, 0, 0, 5)
    done = append(lake, 0, 5, 9, count=0)
    assert (done.files, done.head.rows) == (0, 3)
    assert world.vector() == {0: 9}
    append(lake, 0, 9, 12)
    assert world.places() == places_of((0, 0), (0, 9))


def test_the_very_first_commit_may_be_empty(world):
    append(world.writer(), 0, 0, 5, count=0)
    assert world.vector() == {0: 5}
    assert world.places() == []


def test_rows_outside_the_ranges_are_refused(world):
    lake = world.writer()
    rows = table_of(record(0, 5))
    for ranges in ({0: Range(0, 5)}, {0: Range(6, 9)}, {1: Range(5, 9)}, {}, {0: Range(5, 5)}):
        with pytest.raises(ValueError, match=r"expected within|nothing to commit"):
            lake.append(rows, ranges, topic_id=TOPIC_ID, commit_id="x")
    with pytest.raises(ValueError, match="expected columns"):
        lake.append(
            rows.drop_columns(["vendor"]), {0: Range(5, 9)}, topic_id=TOPIC_ID, commit_id="x"
        )
    assert world.table().current_snapshot() is None


def test_writers_at_once_and_rivals_for_a_partition_write_each_row_once(world):
    """Threads with a handle each; two of them fight for partition 0, seeking as a sink does."""
    batches, errors = 6, []

    def work(partition):
        lake = world.writer()
        position = 0
        while position < batches:
            try:
                append(lake, partition, position, position + 1)
                position += 1
            except VectorMovedError as moved:
                position = moved.found[partition]
            except LakeUnavailableError:
                position = lake.head().vector.next_of("k2.trades", partition) or 0
            except Exception as error:
                errors.append(error)
                raise

    threads = [threading.Thread(target=work, args=(p,)) for p in (0, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert world.vector() == {0: batches, 1: batches}
    assert world.places() == places_of(*[(p, n) for p in (0, 1) for n in range(batches)])
