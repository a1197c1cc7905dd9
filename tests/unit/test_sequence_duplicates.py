"""Repeated numbers become one event a scope and session."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.dedup.duplicates import MAX_RANGES, DuplicateCounter
from k2_streams.core.records.events import Duplicates, encode


def counter_of(*ranges: tuple[int, int]) -> DuplicateCounter:
    counter = DuplicateCounter()
    for first, last in ranges:
        counter.add("X:A", "0", first, last)
    return counter


def test_ranges_are_sorted_and_merged_and_every_repeat_counts():
    counter = counter_of((7, 7), (1, 3), (4, 5), (2, 2), (2, 2))
    assert counter.events(5) == [
        Duplicates(scope="X:A", session="0", source_partition=5, count=8, ranges=[(1, 5), (7, 7)])
    ]
    assert counter.count == 8


def test_one_event_a_scope_and_session_in_their_order():
    counter = DuplicateCounter()
    for scope, session in (("X:B", "1"), ("X:A", "2"), ("X:B", "0"), ("X:A", "2")):
        counter.add(scope, session, 1, 1)
    assert [(event.scope, event.session, event.count) for event in counter.events()] == [
        ("X:A", "2", 2),
        ("X:B", "0", 1),
        ("X:B", "1", 1),
    ]


def test_nothing_repeated_is_no_event():
    counter = DuplicateCounter()
    assert not counter
    assert counter.events() == []
    assert counter_of((1, 1))


def test_counters_of_several_batches_add_up_and_stay_apart():
    total, batch = counter_of((1, 2)), counter_of((2, 4))
    total.update(batch)
    total.add("X:A", "0", 9, 9)
    assert total.events()[0].ranges == [(1, 4), (9, 9)]
    assert batch.events()[0].ranges == [(2, 4)]


def test_an_event_never_outgrows_a_record():
    high = 2**63 - 1
    ranges = [(high - 2 * index, high - 2 * index) for index in range(MAX_RANGES + 1)]
    events = counter_of(*ranges, (high, high)).events()
    assert [len(event.ranges) for event in events] == [MAX_RANGES, 1]
    assert [event.count for event in events] == [MAX_RANGES, 2]
    assert len(encode(events[0])) < 500_000


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9))), st.randoms())
def test_any_order_gives_the_same_event_and_the_ranges_hold_just_these_numbers(ranges, random):
    spans = [(first, first + more) for first, more in ranges]
    events = counter_of(*spans).events()
    random.shuffle(spans)
    assert counter_of(*spans).events() == events
    numbers = {number for first, last in spans for number in range(first, last + 1)}
    found = [r for event in events for r in event.ranges]
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(numbers)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))
    assert sum(event.count for event in events) == sum(b - a + 1 for a, b in spans)
