"""The verdict on each message, and the events that it brings about."""

import msgspec
import pytest

from k2_streams.core.records.events import (
    Event,
    GapAbandoned,
    GapFilled,
    GapOpened,
    Late,
    Reset,
    Stale,
)
from k2_streams.core.sequence.sessions import MAX_SESSIONS, Missing, SessionRule
from k2_streams.core.sequence.step import (
    ACCEPTED,
    MAX_MISSING,
    MAX_SEQUENCE,
    Counters,
    ScopeMessage,
    ScopeState,
    Step,
    Verdict,
    step,
)

HOUR_NS = 3_600_000_000_000
START_NS = 1_700_000_000_000_000_000
ABOUT = {
    "scope": "X:A",
    "session": "0",
    "source_partition": 3,
    "source_offset": 7,
    "exchange_time_ns": START_NS,
}
#: Of the messages below and above a gap.
BESIDE = {"previous_time_ns": START_NS, "next_time_ns": START_NS}


def message(
    sequence: int | None, session: str | None = None, time_ns: int = START_NS, offset: int = 7
) -> ScopeMessage:
    return ScopeMessage(sequence, session, time_ns, "X:A", 3, offset)


def take(
    *numbers: int, state: ScopeState | None = None, rule: SessionRule = SessionRule.NEVER
) -> Step:
    """The step of the last of these numbers."""
    after = Step(state, Verdict.UNSEQUENCED, "", ())
    for number in numbers:
        after = step(after.state, message(number), rule)
    return after


def state_of(after: Step) -> ScopeState:
    assert after.state is not None
    return after.state


def test_the_first_number_begins_the_scope_wherever_it_stands():
    after = take(41)
    assert after.verdict is Verdict.FIRST
    assert after.session_id == "0"
    assert after.events == ()
    session = state_of(after).sessions[0]
    assert (session.first, session.expected, session.missing) == (41, 42, ())


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ((5, 6), Verdict.IN_ORDER),
        ((5, 9), Verdict.IN_ORDER),
        ((5, 9, 7), Verdict.LATE),
        ((5, 4), Verdict.LATE),
        ((5, 5), Verdict.DUPLICATE),
        ((5, 6, 5), Verdict.DUPLICATE),
        ((5, 9, 7, 7), Verdict.DUPLICATE),
        ((5, 3, 4), Verdict.LATE),
        ((0, MAX_SEQUENCE), Verdict.IN_ORDER),
        ((MAX_SEQUENCE, MAX_SEQUENCE), Verdict.DUPLICATE),
        ((MAX_SEQUENCE, 0), Verdict.LATE),
    ],
)
def test_the_verdict_on_the_last_number(numbers, verdict):
    assert take(*numbers).verdict is verdict


@pytest.mark.parametrize(("last", "size"), [(6, "small"), (15, "small"), (16, "large")])
def test_a_gap_of_ten_numbers_is_small_and_one_of_eleven_large(last, size):
    after = take(5, last + 1)
    assert after.events == (GapOpened(first=6, last=last, size=size, **ABOUT, **BESIDE),)
    assert state_of(after).current.missing == (
        Missing(6, last + 1, 6, last, 0, START_NS, START_NS),
    )


def test_a_gap_shrinks_splits_and_is_filled_by_its_last_number_only():
    opened = take(5, 10).state
    split = take(7, state=opened)
    assert split.events == (Late(sequence=7, **ABOUT),)
    assert state_of(split).current.missing == (
        Missing(6, 7, 6, 9, 0, START_NS, START_NS),
        Missing(8, 10, 6, 9, 0, START_NS, START_NS),
    )
    almost = take(6, 9, state=split.state)
    assert almost.events == (Late(sequence=9, **ABOUT),)
    filled = take(8, state=almost.state)
    assert filled.events == (
        Late(sequence=8, **ABOUT),
        GapFilled(first=6, last=9, **ABOUT),
    )
    assert state_of(filled).current.missing == ()


def test_a_number_below_the_first_is_late_and_leaves_a_gap_between():
    after = take(10, 6)
    assert after.verdict is Verdict.LATE
    assert after.events == (
        Late(sequence=6, **ABOUT),
        GapOpened(first=7, last=9, size="small", **ABOUT, **BESIDE),
    )
    assert take(9, state=take(10).state).events == (Late(sequence=9, **ABOUT),)


def test_the_lowest_range_is_abandoned_above_the_limit_and_is_stale_from_then_on():
    numbers = [2 * index for index in range(MAX_MISSING + 1)]
    full = take(*numbers)
    assert len(state_of(full).current.missing) == MAX_MISSING
    assert not any(isinstance(event, GapAbandoned) for event in full.events)
    over = take(numbers[-1] + 2, state=full.state)
    assert over.events[1:] == (
        GapAbandoned(first=1, last=1, gap_first=1, gap_last=1, reason="limit", **ABOUT, **BESIDE),
    )
    session = state_of(over).current
    assert len(session.missing) == MAX_MISSING
    assert session.floor == 2
    for number in (0, 1):
        after = take(number, state=over.state)
        assert after.verdict is Verdict.STALE
        assert after.events == (Stale(sequence=number, **ABOUT),)
        assert state_of(after).sessions == state_of(over).sessions
    assert take(2, state=over.state).verdict is Verdict.DUPLICATE
    assert take(3, state=over.state).verdict is Verdict.LATE


