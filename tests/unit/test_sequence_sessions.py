"""Which session a message belongs to, by each rule."""

import pytest

from k2_streams.core.sequence.codec import decode, encode
from k2_streams.core.sequence.sessions import (
    CONFLICT_TOLERANCE_MS,
    MAX_SESSIONS,
    UNKNOWN_SESSION,
    Place,
    Placing,
    Session,
    SessionRule,
    place,
)
from k2_streams.core.sequence.step import (
    MAX_SEQUENCE,
    ScopeMessage,
    ScopeState,
    Step,
    Verdict,
    step,
)

MINUTE_NS = 60_000_000_000
START_NS = 1_700_000_000_000_000_000


def at_minute(minutes: int, *, ns: int = 0) -> int:
    return START_NS + minutes * MINUTE_NS + ns


def session(name: str, *, minutes: int = 0, until: int = 0, expected: int = 101) -> Session:
    return Session(name, 1, expected, (), 0, at_minute(minutes), at_minute(minutes + until))


def placed(
    sessions: list[Session],
    rule: SessionRule,
    *,
    name: str | None = None,
    sequence: int = 7,
    time_ns: int = START_NS,
    dropped: int = 0,
    tolerance_ms: int | None = CONFLICT_TOLERANCE_MS,
) -> Place:
    return place(
        tuple(sessions),
        dropped,
        rule,
        name=name,
        sequence=sequence,
        time_ns=time_ns,
        tolerance_ms=tolerance_ms,
    )


def send(
    state: ScopeState | None,
    rule: SessionRule,
    sequence: int,
    minutes: int,
    name: str | None = None,
) -> Step:
    return step(state, ScopeMessage(sequence, name, at_minute(minutes), "X:A", 0, 0), rule)


def test_never_has_one_session_whatever_happens():
    rule = SessionRule.NEVER
    assert placed([], rule, name="x") == Place(Placing.NEW, 0, "0")
    zero = [session("0")]
    far = at_minute(10_000)
    assert placed(zero, rule, sequence=1, time_ns=far, name="x") == Place(Placing.KNOWN, 0, "0")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2024-01-05", Place(Placing.NEW, 2, "2024-01-05")),
        ("2024-01-04", Place(Placing.KNOWN, 1, "2024-01-04")),
        ("2024-01-03", Place(Placing.BETWEEN, 1, "2024-01-03")),
        ("2024-01-02", Place(Placing.KNOWN, 0, "2024-01-02")),
        ("2024-01-01", Place(Placing.TOO_OLD, 0, "2024-01-01")),
        (None, Place(Placing.KNOWN, 1, "2024-01-04")),
    ],
)
def test_ordered_goes_by_the_order_of_the_names(name, expected):
    kept = [session("2024-01-02"), session("2024-01-04")]
    assert placed(kept, SessionRule.ORDERED, name=name, time_ns=at_minute(9_999)) == expected


def test_an_ordered_session_between_begins_behind_the_current_one():
    rule = SessionRule.ORDERED
    state = send(None, rule, 5, 0, "a").state
    state = send(state, rule, 5, 0, "c").state
    after = send(state, rule, 9, 0, "b")
    assert (after.verdict, after.session_id, after.events) == (Verdict.FIRST, "b", ())
    assert [kept.id for kept in after.state.sessions] == ["a", "b", "c"]
    assert after.state.current.id == "c"
    assert send(after.state, rule, 10, 0, "b").verdict is Verdict.IN_ORDER


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("b", Place(Placing.KNOWN, 1, "b")),
        ("a", Place(Placing.KNOWN, 0, "a")),
        ("A", Place(Placing.NEW, 2, "A")),
        (None, Place(Placing.KNOWN, 1, "b")),
    ],
)
def test_declared_has_no_order_an_unknown_name_is_new(name, expected):
    kept = [session("a"), session("b")]
    assert placed(kept, SessionRule.DECLARED, name=name) == expected


def test_a_named_session_never_resets_by_time():
    kept = [session("a")]
    far = at_minute(9_999)
    for rule in (SessionRule.DECLARED, SessionRule.ORDERED):
        assert placed(kept, rule, name="a", sequence=1, time_ns=far).placing is Placing.KNOWN


def test_declared_without_a_name_falls_to_a_number_that_no_session_has():
    far = at_minute(500)
    kept = [session("a"), session("2")]
    assert placed(kept, SessionRule.DECLARED, sequence=1, time_ns=far) == Place(Placing.NEW, 2, "3")


HOUR = 60


