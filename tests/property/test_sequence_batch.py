"""A batch's verdicts, sessions, events and states are those of its messages one at a time."""

from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scope_states import ScopeStates
from sequence_inputs import (
    HORIZON_MS,
    MINUTE_NS,
    SCOPES,
    START_NS,
    Folded,
    fold,
    messages,
    rules,
    to_batch,
    tolerances,
)

from k2_streams.core.sequence import batch as sequence_batch
from k2_streams.core.sequence import run as sequence_run
from k2_streams.core.sequence.batch import step_batch
from k2_streams.core.sequence.codec import encode
from k2_streams.core.sequence.messages import Ruled
from k2_streams.core.sequence.sessions import (
    CONFLICT_TOLERANCE_MS,
    SESSION_SLACK_NS,
    Counting,
    SessionRule,
)
from k2_streams.core.sequence.step import (
    SEQUENCE_LIMITS,
    ScopeMessage,
    ScopeState,
    SequenceLimits,
    Verdict,
)


def step_batches(
    stream: list[ScopeMessage],
    rule: SessionRule,
    cuts: list[int],
    tolerance_ms: int | None,
    limits: SequenceLimits,
    *,
    in_columns: bool,
) -> Folded:
    """The same stream through `step_batch`, cut at these places; with columns, or without."""
    out, states = Folded(), ScopeStates(in_columns=in_columns)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        part = stream[start:end]
        before = states.all()
        after = step_batch(
            states.get, to_batch(part), rule, HORIZON_MS, tolerance_ms, limits, states.columns
        )
        assert states.all() == before, "states are immutable: only the result has new ones"
        changed = {message.scope for message in part if message.sequence is not None}
        assert states.take(after) == changed
        out.verdicts.extend(Verdict(verdict) for verdict in after.verdicts.tolist())
        out.sessions.extend(after.session_names[index] for index in after.session.tolist())
        out.events.extend(after.events)
        out.duplicates.update(after.duplicates)
    out.states = states.all()
    return out


def assert_same(
    stream: list[ScopeMessage],
    rule: SessionRule,
    cuts: list[int],
    tolerance_ms: int | None = CONFLICT_TOLERANCE_MS,
    limits: SequenceLimits = SEQUENCE_LIMITS,
) -> None:
    one_by_one = fold(stream, rule, tolerance_ms, limits)
    for in_columns in (False, True):
        by_batch = step_batches(stream, rule, cuts, tolerance_ms, limits, in_columns=in_columns)
        assert by_batch.verdicts == one_by_one.verdicts
        assert by_batch.sessions == one_by_one.sessions
        assert by_batch.events == one_by_one.events
        assert by_batch.states == one_by_one.states
        assert as_bytes(by_batch.states) == as_bytes(one_by_one.states)
        assert by_batch.duplicates.events() == one_by_one.duplicates.events()
        assert by_batch.duplicates.count == one_by_one.verdicts.count(Verdict.DUPLICATE)


def assert_same_however_cut(stream: list[ScopeMessage], rule: SessionRule) -> None:
    for cut in range(len(stream) + 1):
        for tolerance_ms in (CONFLICT_TOLERANCE_MS, None):
            assert_same(stream, rule, [cut], tolerance_ms)


def as_bytes(states: dict[str, ScopeState]) -> dict[str, bytes | None]:
    """As a checkpoint has them; None of one whose counters are beyond 64 bits."""
    encoded: dict[str, bytes | None] = {}
    for scope, state in states.items():
        try:
            encoded[scope] = encode(state)
        except OverflowError:
            encoded[scope] = None
    return encoded


cuts = st.lists(st.integers(0, 400), max_size=8)


def at(number: int, minutes: int, offset: int, name: str | None = None) -> ScopeMessage:
    return ScopeMessage(number, name, START_NS + minutes * MINUTE_NS, SCOPES[0], 3, offset)


def sent(numbers: range, minutes: int, name: str | None = None) -> list[ScopeMessage]:
    return [at(number, minutes, number, name) for number in numbers]


def appended(messages: list[ScopeMessage], append_ms: int) -> list[ScopeMessage]:
    return [replace(message, append_ms=append_ms) for message in messages]


TWO_SESSIONS = [*sent(range(20), 0), *sent(range(5), 70)]
#: One stream for each thing that a run must look at; each names the fault that it finds.
KNOWN = {
    "the times of duplicates count nowhere": (
        SessionRule.FALL,
        [*sent(range(10), 0), *sent(range(5, 10), -9), *sent(range(10, 14), 1)],
    ),
    "messages of a scope keep their order": (
        SessionRule.NEVER,
        [*sent(range(5), 0), *sent(range(7, 9), 0), *sent(range(5, 7), 0)],
    ),
    "missing numbers are no duplicates": (
        SessionRule.NEVER,
        [*sent(range(5), 0), *sent(range(8, 12), 0), *sent(range(14), 0)],
    ),
    "a name says the session": (
        SessionRule.DECLARED,
        [*sent(range(9), 0, "a"), *sent(range(5), 0, "b"), *sent(range(5, 12), 0, "a")],
    ),
    "a fall and a silence begin a session": (SessionRule.FALL, TWO_SESSIONS),
    "an early message is of an early session": (
        SessionRule.FALL,
        [*TWO_SESSIONS, *sent(range(5, 8), 39)],
    ),
    "a number used twice is no duplicate": (
        SessionRule.NEVER,
        [*sent(range(10), 0), *sent(range(3, 5), 0), *sent(range(5, 12), 1), *sent(range(2), 2)],
    ),
    "nor is it where it begins a session": (
        SessionRule.FALL,
        [*sent(range(10), 0), *sent(range(3, 5), 0), *sent(range(5, 12), 1), *sent(range(2), 2)],
    ),
    "a gap beyond the horizon is abandoned": (
        SessionRule.NEVER,
        [
            *appended(sent(range(5), 0), 1),
            *appended(sent(range(7, 10), 0), 2),
            *appended(sent(range(10, 13), 0), 2 + HORIZON_MS),
        ],
    ),
}