def test_a_gap_abandoned_in_part_is_never_said_to_be_filled():
    numbers = [0, 4, 2, *(4 + 2 * index for index in range(1, MAX_MISSING))]
    over = take(*numbers)  # of the gap 1 to 3, 1 is abandoned and 3 is still missing
    assert state_of(over).current.floor == 2
    assert state_of(over).current.missing[0] == Missing(3, 4, 1, 3, 0, START_NS, START_NS)
    after = take(3, state=over.state)
    assert after.verdict is Verdict.LATE
    assert after.events == (Late(sequence=3, **ABOUT),)


def test_the_limit_holds_over_all_sessions_of_a_scope_the_oldest_going_first():
    ordered = SessionRule.ORDERED
    state = None
    for number in range(0, 2 * MAX_MISSING, 2):
        state = step(state, message(number, "1"), ordered).state
    state = step(state, message(1, "2"), ordered).state
    for number in (8, 6):  # the session before is still judged, and misses again
        state = step(state, message(2 * MAX_MISSING + number, "1"), ordered).state
    for number in range(3, 2 * MAX_MISSING, 2):
        after = step(state, message(number, "2"), ordered)
        state = after.state
    abandoned = [event for event in after.events if isinstance(event, GapAbandoned)]
    assert [event.session for event in abandoned] == ["1"]
    assert sum(len(session.missing) for session in state.sessions) == MAX_MISSING


def test_a_reset_abandons_what_the_session_before_misses_and_raises_its_floor():
    ordered = SessionRule.ORDERED
    state = None
    for number in (5, 8, 11, 12):
        state = step(state, message(number, "1"), ordered).state
    after = step(state, message(3, "2"), ordered)
    assert after.verdict is Verdict.RESET
    assert after.session_id == "2"
    was = ABOUT | {"session": "1"}
    assert after.events == (
        GapAbandoned(first=6, last=7, gap_first=6, gap_last=7, reason="reset", **was, **BESIDE),
        GapAbandoned(first=9, last=10, gap_first=9, gap_last=10, reason="reset", **was, **BESIDE),
        Reset(sequence=3, previous="1", **(ABOUT | {"session": "2"})),
    )
    assert state_of(after).sessions[0].floor == 11
    assert state_of(after).sessions[0].missing == ()
    for number, verdict in ((10, Verdict.STALE), (11, Verdict.DUPLICATE), (13, Verdict.IN_ORDER)):
        assert step(after.state, message(number, "1"), ordered).verdict is verdict


def test_a_session_that_is_dropped_abandons_what_it_misses():
    ordered = SessionRule.ORDERED
    state = None
    for day in range(MAX_SESSIONS):
        state = step(state, message(1, f"{day:02}"), ordered).state
    state = step(state, message(4, "00"), ordered).state
    after = step(state, message(1, "99"), ordered)
    assert after.events[-1] == GapAbandoned(
        first=2,
        last=3,
        gap_first=2,
        gap_last=3,
        reason="session-dropped",
        **(ABOUT | {"session": "00"}),
        **BESIDE,
    )
    assert [session.id for session in state_of(after).sessions][:2] == ["01", "02"]
    assert (len(state_of(after).sessions), state_of(after).dropped) == (MAX_SESSIONS, 1)
    stale = step(after.state, message(2, "00"), ordered)
    assert stale.verdict is Verdict.STALE
    assert stale.events == (Stale(sequence=2, **(ABOUT | {"session": "00"})),)


def test_days_sent_twice_add_no_row():
    """Five trading days, numbered from 1 each day: sent again they are duplicates to the last."""
    days = [f"2014-03-{day}" for day in range(10, 15)]
    sent = [
        message(number, day, START_NS + index * 24 * HOUR_NS)
        for index, day in enumerate(days)
        for number in range(1, 50)
    ]
    state = None
    verdicts = []
    for each in sent + sent:
        after = step(state, each, SessionRule.ORDERED)
        state = after.state
        verdicts.append(after.verdict)
    assert verdicts[: len(sent)].count(Verdict.RESET) == 4
    assert set(verdicts[: len(sent)]) <= ACCEPTED
    assert set(verdicts[len(sent) :]) == {Verdict.DUPLICATE}


def test_a_message_without_a_number_leaves_the_state_alone():
    assert step(None, message(None), SessionRule.FALL) == Step(None, Verdict.UNSEQUENCED, "0", ())
    state = take(5).state
    after = step(state, message(None, "morning"), SessionRule.DECLARED)
    assert after == Step(state, Verdict.UNSEQUENCED, "morning", ())
    assert after.state is state


