"""The fold of the sequencer's events says what the sequencer's own state says."""

from hypothesis import given, settings
from hypothesis import strategies as st

from k2_streams.core.records.events import (
    Duplicates,
    GapAbandoned,
    GapFilled,
    GapOpened,
    Late,
    Reset,
    Stale,
)
from k2_streams.core.sequence.gaps import ABANDONED, FILLED, OPEN, GapLedger, without
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ScopeMessage, ScopeState, step

SCOPE = "X:A"
HOUR_NS = 3_600_000_000_000


def opened(first: int, last: int, time_ns: int = 5, **more) -> GapOpened:
    size = "small" if last - first < 10 else "large"
    return GapOpened(
        scope=SCOPE,
        session="0",
        first=first,
        last=last,
        size=size,
        exchange_time_ns=time_ns,
        **more,
    )


def late(sequence: int) -> Late:
    return Late(scope=SCOPE, session="0", sequence=sequence)


def folded(*events) -> GapLedger:
    ledger = GapLedger()
    for event in events:
        ledger.apply(event)
    return ledger


def only(ledger: GapLedger):
    (gap,) = ledger.gaps([SCOPE])
    return gap


messages = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 6), st.sampled_from(["a", "b", "c"])), max_size=60
)


@settings(max_examples=300)
@given(messages, st.sampled_from([SessionRule.NEVER, SessionRule.FALL, SessionRule.ORDERED]))
def test_open_gaps_miss_what_the_state_misses(script, rule):
    ledger = GapLedger()
    state: ScopeState | None = None
    time_ns = 1_700_000_000_000_000_000
    for sequence, hours, session in script:
        time_ns += hours * HOUR_NS // 2
        taken = step(state, ScopeMessage(sequence, session, time_ns, SCOPE, 0, 0), rule)
        state = taken.state
        for event in taken.events:
            ledger.apply(event)
        truth = {
            (kept.id, number)
            for kept in state.sessions
            for part in kept.missing
            for number in range(part.start, part.end)
        }
        gaps = list(ledger.gaps([SCOPE]))
        found = {
            (gap.session, number)
            for gap in gaps
            for low, high in gap.missing
            for number in range(low, high + 1)
        }
        assert found == truth
        counts, counters = ledger.counts(SCOPE), state.counters
        assert counts.missing == len(truth)
        assert (counts.late, counts.stale, counts.resets) == (
            counters.late,
            counters.stale,
            counters.resets,
        )
        assert (counts.gaps_opened, counts.gaps_filled) == (
            counters.gaps_opened,
            counters.gaps_filled,
        )
        assert all(gap.missing for gap in gaps if gap.state == OPEN)
        assert all(not gap.missing and not gap.abandoned for gap in gaps if gap.state == FILLED)


def test_a_gap_that_opens_shrinks_and_is_filled():
    ledger = folded(opened(5, 7, source_partition=2, source_offset=9))
    assert (only(ledger).state, only(ledger).missing) == (OPEN, ((5, 7),))
    assert (only(ledger).exchange, only(ledger).symbol) == ("X", "A")
    assert (only(ledger).source_partition, only(ledger).source_offset) == (2, 9)
    ledger.apply(late(6))
    assert only(ledger).missing == ((5, 5), (7, 7))
    ledger.apply(late(5))
    ledger.apply(late(7))
    ledger.apply(GapFilled(scope=SCOPE, session="0", first=5, last=7, exchange_time_ns=11))
    gap = only(ledger)
    assert (gap.state, gap.missing, gap.closed_time_ns) == (FILLED, (), 11)


def test_events_of_earlier_versions_do_not_say_what_lies_below_a_gap():
    """The message that opened it is above; one that came below all others is below it."""
    ledger = folded(opened(5, 7, 50))
    gap = only(ledger)
    assert (gap.previous_time_ns, gap.next_time_ns) == (None, 50)
    assert ledger.lacks(gap, None, 1)
    assert ledger.lacks(gap, 50, 51)
    assert not ledger.lacks(gap, 51, None)
    below = folded(
        Late(scope=SCOPE, session="0", sequence=4, source_offset=3, exchange_time_ns=40),
        opened(5, 7, 40, source_offset=3),
    )
    assert only(below).next_time_ns is None
    assert below.lacks(only(below), 60, 61)


def test_a_time_that_is_not_known_is_no_bound():
    ledger = folded(opened(5, 7, 50, previous_time_ns=0, next_time_ns=0))
    assert (only(ledger).previous_time_ns, only(ledger).next_time_ns) == (None, None)
    ledger.apply(Late(scope=SCOPE, session="0", sequence=6, exchange_time_ns=-1))
    assert ledger.lacks(only(ledger), 1, 2)
    assert ledger.lacks(only(ledger), 2**62, None)


