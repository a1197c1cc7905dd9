"""A number used twice: a repeat carries the event time of its first copy, so this is none."""

import pytest

from k2_streams.core.records.events import ConflictingDuplicate, Duplicates
from k2_streams.core.sequence.gaps import MAX_CONFLICTS, GapLedger
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import ACCEPTED, ScopeMessage, ScopeState, Verdict, step
from k2_streams.feeds.feed import FEEDS
from k2_streams.query.gaps import GapsView

START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000


class Scope:
    """Sends to one scope, and remembers what came of it."""

    def __init__(self, rule: SessionRule, name: str | None = None) -> None:
        self.rule, self.name = rule, name
        self.state: ScopeState | None = None
        self.events: list = []
        self.session = ""

    def send(self, number: int, seconds: float, tolerance_ms: int | None = 1_000) -> Verdict:
        time_ns = START_NS + int(seconds * SECOND_NS)
        message = ScopeMessage(number, self.name, time_ns, "X:A", 0, 7)
        after = step(self.state, message, self.rule, tolerance_ms=tolerance_ms)
        self.state, self.session = after.state, after.session_id
        self.events += after.events
        return after.verdict


NAMED = [
    (SessionRule.NEVER, None),
    (SessionRule.ORDERED, "2024-01-02"),
    (SessionRule.DECLARED, "day"),
]
BY_TIME = [SessionRule.FALL, SessionRule.DECLARED]


@pytest.mark.parametrize(("rule", "name"), NAMED)
def test_it_conflicts_where_sessions_are_not_told_by_time(rule, name):
    scope = Scope(rule, name)
    assert [scope.send(12_027, 0), scope.send(12_027, 46)] == [Verdict.FIRST, Verdict.CONFLICTING]
    (told,) = scope.events
    assert isinstance(told, ConflictingDuplicate)
    assert (told.sequence, told.source_offset) == (12_027, 7)
    assert told.exchange_time_ns == START_NS + 46 * SECOND_NS
    assert scope.state.counters.conflicts == 1


@pytest.mark.parametrize(("rule", "name"), NAMED)
def test_the_whole_of_a_second_count_conflicts(rule, name):
    """The first of them moves no time: the next ones are as late as it is."""
    scope = Scope(rule, name)
    for number in range(1, 11):
        scope.send(number, 0)
    again = [scope.send(number, 46 + number / 100) for number in range(1, 11)]
    assert set(again) == {Verdict.CONFLICTING}
    assert scope.send(11, 1) is Verdict.IN_ORDER


@pytest.mark.parametrize(
    ("later_s", "verdict"),
    [
        (-60, Verdict.DUPLICATE),
        (0, Verdict.DUPLICATE),
        (1, Verdict.DUPLICATE),
        (1.001, Verdict.CONFLICTING),
    ],
)
def test_up_to_a_second_later_it_is_a_repeat(later_s, verdict):
    """Than everything seen in the session, not than its first copy."""
    scope = Scope(SessionRule.NEVER)
    scope.send(1, 0)
    scope.send(2, 3_000)
    assert scope.send(1, 3_000 + later_s) is verdict


def test_a_message_without_a_time_is_a_repeat():
    scope = Scope(SessionRule.NEVER)
    scope.send(1, 0)
    message = ScopeMessage(1, None, 0, "X:A", 0, 1)
    assert step(scope.state, message, SessionRule.NEVER).verdict is Verdict.DUPLICATE
    timeless = step(None, message, SessionRule.NEVER).state
    later = ScopeMessage(1, None, START_NS, "X:A", 0, 2)
    assert step(timeless, later, SessionRule.NEVER).verdict is Verdict.DUPLICATE


@pytest.mark.parametrize("rule", list(SessionRule))
def test_a_venue_that_repeats_numbers_conflicts_with_nothing(rule):
    """A snapshot of a book has the number that the book has reached."""
    scope = Scope(rule)
    for number in (1, 2, 3):
        scope.send(number, number, None)
    assert scope.send(3, 900, None) is Verdict.DUPLICATE


@pytest.mark.parametrize("rule", BY_TIME)
def test_a_count_that_begins_again_within_the_hour_loses_nothing(rule):
    scope = Scope(rule)
    first = [scope.send(number, number) for number in range(1, 1_001)]
    again = [scope.send(number, 1_060 + number) for number in range(1, 201)]
    assert set(first + again) <= ACCEPTED
    assert again.count(Verdict.RESET) == 1
    assert [kept.id for kept in scope.state.sessions] == ["0", "1"]
    assert scope.state.sessions[1].expected == 201