def test_the_counters_say_what_came_about():
    state = take(5, 10, 7, 7, 6, 8, 9, 20).state
    assert state_of(take(20, state=state)).counters == Counters(
        accepted=7,
        duplicates=2,
        late=4,
        gaps_opened=2,
        gaps_filled=1,
        first_time_ns=START_NS,
        last_time_ns=START_NS,
    )
    assert state.missing_numbers == 9


def test_only_accepted_messages_move_the_times():
    state = take(5, 6).state
    later = step(state, message(7, None, START_NS + 9), SessionRule.NEVER).state
    earlier = step(later, message(8, None, START_NS - 9), SessionRule.NEVER).state
    repeated = step(earlier, message(8, None, START_NS + 99), SessionRule.NEVER).state
    timeless = step(repeated, message(9, None, -1), SessionRule.NEVER).state
    for after in (earlier, repeated, timeless):
        assert (after.counters.first_time_ns, after.counters.last_time_ns) == (
            START_NS - 9,
            START_NS + 9,
        )
        assert after.current.first_time_ns == START_NS
        assert after.current.last_time_ns == START_NS + 9


def test_a_number_that_no_decoder_may_give_is_refused():
    for number in (-1, MAX_SEQUENCE + 1):
        with pytest.raises(AssertionError, match="63-bit"):
            take(number)


def test_states_and_events_are_immutable():
    after = take(5, 10)
    with pytest.raises(AttributeError, match="immutable"):
        after.state.dropped = 1
    assert isinstance(after.events[0], Event)
    assert msgspec.structs.replace(after.state) == after.state


def appended(*sent: tuple[int, int]) -> tuple[ScopeState, list[Verdict], list[Event]]:
    """Numbers at their append times, with a horizon of a second."""
    state, verdicts, events = None, [], []
    for number, append_ms in sent:
        what = msgspec.structs.replace(message(number), append_ms=append_ms)
        after = step(state, what, SessionRule.NEVER, 1_000)
        state = state_of(after)
        verdicts.append(after.verdict)
        events += after.events
    assert state is not None
    return state, verdicts, events


def test_a_late_number_fills_its_gap_up_to_the_horizon_and_is_stale_from_it_on():
    """Of the gap's own append time: 999 ms after it is late, a second after it is stale."""
    opened = GapOpened(first=2, last=3, size="small", **ABOUT, **BESIDE)
    within, verdicts, events = appended((1, 5_000), (4, 6_000), (2, 6_999), (3, 6_999))
    assert verdicts[2:] == [Verdict.LATE, Verdict.LATE]
    assert events == [
        opened,
        Late(sequence=2, **ABOUT),
        Late(sequence=3, **ABOUT),
        GapFilled(first=2, last=3, **ABOUT),
    ]
    beyond, verdicts, events = appended((1, 5_000), (4, 6_000), (2, 7_000), (3, 7_000), (1, 7_000))
    assert verdicts[2:] == [Verdict.STALE] * 3, "and whatever is below is not known any more"
    assert events[:3] == [
        opened,
        GapAbandoned(first=2, last=3, gap_first=2, gap_last=3, reason="horizon", **ABOUT, **BESIDE),
        Stale(sequence=2, **ABOUT),
    ]
    assert (within.missing_numbers, within.counters.stale) == (0, 0)
    assert (beyond.missing_numbers, beyond.counters.stale) == (0, 3)
    assert (beyond.counters.numbers_abandoned, beyond.sessions[0].floor) == (2, 4)


def test_only_what_is_too_old_is_given_up():
    """The gap of 2 is a second old, that of 4 is not; a message in order is enough to see it."""
    state, verdicts, events = appended((1, 5_000), (3, 6_000), (5, 6_500), (6, 7_000), (4, 7_001))
    assert verdicts[2:] == [Verdict.IN_ORDER, Verdict.IN_ORDER, Verdict.LATE]
    assert [type(event) for event in events] == [
        GapOpened, GapOpened, GapAbandoned, Late, GapFilled
    ]  # fmt: skip
    assert state.missing_numbers == 0


def test_numbers_below_the_first_are_missing_as_long_as_those_above_them():
    """They were passed over before: a gap is never older than one below it."""
    state, verdicts, events = appended((5, 5_000), (7, 5_000), (2, 5_900), (3, 6_000), (8, 6_001))
    assert verdicts == [
        Verdict.FIRST, Verdict.IN_ORDER, Verdict.LATE, Verdict.STALE, Verdict.IN_ORDER
    ]  # fmt: skip
    assert [(e.first, e.last) for e in events if isinstance(e, GapAbandoned)] == [(3, 4), (6, 6)]
    assert state.sessions[0].floor == 7


def test_gaps_of_an_unknown_age_go_with_a_younger_one_above_them():
    """An earlier version wrote no age; alone such a gap waits."""
    _, verdicts, _ = appended((1, 5_000), (3, 0), (9, 9_000), (2, 9_500))
    assert verdicts[3] is Verdict.LATE
    _, verdicts, _ = appended((1, 5_000), (3, 0), (9, 9_000), (2, 10_000))
    assert verdicts[3] is Verdict.STALE