@settings(max_examples=250, deadline=None)
@given(messages(dead=True), rules, cuts, tolerances)
def test_a_batch_is_the_fold_of_step(stream, rule, where, tolerance_ms):
    assert_same(stream, rule, where, tolerance_ms)


@settings(max_examples=200, deadline=None)
@given(messages(dead=True), rules, cuts, tolerances)
def test_a_batch_is_the_fold_of_step_at_the_limits(stream, rule, where, tolerance_ms):
    """With limits of 3, ranges are abandoned and sessions dropped all the time."""
    limits = SequenceLimits(missing=3, sessions=3, dead=3)
    assert_same(stream, rule, where, tolerance_ms, limits)


def test_nothing_gives_nothing():
    after = step_batch({}.get, to_batch([]), SessionRule.FALL)
    assert (after.verdicts.tolist(), after.session_names, after.states) == ([], [], {})
    assert (after.events, bool(after.duplicates)) == ([], False)


def test_more_scopes_than_a_radix_sort_takes():
    """Indexes of scopes above 65,535 are not folded onto others."""
    names = [f"X:{number}" for number in range(2**16 + 1)]
    stream = [
        ScopeMessage(number, None, START_NS, name, 3, 0)
        for number in (1, 2)
        for name in (names[0], names[2**15], names[2**16])
    ]
    batch = to_batch(stream)
    batch.scope[:] = [names.index(message.scope) for message in stream]
    batch.scopes = names
    after = step_batch({}.get, batch, SessionRule.FALL)
    assert {scope: state.counters.accepted for scope, state in after.states.items()} == {
        names[0]: 2,
        names[2**15]: 2,
        names[2**16]: 2,
    }


@pytest.mark.parametrize("known", KNOWN)
def test_known_streams_in_any_two_batches(known):
    rule, stream = KNOWN[known]
    assert_same_however_cut(stream, rule)


def _whole_run_times(self, run, at, whole):
    return run.earliest_ns, run.latest_ns


def _ignores_missing(state, rule, name, run, start, horizon_ms):
    same = ORIGINAL_ALIKE(state, rule, name, run, start, horizon_ms)
    if same is None and state.sessions:
        first = run.sequence + start - run.start
        session = state.sessions[-1]
        if session.first <= first < session.expected:
            size = min(run.end - start, session.expected - first)
            return sequence_run.Same(len(state.sessions) - 1, Verdict.DUPLICATE, size)
    return same


def _always_current(state, rule, name, earliest_ns):
    return len(state.sessions) - 1


def _begins_long_before(sessions, at):
    return sessions[at].first_time_ns - 2 * SESSION_SLACK_NS


def _never_falls(session, sequence):
    return False


def _never_due(sessions, append_ms, horizon_ms):
    return False


def _repeats_all(self, run, at, same, session, tolerance_ms):
    return same


def _unstable_order(self):
    return ORIGINAL_ORDER(self)[::-1]


ORIGINAL_ALIKE = sequence_run.alike
ORIGINAL_ORDER = sequence_batch._BatchStepper._in_scope_order


@pytest.mark.parametrize(
    ("known", "owner", "name", "broken"),
    [
        (
            "the times of duplicates count nowhere",
            sequence_batch._BatchStepper,
            "_times",
            _whole_run_times,
        ),
        (
            "messages of a scope keep their order",
            sequence_batch._BatchStepper,
            "_in_scope_order",
            _unstable_order,
        ),
        (
            "a number used twice is no duplicate",
            sequence_batch._BatchStepper,
            "_repeats",
            _repeats_all,
        ),
        (
            "nor is it where it begins a session",
            sequence_batch._BatchStepper,
            "_repeats",
            _repeats_all,
        ),
        ("missing numbers are no duplicates", sequence_batch, "alike", _ignores_missing),
        ("a name says the session", sequence_run, "_session_of", _always_current),
        ("a gap beyond the horizon is abandoned", sequence_run, "is_due", _never_due),
        ("a fall and a silence begin a session", sequence_run, "fell", _never_falls),
        (
            "a fall and a silence begin a session",
            sequence_run,
            "RESET_SILENCE_NS",
            2 * sequence_run.RESET_SILENCE_NS,
        ),
        (
            "an early message is of an early session",
            sequence_run,
            "begins_ns",
            _begins_long_before,
        ),
    ],
)
def test_a_broken_batch_is_found(known, owner, name, broken):
    """Each fault of the vectorised step fails its stream: the properties above can fail."""
    rule, stream = KNOWN[known]
    assert_same(stream, rule, [])
    with mock.patch.object(owner, name, broken), pytest.raises(AssertionError):
        assert_same_however_cut(stream, rule)


def test_feeds_of_one_batch_count_each_in_its_own_way():
    """A venue that repeats numbers beside one that does not: both use a number again, later."""
    stream = [
        replace(message, scope=scope)
        for message in [*sent(range(5), 0), *sent(range(2, 5), 1)]
        for scope in SCOPES[:2]
    ]
    batch = to_batch(stream)
    counting = [Counting(SessionRule.NEVER), Counting(SessionRule.NEVER, None)]
    of = np.array([SCOPES.index(message.scope) for message in stream], np.int8)
    batch.ruled = Ruled(counting, of)
    verdicts = step_batch({}.get, batch, SessionRule.FALL).verdicts
    again = [Verdict(one) for one in verdicts[-6:].tolist()]
    assert again == [Verdict.CONFLICTING, Verdict.DUPLICATE] * 3
