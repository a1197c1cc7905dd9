"""What tasks give to the readers of their logs, and when a reader must not take it."""

from types import SimpleNamespace

import pytest
from lake_rows import record
from sink_world import HandClock

from k2_streams.core.records.events import GapFilled
from k2_streams.core.records.log_chunk import (
    CommittedChain,
    LogChunk,
    PublishedBeside,
    before_marker,
)
from k2_streams.core.records.log_record import CheckpointHeaders
from k2_streams.core.records.vector import Range
from k2_streams.runtime.committed_rows import (
    FOLLOWED_FOR_S,
    CommittedRows,
    HandOver,
    LogRecords,
)

LIMIT_BYTES = 1 << 20


def chunk(start, *offsets, partition=0, rows=2):
    batches = tuple(record(partition, offset, rows) for offset in offsets)
    return LogChunk(partition, start, offsets[-1] + 1, batches, CheckpointHeaders(7), 1)


def fed(*chunks, limit_bytes=LIMIT_BYTES, wanted=(0, 1)):
    clock, told = HandClock(), []
    rows = CommittedRows(clock, limit_bytes)
    feed = rows.feed(lambda: told.append(1))
    feed.want(wanted)
    for one in chunks:
        rows.give(one)
    return SimpleNamespace(clock=clock, rows=rows, feed=feed, told=told)


def offsets_of(taken):
    return None if taken is None else [batch.log_offset for batch in taken.batches]


# -- where a transaction lies --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "offsets", "found"),
    [
        ([], [5, 6], Range(5, 8)),  # what lies before it is not known; behind it lies its marker
        ([[5, 6]], [8], Range(7, 10)),  # also for a reader in front of the marker before it
        ([[5, 6]], [9], Range(9, 11)),  # somebody else's offset lies between
        ([[5, 6]], [8, 10], None),  # somebody else's record lies between
        ([[5, 6]], [-1], None),  # the broker did not tell
        ([[5, 6], [-1]], [10], Range(10, 12)),  # nor what lies behind that one
        ([[5, 6]], [0], None),  # another log of that name
        ([[5, 6], [0]], [8], None),  # of which nothing is ours, wherever it lies
    ],
)
def test_a_range_is_what_acknowledged_offsets_prove(before, offsets, found):
    chain = CommittedChain()
    for one in before:
        chain.add(one)
    assert chain.add(offsets) == found


def test_a_reader_inside_a_range_takes_the_rest_of_it():
    rest = chunk(3, 4, 5, 6).since(5)
    assert (rest.range, offsets_of(rest)) == (Range(5, 7), [5, 6])
    assert rest.headers == CheckpointHeaders(7)
    with pytest.raises(ValueError, match="found 2"):
        chunk(3, 4).since(2)


# -- what a reader takes -------------------------------------------------------------------------


def test_a_reader_takes_what_continues_where_it_stands():
    world = fed(chunk(3, 4, 5), chunk(6, 7))
    assert len(world.told) == 2
    assert offsets_of(world.feed.take(0, 3)) == [4, 5]
    assert offsets_of(world.feed.take(0, 6)) == [7]
    assert world.feed.take(0, 8) is None
    assert world.feed.waiting_bytes == 0


def test_a_reader_in_front_of_a_hole_takes_nothing_and_is_told_to_read_the_log():
    world = fed(chunk(3, 4, 5))
    assert world.feed.take(0, 2) is None
    assert not world.feed.follows(0, 2)
    assert world.feed.follows(0, 4)  # it came there by the log


def test_a_reader_that_is_ahead_drops_what_it_has_read():
    world = fed(chunk(3, 4, 5), chunk(6, 7))
    assert offsets_of(world.feed.take(0, 7)) == [7]
    assert world.feed.waiting_bytes == 0


def test_a_reader_follows_while_it_is_given_something():
    world = fed(chunk(3, 4))
    world.feed.take(0, 4)
    assert world.feed.follows(0, 5)
    assert not world.feed.follows(0, 6)  # it has gone on, or back, by other means
    world.clock.now_s += FOLLOWED_FOR_S
    assert not world.feed.follows(0, 5)  # what others commit is in the log alone