@pytest.mark.parametrize(
    ("sequence", "time_ns", "placing"),
    [
        (49, at_minute(HOUR, ns=1), Placing.NEW),
        (50, at_minute(HOUR, ns=1), Placing.KNOWN),  # fell by half, not by more
        (49, at_minute(HOUR), Placing.KNOWN),  # an hour, not more
        (0, at_minute(5), Placing.KNOWN),
        (101, at_minute(500), Placing.KNOWN),
        (0, 0, Placing.KNOWN),  # a time that is not known begins nothing
        (0, -5, Placing.KNOWN),
    ],
)
def test_fall_needs_both_the_fall_and_the_silence(sequence, time_ns, placing):
    """The highest number is 100 and the last time minute 0; of a venue that repeats numbers."""
    kept = [session("0")]
    found = placed(kept, SessionRule.FALL, sequence=sequence, time_ns=time_ns, tolerance_ms=None)
    assert found.placing is placing
    assert found.id == ("1" if placing is Placing.NEW else "0")


def test_the_silence_counts_from_the_last_time_not_from_the_first():
    kept = [session("0", until=120)]
    for minutes, name in ((180, "0"), (181, "1")):
        time_ns = at_minute(minutes)
        found = placed(kept, SessionRule.FALL, sequence=1, time_ns=time_ns, tolerance_ms=None)
        assert found.id == name


def test_a_session_whose_time_was_never_known_does_not_end_by_time():
    kept = [Session("0", 1, 101, (), 0, 0, 0)]
    assert placed(kept, SessionRule.FALL, sequence=1, time_ns=START_NS).id == "0"


@pytest.mark.parametrize(
    ("minutes", "ns", "name"),
    [
        (970, 0, "2"),
        (970, -1, "1"),  # more than half an hour before the current one began
        (470, 0, "1"),
        (470, -1, "0"),
        (-30, 0, "0"),
        (-30, -1, "0"),  # older than all, and nothing was ever dropped
    ],
)
def test_fall_gives_an_early_message_to_the_session_of_its_time(minutes, ns, name):
    kept = [session("0"), session("1", minutes=500), session("2", minutes=1_000)]
    found = placed(kept, SessionRule.FALL, sequence=1, time_ns=at_minute(minutes, ns=ns))
    assert (found.placing, found.id) == (Placing.KNOWN, name)


def test_fall_is_too_old_where_sessions_were_dropped():
    kept = [session("1", minutes=500), session("2", minutes=1_000)]
    rule = SessionRule.FALL
    assert placed(kept, rule, time_ns=at_minute(470), dropped=1).id == "1"
    assert placed(kept, rule, time_ns=at_minute(470, ns=-1), dropped=1) == Place(
        Placing.TOO_OLD, 0, UNKNOWN_SESSION
    )


def test_the_first_session_takes_what_is_before_it():
    found = placed([session("0")], SessionRule.FALL, time_ns=at_minute(-9_999))
    assert (found.placing, found.id) == (Placing.KNOWN, "0")


def test_a_message_whose_time_is_not_known_is_of_the_current_session():
    kept = [session("0"), session("1", minutes=500)]
    for time_ns in (0, -1):
        for dropped in (0, 1):
            found = placed(kept, SessionRule.FALL, time_ns=time_ns, dropped=dropped)
            assert found == Place(Placing.KNOWN, 1, "1")


def test_a_replay_of_an_earlier_session_is_judged_against_it_and_resets_nothing():
    rule = SessionRule.FALL
    state = None
    days = [(number, day * 1_440) for day in range(3) for number in range(1, 9)]
    verdicts = []
    for number, minutes in days + days:
        after = send(state, rule, number, minutes)
        state = after.state
        verdicts.append(after.verdict)
    assert verdicts[: len(days)].count(Verdict.RESET) == 2
    assert set(verdicts[len(days) :]) == {Verdict.DUPLICATE}
    assert [kept.id for kept in state.sessions] == ["0", "1", "2"]


def test_default_ids_count_on_after_sessions_are_dropped():
    rule = SessionRule.FALL
    state = None
    begun = 3 * MAX_SESSIONS  # so many that an id counted from those kept would come again
    for day in range(begun):
        for number in (1, 2, 3, 4):
            state = send(state, rule, number, day * 1_440).state
    assert [kept.id for kept in state.sessions] == [
        str(number) for number in range(begun - MAX_SESSIONS, begun)
    ]
    assert state.dropped == begun - MAX_SESSIONS
    stale = send(state, rule, 1, 0)
    assert (stale.verdict, stale.session_id) == (Verdict.STALE, UNKNOWN_SESSION)
    assert stale.state.sessions == state.sessions


def test_a_state_fits_its_codec_however_often_numbers_jump_as_far_as_they_can():
    state = None
    for number in range(MAX_SESSIONS + 4):
        for sequence in (1, MAX_SEQUENCE):
            state = send(state, SessionRule.DECLARED, sequence, number, f"day-{number}").state
    assert state.counters.numbers_abandoned == MAX_SEQUENCE
    assert decode(encode(state)) == state
