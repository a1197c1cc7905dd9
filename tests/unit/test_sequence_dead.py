"""Dead numbers: received in dead letters, no gap, and filled by what is redriven, once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.lines.step import Arrival
from k2_streams.core.lines.step import step as step_lined
from k2_streams.core.records.events import (
    Dead,
    GapFilled,
    GapOpened,
    Late,
    Redriven,
    Stale,
)
from k2_streams.core.sequence.dead import holds, with_number, without_number
from k2_streams.core.sequence.gaps import GapLedger
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.core.sequence.step import (
    Nature,
    ScopeMessage,
    ScopeState,
    SequenceLimits,
    Step,
    Verdict,
    step,
)

SECOND_NS = 10**9
HOUR_NS = 3_600 * SECOND_NS
T0_NS = 1_700_000_000 * SECOND_NS
USUAL, DEAD, REDRIVEN = Nature
LIMITS = SequenceLimits(dead=2)


class Scope:
    """A scope, message by message, with what was told of it."""

    def __init__(
        self, rule: SessionRule = SessionRule.NEVER, limits: SequenceLimits = LIMITS
    ) -> None:
        self.rule = rule
        self.limits = limits
        self.state: ScopeState | None = None
        self.ledger = GapLedger()
        self.last: Step | None = None

    def take(
        self,
        *numbers: int,
        nature: Nature = USUAL,
        time_ns: int | None = None,
        name: str | None = None,
    ) -> list[Verdict]:
        verdicts = []
        for number in numbers:
            time = T0_NS + number * SECOND_NS if time_ns is None else time_ns
            message = ScopeMessage(number, name, time, "X:A", 0, 0, 1, nature)
            self.last = step(self.state, message, self.rule, 10**9, 1_000, self.limits)
            self.state = self.last.state
            for event in self.last.events:
                self.ledger.apply(event)
            verdicts.append(self.last.verdict)
        return verdicts

    @property
    def kinds(self) -> list[type]:
        assert self.last is not None
        return [type(event) for event in self.last.events]

    @property
    def dead(self) -> list[list[tuple[int, int]]]:
        assert self.state is not None
        return [list(session.dead) for session in self.state.sessions]

    @property
    def told_dead(self) -> int:
        return self.ledger.counts("X:A").dead


@given(st.lists(st.integers(0, 30), max_size=60))
def test_ranges_hold_the_numbers_that_a_set_holds(numbers: list[int]) -> None:
    """Each number goes in, or out again: whole, sorted and apart."""
    dead, held = (), set()
    for number in numbers:
        assert holds(dead, number) == (number in held)
        dead = (without_number if number in held else with_number)(dead, number)
        held ^= {number}
        assert [n for start, end in dead for n in range(start, end)] == sorted(held)
        assert all(one[1] < other[0] for one, other in pairwise(dead))


def test_a_dead_number_is_no_gap_and_a_copy_of_it_is_a_duplicate() -> None:
    scope = Scope()
    scope.take(1)
    assert scope.take(2, nature=DEAD) == [Verdict.IN_ORDER]
    assert scope.kinds == [Dead]
    assert scope.take(3, 2) == [Verdict.IN_ORDER, Verdict.DUPLICATE]
    assert scope.dead == [[(2, 3)]]
    assert scope.told_dead == 1
    assert not list(scope.ledger.gaps(["X:A"]))


def test_a_redriven_record_fills_its_dead_number_once() -> None:
    scope = Scope()
    scope.take(1)
    scope.take(2, 3, nature=DEAD)
    scope.take(4)
    assert scope.take(3, nature=REDRIVEN) == [Verdict.LATE]
    assert scope.kinds == [Redriven]
    assert scope.dead == [[(2, 3)]]
    assert scope.take(3, nature=REDRIVEN) == [Verdict.DUPLICATE]
    assert scope.told_dead == 1
    assert scope.take(2, nature=REDRIVEN) == [Verdict.LATE]
    assert (scope.dead, scope.told_dead) == ([[]], 0)
    assert scope.state is not None
    assert scope.state.counters.late == 2


def test_the_first_number_and_a_missing_one_can_be_dead() -> None:
    scope = Scope()
    assert scope.take(1, nature=DEAD) == [Verdict.FIRST]
    scope.take(3)
    assert scope.kinds == [GapOpened]
    assert scope.take(2, nature=DEAD) == [Verdict.LATE]
    assert scope.kinds == [Late, GapFilled, Dead]
    assert scope.dead == [[(1, 3)]]
    assert scope.take(1, 2, nature=REDRIVEN) == [Verdict.LATE, Verdict.LATE]
    assert scope.dead == [[]]


def test_a_redriven_record_that_is_refused_again_changes_nothing() -> None:
    scope = Scope()
    scope.take(1)
    scope.take(2, nature=DEAD)
    before = scope.dead
    assert scope.take(2, nature=DEAD) == [Verdict.DUPLICATE]
    assert (scope.dead, scope.told_dead) == (before, 1)


def test_a_redriven_record_of_a_missing_number_fills_the_gap() -> None:
    """Of a dead letter whose number could not be read."""
    scope = Scope()
    scope.take(1, 3)
    assert scope.take(2, nature=REDRIVEN) == [Verdict.LATE]
    assert scope.kinds == [Late, GapFilled]


def test_a_redriven_record_goes_to_its_session_whatever_began_since() -> None:
    """Its number fell and its time is late: any other record would begin a session."""
    scope = Scope(SessionRule.FALL)
    scope.take(*range(1, 9))
    scope.take(9, nature=DEAD, time_ns=0)  # its time could not be read
    scope.take(2, time_ns=T0_NS + 3 * HOUR_NS)
    assert scope.kinds[-1].__name__ == "Reset"
    assert scope.take(9, nature=REDRIVEN) == [Verdict.LATE]
    assert scope.last is not None
    assert (scope.last.session_id, scope.dead) == ("0", [[], []])


def test_a_number_that_is_dead_in_two_sessions_is_redriven_into_that_of_its_time() -> None:
    scope = Scope(SessionRule.FALL)
    scope.take(*range(1, 5))
    scope.take(5, nature=DEAD)
    scope.take(*range(6, 20))
    second_ns = T0_NS + 3 * HOUR_NS
    scope.take(1, time_ns=second_ns)
    scope.take(5, nature=DEAD, time_ns=second_ns + SECOND_NS)
    assert scope.dead == [[(5, 6)], [(5, 6)]]
    assert scope.take(5, nature=REDRIVEN) == [Verdict.LATE]
    assert scope.last is not None
    assert (scope.last.session_id, scope.dead) == ("0", [[], [(5, 6)]])
    assert scope.take(5, nature=REDRIVEN, time_ns=second_ns + SECOND_NS) == [Verdict.LATE]
    assert (scope.last.session_id, scope.dead) == ("1", [[], []])


def test_a_redriven_record_begins_no_session_where_all_before_it_are_dead() -> None:
    scope = Scope(SessionRule.FALL)
    scope.take(*range(1, 5))
    scope.take(*range(5, 40), nature=DEAD, time_ns=0)
    late_ns = T0_NS + 5 * HOUR_NS
    assert scope.take(5, nature=REDRIVEN, time_ns=late_ns) == [Verdict.LATE]
    assert scope.dead == [[(6, 40)]]
    assert scope.take(6, time_ns=late_ns + HOUR_NS // 2) == [Verdict.RESET], "a usual one does"


def test_a_dead_number_stays_known_below_what_was_abandoned() -> None:
    scope = Scope(limits=SequenceLimits(missing=1))
    scope.take(1)
    scope.take(2, nature=DEAD)
    scope.take(4, 6)  # the gap at 3 is abandoned
    assert scope.take(1, 2) == [Verdict.STALE, Verdict.STALE]
    assert scope.take(2, nature=REDRIVEN) == [Verdict.LATE]
    assert scope.take(2, nature=REDRIVEN) == [Verdict.STALE]


def test_a_name_says_in_which_session_the_number_is_dead() -> None:
    scope = Scope(SessionRule.ORDERED)
    for name in ("a", "b"):
        scope.take(1, name=name)
        scope.take(2, nature=DEAD, name=name)
    assert scope.take(2, nature=REDRIVEN, name="a") == [Verdict.LATE]
    assert scope.dead == [[], [(2, 3)]]
    assert scope.take(2, nature=REDRIVEN) == [Verdict.LATE]
    assert scope.dead == [[], []]


def test_of_more_dead_ranges_than_are_kept_the_lowest_is_stale_not_lost() -> None:
    """Whether such a number has a row is not known any more: its bytes stay a dead letter."""
    scope = Scope()
    for number in (1, 3, 5):
        scope.take(number, nature=DEAD)
        scope.take(number + 1)
    assert scope.dead == [[(3, 4), (5, 6)]]
    assert scope.take(1, nature=REDRIVEN) == [Verdict.STALE]
    assert scope.kinds == [Stale]
    assert scope.take(1) == [Verdict.DUPLICATE], "a usual copy is one as before"
    assert scope.take(5, 3, nature=REDRIVEN) == [Verdict.LATE, Verdict.LATE]
    assert scope.take(5, nature=REDRIVEN) == [Verdict.DUPLICATE]


def test_the_oldest_session_forgets_its_dead_first() -> None:
    scope = Scope(SessionRule.ORDERED)
    for name, numbers in (("a", (1, 3)), ("b", (1,))):
        for number in numbers:
            scope.take(number, nature=DEAD, name=name)
            scope.take(number + 1, name=name)
    assert scope.dead == [[(3, 4)], [(1, 2)]]


def test_a_redriven_record_came_by_no_line() -> None:
    def arrive(state: ScopeState | None, number: int, line: str, nature: Nature) -> Step:
        message = ScopeMessage(number, None, T0_NS + number, "X:A", 0, 0, 1, nature)
        return step_lined(state, message, Arrival(line, 1, ("A", "B")), SessionRule.NEVER)

    state = None
    for number, nature in ((1, USUAL), (2, DEAD), (3, USUAL)):
        for line in ("A", "B"):
            state = arrive(state, number, line, nature).state
    assert state is not None
    after = arrive(state, 2, "", REDRIVEN)
    assert (after.verdict, list(map(type, after.events))) == (Verdict.LATE, [Redriven])
    assert after.state is not None
    assert after.state.lines == state.lines