def test_a_reader_that_lags_is_refused_the_oldest():
    size = fed(chunk(0, 0)).feed.waiting_bytes
    world = fed(limit_bytes=size * 5 // 2)
    world.rows.give(chunk(0, 0))
    world.feed.take(0, 0)
    for offset in (2, 4, 6):
        world.rows.give(chunk(offset - 1, offset))
    assert world.feed.waiting_bytes <= size * 5 // 2
    assert not world.feed.follows(0, 1)
    assert world.feed.take(0, 1) is None
    assert offsets_of(world.feed.take(0, 3)) == [4]


def test_transactions_without_a_row_are_bounded_too():
    world = fed(*(chunk(2 * n, 2 * n, rows=0) for n in range(1000)), limit_bytes=50_000)
    assert 0 < world.feed.waiting_bytes <= 50_000


def test_with_no_bytes_everything_is_read_from_the_log():
    world = fed(chunk(0, 0, rows=0), chunk(1, 2), limit_bytes=0)
    assert world.feed.take(0, 0) is None
    assert not world.feed.follows(0, 0)


def test_a_partition_that_is_not_wanted_takes_no_room():
    world = fed(chunk(0, 0, partition=1), wanted=(0,))
    assert world.feed.waiting_bytes == 0
    world.feed.want((1,))
    world.rows.give(chunk(0, 0, partition=1))
    world.feed.want((0,))
    assert world.feed.waiting_bytes == 0
    assert world.feed.take(1, 0) is None


# -- a task's side -------------------------------------------------------------------------------


def filled(first):
    return GapFilled(scope="X:A", session="", first=first, last=first)


def written(*rows, log="log"):
    return LogRecords(log, tuple(record(0, n, n).rows for n in rows), 3, 77, CheckpointHeaders(9))


def handing_over(world, partition):
    topics = ("log", "other", "events", "dead")
    outputs = SimpleNamespace(topics=topics, events="events", dead_letter="dead")
    return HandOver(partition, {"log": world.rows}, outputs, world.clock)


def test_rows_are_given_at_the_offsets_that_were_acknowledged():
    world = fed()
    task = handing_over(world, 1)
    task.give([written(2, 3), written(1, log="other")], {"log": [4, 5], "other": [0]}, [])
    taken = world.feed.take(1, 4)
    assert [(b.log_partition, b.log_offset, b.rows.num_rows) for b in taken.batches] == [
        (1, 4, 2),
        (1, 5, 3),
    ]
    assert {(b.source_partition, b.accepted_time_us) for b in taken.batches} == {(3, 77)}
    assert taken.headers == CheckpointHeaders(9)


def test_events_and_dead_letters_are_given_at_their_own_offsets():
    world, found = fed(), [filled(1), filled(2)]
    task = handing_over(world, 0)
    task.give([written(1)], {"log": [0], "events": [7, 8], "dead": [3]}, found)
    task.give([written(1)], {"log": [2], "events": [10]}, [filled(3)])
    first, second = world.feed.take(0, 0), world.feed.take(0, 2)
    assert first.events == PublishedBeside(Range(7, 10), 7, 2, tuple(found))
    assert first.dead_letters == PublishedBeside(Range(3, 5), 3, 1)
    assert second.events == PublishedBeside(Range(9, 12), 10, 1, (filled(3),))
    assert second.dead_letters is None
    assert [first.events.seen_by(position) for position in (7, 8, 9, 10)] == [0, 1, 2, 2]


def test_events_that_do_not_follow_one_another_are_read_from_their_topic():
    """Between them lies what others have committed."""
    world = fed()
    task = handing_over(world, 0)
    task.give([written(1)], {"log": [0], "events": [7, 9]}, [filled(1), filled(2)])
    task.give([written(1)], {"log": [2], "events": [-1]}, [filled(3)])
    assert world.feed.take(0, 0).events is None
    assert world.feed.take(0, 2).events is None


def test_when_a_task_is_over_its_readers_read_the_log():
    world = fed()
    task = handing_over(world, 0)
    task.give([written(1)], {"log": [0]}, [])
    world.feed.take(0, 0)
    task.give([written(1)], {"log": [2]}, [])
    assert world.feed.follows(0, 2)
    told = len(world.told)
    task.close()
    assert len(world.told) == told + 1
    assert not world.feed.follows(0, 2)
    assert world.feed.take(0, 2) is None


def test_a_successor_does_not_continue_where_its_predecessor_ended():
    """Between the two lies what nobody here knows: aborted records, another worker's."""
    world = fed()
    handing_over(world, 0).give([written(1)], {"log": [0]}, [])
    world.feed.take(0, 0)
    handing_over(world, 0).give([written(1)], {"log": [4]}, [])
    assert world.feed.take(0, 2) is None
    assert offsets_of(world.feed.take(0, 4)) == [4]


def test_what_follows_memory_is_read_from_before_its_marker_and_never_before_the_beginning():
    """A partition whose first rows memory had and lost again was read from -1 on."""
    assert [before_marker(end) for end in (0, 1, 7)] == [0, 0, 6]