@pytest.mark.parametrize("rule", BY_TIME)
def test_so_does_one_that_begins_again_below_the_numbers_seen(rule):
    """K2 heard of 1,000 first: 1 was never seen, and is no late one either."""
    scope = Scope(rule)
    for number in range(1_000, 1_200):
        scope.send(number, 0)
    assert scope.send(1, 60) is Verdict.RESET
    assert scope.send(2, 60) is Verdict.IN_ORDER
    assert not [event for event in scope.events if hasattr(event, "size")], "no gap up to 999"


def test_one_that_fell_by_less_is_late():
    scope = Scope(SessionRule.FALL)
    for number in range(1_000, 1_200):
        scope.send(number, 0)
    assert scope.send(900, 60) is Verdict.LATE


def test_a_missing_number_is_late_whatever_its_time():
    """Whoever fetches it from the venue later may give it a time of its own."""
    for rule in SessionRule:
        scope = Scope(rule)
        for number in (1, 2, 4, 5):
            scope.send(number, 0)
        assert scope.send(3, 900) is Verdict.LATE


def test_messages_of_the_count_before_are_still_its_own():
    """Late ones and repeats of it come when the next has begun: their times tell."""
    scope = Scope(SessionRule.FALL)
    for number in [*range(1, 50), *range(51, 101)]:
        scope.send(number, number)
    for number in range(1, 11):
        scope.send(number, 160 + number)
    assert (scope.send(99, 99), scope.session) == (Verdict.DUPLICATE, "0")
    assert (scope.send(50, 50), scope.session) == (Verdict.STALE, "0")
    assert (scope.send(11, 171), scope.session) == (Verdict.IN_ORDER, "1")
    assert scope.state.sessions[1].missing == ()


def test_a_number_of_an_earlier_session_that_is_used_twice_begins_no_session():
    """It is older than the current one: there is no place for a session, so it is a dead letter."""
    scope = Scope(SessionRule.FALL)
    for number in range(1, 101):
        scope.send(number, number)
    for number in range(1, 11):
        scope.send(number, 4_000 + number)
    assert (scope.send(7, 1_000), scope.session) == (Verdict.CONFLICTING, "0")


def conflict(seconds: int, scope: str = "X:A") -> ConflictingDuplicate:
    time_ns = START_NS + seconds * SECOND_NS
    return ConflictingDuplicate(scope=scope, session="0", sequence=1, exchange_time_ns=time_ns)


def test_a_range_with_a_number_used_twice_is_not_complete():
    view = GapsView()
    view.apply(conflict(46), 0, 1)
    at = START_NS + 46 * SECOND_NS
    for start, end, lacks in (
        (at, at + 1, True),
        (None, None, True),
        (at + 1, None, False),
        (None, at, False),
    ):
        assert view.lacks(symbols=("A",), start_ns=start, end_ns=end) is lacks
    assert not view.lacks(symbols=("B",))
    assert view.counts("X", "A").conflicts == 1


def test_conflicts_are_bounded_and_none_is_forgotten():
    ledger = GapLedger()
    for second in range(MAX_CONFLICTS + 500):
        ledger.apply(conflict(2 * second))
    (times,) = ledger._conflicts.values()
    assert len(times) == MAX_CONFLICTS
    for second in (0, 600, 2 * MAX_CONFLICTS):
        at = START_NS + second * SECOND_NS
        assert ledger.conflicts("X:A", at, at + 1)
    newest = START_NS + (2 * MAX_CONFLICTS + 1) * SECOND_NS
    assert not ledger.conflicts("X:A", newest, newest + 1), "the newest are still kept apart"
    assert ledger.conflicts("X:A", START_NS + SECOND_NS, START_NS + SECOND_NS + 1)


def test_duplicates_leave_an_answer_complete():
    view = GapsView()
    view.apply(Duplicates(scope="X:A", session="0", count=1, ranges=[(1, 1)]), 0, 1)
    assert not view.lacks(symbols=("A",))


def test_which_venues_repeat_numbers():
    """Snapshots of their books have the number reached; of all others a number is one message's."""
    repeating = {name for name, one in FEEDS.items() if one.description.repeats_numbers}
    assert repeating == {"bybit.v5", "hitbtc.v2"}
    assert FEEDS["bybit.v5"].description.tolerance_ms(1_000) is None
    assert FEEDS["canonical"].description.tolerance_ms(1_000) == 1_000