def test_what_was_received_divides_a_gap():
    ledger = folded(opened(5, 9, 90, previous_time_ns=40, next_time_ns=90))
    for sequence, time_ns in ((6, 60), (7, 70)):
        ledger.apply(Late(scope=SCOPE, session="0", sequence=sequence, exchange_time_ns=time_ns))
    gap = only(ledger)
    ranges = [(0, 40), (40, 41), (60, 61), (61, 70), (70, 71), (90, 91), (91, 99)]
    found = [ledger.lacks(gap, start, end) for start, end in ranges]
    assert found == [False, True, True, False, True, True, False]


def test_a_gap_given_up_in_part_stays_abandoned_and_says_which():
    part = GapAbandoned(
        scope=SCOPE, session="0", first=5, last=6, gap_first=5, gap_last=9, reason="limit"
    )
    ledger = folded(opened(5, 9), late(8), part)
    gap = only(ledger)
    assert (gap.state, gap.reason) == (ABANDONED, "limit")
    assert (gap.abandoned, gap.missing) == (((5, 6),), ((7, 7), (9, 9)))
    for number in (7, 9):
        ledger.apply(late(number))
    assert (only(ledger).state, only(ledger).missing) == (ABANDONED, ())
    assert ledger.counts(SCOPE).gaps_abandoned == 1


def test_counts_of_what_opens_no_gap():
    ledger = folded(
        Duplicates(scope=SCOPE, session="0", count=4, ranges=[(1, 3)]),
        Stale(scope=SCOPE, session="0", sequence=1),
        Reset(scope=SCOPE, session="1", sequence=1, previous="0"),
    )
    counts = ledger.counts(SCOPE)
    assert (counts.duplicates, counts.stale, counts.resets) == (4, 1, 1)
    assert list(ledger.gaps([SCOPE])) == []


def test_events_of_gaps_never_seen_are_counted_and_harm_nothing():
    # The log of events begins after the gap was opened.
    ledger = folded(
        GapFilled(scope=SCOPE, session="0", first=5, last=7),
        GapAbandoned(
            scope=SCOPE, session="0", first=8, last=9, gap_first=8, gap_last=9, reason="reset"
        ),
        late(12),
    )
    counts = ledger.counts(SCOPE)
    assert (counts.gaps_filled, counts.gaps_abandoned, counts.late) == (1, 1, 1)
    assert counts.missing == 0


def test_above_the_limit_closed_gaps_go_first_and_it_says_so():
    ledger = GapLedger(max_gaps=2)
    for first in (10, 20, 30):
        ledger.apply(opened(first, first))
    assert len(ledger) == 3  # open ones are never forgotten
    ledger.apply(GapFilled(scope=SCOPE, session="0", first=20, last=20))
    ledger.apply(opened(40, 40))
    assert [gap.first for gap in ledger.gaps([SCOPE])] == [10, 30, 40]
    assert ledger.forgotten == 1
    ledger.apply(late(20))
    assert ledger.counts(SCOPE).missing == 3


def test_a_gap_that_a_session_opens_again_is_closed_once():
    """A venue may name a session again that the sequencer has dropped: its numbers begin anew."""
    ledger = GapLedger(max_gaps=2)
    filled = GapFilled(scope=SCOPE, session="0", first=10, last=10)
    for event in (opened(10, 10), filled, opened(10, 10), opened(20, 20), filled):
        ledger.apply(event)
    for first in (30, 40):
        ledger.apply(opened(first, first))
    assert [gap.first for gap in ledger.gaps([SCOPE])] == [20, 30, 40], "10 is closed, and went"
    ledger = GapLedger(max_gaps=1)
    for event in (opened(10, 10), filled, opened(10, 10), opened(20, 20)):
        ledger.apply(event)
    assert [gap.first for gap in ledger.gaps([SCOPE])] == [10, 20], "10 is open again, and stays"


def test_an_abandoned_gap_whose_rest_arrives_late_is_closed_too():
    ledger = GapLedger(max_gaps=1)
    ledger.apply(opened(10, 11))
    ledger.apply(
        GapAbandoned(
            scope=SCOPE, session="0", first=10, last=10, gap_first=10, gap_last=11, reason="limit"
        )
    )
    ledger.apply(opened(20, 20))
    assert len(ledger) == 2  # 11 may still come
    ledger.apply(late(11))
    ledger.apply(opened(30, 30))
    assert [gap.first for gap in ledger.gaps([SCOPE])] == [20, 30]


@given(st.sets(st.integers(0, 20)), st.integers(0, 20), st.integers(0, 20))
def test_without_is_set_difference(numbers, low, high):
    ranges = tuple((n, n) for n in sorted(numbers))
    left = without(ranges, low, high)
    assert {n for a, b in left for n in range(a, b + 1)} == numbers - set(range(low, high + 1))
    assert (
        without(((0, 20),), low, high)
        == tuple((a, b) for a, b in ((0, low - 1), (high + 1, 20)) if a <= b)
        or low > high
    )
