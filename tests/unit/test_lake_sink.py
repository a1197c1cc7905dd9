"""The sink's buffer: consecutive ranges in, one batch out when it is due, each row once."""

import pytest
from lake_rows import TOPIC_ID, World, places_of, record
from pyiceberg.exceptions import CommitStateUnknownException

from k2_streams.core.records.vector import Range
from k2_streams.lake import sink as lake_sink
from k2_streams.lake import table as lake_table
from k2_streams.lake.errors import CommitUnknownError, VectorMovedError
from k2_streams.lake.sink import COMMIT_EVERY_S, EMPTY_EVERY_COMMITS, Sink

EMPTY_EVERY_S = EMPTY_EVERY_COMMITS * COMMIT_EVERY_S


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(lake_table, "RELOAD_PAUSE_S", 0.001)
    return World(tmp_path)


def sink_of(lake):
    return Sink(lake, "k2.trades", TOPIC_ID)


@pytest.fixture
def sink():
    return sink_of(None)


def test_what_was_offered_is_one_batch_in_the_lake(world):
    sink = sink_of(world.writer())
    sink.offer(1, Range(0, 4), [record(1, 0), record(1, 2)])
    sink.offer(0, Range(0, 2), [record(0, 1, 0)])
    sink.offer(1, Range(4, 6), [])
    assert sink.rows == 6
    pending = sink.take()
    assert pending.ranges == {0: Range(0, 2), 1: Range(0, 6)}
    assert (pending.rows, sink.rows, sink.size_bytes) == (6, 0, 0)
    done = sink.commit(pending)
    assert done.head.vector.topics["k2.trades"].next == {0: 2, 1: 6}
    assert world.places() == places_of((1, 0), (1, 2))


def test_a_snapshot_says_what_was_deferred_and_waited(world):
    sink = sink_of(world.writer())
    sink.offer(0, Range(0, 4), [record(0, 0)], deferred=9)
    sink.offer(1, Range(0, 2), [], deferred=3)
    sink.offer(0, Range(4, 6), [], deferred=5)
    sink.offer(1, Range(2, 4), [])
    assert sink.commit(sink.take()).head.vector.topics["k2.trades"].deferred == {0: 5, 1: 3}
    sink.offer(0, Range(6, 8), [], deferred=0)
    sink.forget(0)
    sink.seek(0, 6)
    sink.offer(0, Range(6, 7), [])
    assert sink.commit(sink.take()).head.vector.topics["k2.trades"].deferred == {0: 5, 1: 3}


def test_offers_go_on_while_a_batch_is_on_its_way(world):
    sink = sink_of(world.writer())
    sink.offer(0, Range(0, 4), [record(0, 0)])
    first = sink.take()
    sink.offer(0, Range(4, 6), [record(0, 4)])
    sink.commit(first)
    sink.commit(sink.take())
    assert world.places() == places_of((0, 0), (0, 4))


def test_an_unknown_batch_is_committed_again_and_lands_once(world):
    lake = world.writer()
    sink = sink_of(lake)
    sink.offer(0, Range(0, 4), [record(0, 0)])
    pending = sink.take()
    lake.head()
    real = lake._catalog.commit_table

    def lose(*args, **kwargs):
        real(*args, **kwargs)
        lake._catalog.load_table = away
        raise CommitStateUnknownException("502")

    def away(*_):
        raise ConnectionError("away")

    lake._catalog.commit_table = lose
    with pytest.raises(CommitUnknownError):
        sink.commit(pending)
    del lake._catalog.load_table
    assert sink.commit(pending).attempts == 0
    assert world.places() == places_of((0, 0))


def test_a_rival_is_told_and_starts_again_at_the_tables_end(world):
    rival, owner = sink_of(world.writer()), sink_of(world.writer())
    for sink in (owner, rival):
        sink.offer(0, Range(0, 4), [record(0, 0)])
    owner.commit(owner.take())
    with pytest.raises(VectorMovedError) as moved:
        rival.commit(rival.take())
    rival.seek(0, moved.value.found[0])
    rival.offer(0, Range(4, 6), [record(0, 4)])
    rival.commit(rival.take())
    assert world.places() == places_of((0, 0), (0, 4))


def test_a_hole_or_an_overlap_is_refused(sink):
    sink.offer(0, Range(5, 9), [])
    for start, end in ((10, 12), (5, 9), (8, 12)):
        with pytest.raises(ValueError, match="expected a range from 9"):
            sink.offer(0, Range(start, end), [])
    sink.take()
    with pytest.raises(ValueError, match="expected a range from 9"):
        sink.offer(0, Range(5, 9), [])


def test_a_record_outside_its_range_or_partition_is_refused(sink):
    for stray in (record(0, 9), record(0, 4), record(1, 6)):
        with pytest.raises(ValueError, match="expected records of"):
            sink.offer(0, Range(5, 9), [stray])
    assert sink.take() is None


def test_rows_are_due_after_their_time(sink):
    assert not sink.due(0)
    sink.offer(0, Range(0, 4), [record(0, 0)])
    assert not sink.due(100)
    assert not sink.due(100 + COMMIT_EVERY_S - 0.1)
    assert sink.due(100 + COMMIT_EVERY_S)
    sink.take()
    assert not sink.due(1000)
    sink.offer(0, Range(4, 8), [record(0, 4)])
    assert not sink.due(1000)
    assert sink.due(1000 + COMMIT_EVERY_S)


def test_a_vector_without_rows_is_due_later_and_no_move_never(sink):
    sink.offer(0, Range(0, 4), [])
    assert not sink.due(0)
    assert not sink.due(EMPTY_EVERY_S - 0.1)
    assert sink.due(EMPTY_EVERY_S)
    sink.take()
    sink.offer(0, Range(4, 4), [])
    assert not sink.due(0)
    assert not sink.due(1e9)
    assert sink.take() is None


def test_rows_that_join_a_moved_vector_wait_their_own_time(sink):
    sink.offer(0, Range(0, 4), [])
    assert not sink.due(0)
    sink.offer(0, Range(4, 8), [record(0, 4)])
    assert not sink.due(EMPTY_EVERY_S - 1)
    assert not sink.due(EMPTY_EVERY_S + COMMIT_EVERY_S - 2)
    assert sink.due(EMPTY_EVERY_S + COMMIT_EVERY_S - 1)


def test_many_rows_or_bytes_are_due_at_once_and_more_make_it_full(monkeypatch):
    sink = Sink(None, "k2.trades", TOPIC_ID, commit_rows=5)
    sink.offer(0, Range(0, 4), [record(0, 0)])
    assert not sink.due(0)
    sink.offer(0, Range(4, 8), [record(0, 4)])
    assert sink.due(0)
    assert not sink.full()
    sink.offer(0, Range(8, 12), [record(0, 8), record(0, 10)])
    assert sink.full()
    roomy = sink_of(None)
    roomy.offer(0, Range(0, 4), [record(0, 0)])
    assert not roomy.due(0)
    monkeypatch.setattr(lake_sink, "COMMIT_BYTES", roomy.size_bytes)
    assert roomy.due(0)
    assert not roomy.full()
    monkeypatch.setattr(lake_sink, "COMMIT_BYTES", roomy.size_bytes // 2)
    assert roomy.full()


def test_a_batch_on_its_way_counts_for_what_may_wait_behind_it():
    """It is in memory until the lake has it: one commit's worth beside it is all there may be."""
    sink = Sink(None, "k2.trades", TOPIC_ID, commit_rows=5)
    sink.offer(0, Range(0, 4), [record(0, 0), record(0, 2)])
    pending = sink.take()
    assert pending.rows == 6
    assert not sink.full(pending)
    sink.offer(0, Range(4, 6), [record(0, 4)])
    assert not sink.full(pending)
    sink.offer(0, Range(6, 8), [record(0, 6)])
    assert sink.full(pending)
    assert not sink.full()


def test_rows_that_went_away_leave_no_deadline_behind(sink):
    sink.offer(0, Range(0, 4), [record(0, 0)])
    sink.offer(1, Range(0, 4), [])
    assert not sink.due(0)
    sink.forget(0)
    assert not sink.due(COMMIT_EVERY_S)
    sink.offer(0, Range(0, 4), [record(0, 0)])
    assert not sink.due(COMMIT_EVERY_S + 5)
    assert sink.due(2 * COMMIT_EVERY_S + 5)


def test_a_partition_that_went_away_takes_its_rows_with_it(sink):
    sink.offer(0, Range(0, 4), [record(0, 0)])
    sink.offer(1, Range(7, 9), [record(1, 7, 2)])
    sink.forget(0)
    assert sink.rows == 2
    assert sink.take().ranges == {1: Range(7, 9)}
    sink.offer(0, Range(20, 21), [])
    sink.seek(1, 3)
    sink.offer(1, Range(3, 5), [])
    assert sink.take().ranges == {0: Range(20, 21), 1: Range(3, 5)}
    assert (sink.rows, sink.size_bytes) == (0, 0)


def test_every_batch_has_a_name_of_its_own(sink):
    names = set()
    for n in range(20):
        sink.offer(0, Range(n, n + 1), [])
        names.add(sink.take().commit_id)
    assert len(names) == 20
