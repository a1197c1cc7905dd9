"""Runs: messages of one scope whose numbers follow each other, classified at once if alike.

A verdict here about many messages is the one that `step` returns for each; where that does not
follow from the state and the run's times alone, there is none.
"""

from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple

import msgspec

from k2_streams.core.sequence.horizon import is_due
from k2_streams.core.sequence.sessions import (
    RESET_SILENCE_NS,
    Session,
    SessionRule,
    begins_ns,
    fell,
    goes_by_time,
)
from k2_streams.core.sequence.step import Counters, ScopeState, Verdict

_START = attrgetter("start")


class Run(NamedTuple):
    """Messages [start, end) in the order of scopes: one scope, one session's name, numbers +1."""

    start: int
    end: int
    scope: int
    session: int
    sequence: int  # of the first
    earliest_ns: int
    latest_ns: int
    latest_append_ms: int


class Same(NamedTuple):
    """So many messages of a run that share a verdict, of the session at an index."""

    at: int
    verdict: Verdict
    size: int


def alike(
    state: ScopeState,
    rule: SessionRule,
    name: str | None,
    run: Run,
    start: int,
    horizon_ms: int,
) -> Same | None:
    """How many messages of a run, from `start` on, are IN_ORDER or DUPLICATE alike.

    None if that does not hold for all of them at once: the next one then goes through `step`. The
    run's earliest and latest time stand for those of the messages left of it, to be safe.
    """
    sequence, size = run.sequence + start - run.start, run.end - start
    at = _session_of(state, rule, name, run.earliest_ns)
    if at < 0 or is_due(state.sessions, run.latest_append_ms, horizon_ms):
        return None
    session = state.sessions[at]
    if sequence >= session.expected:
        in_order = sequence == session.expected
        return Same(at, Verdict.IN_ORDER, size) if in_order else None
    if sequence < max(session.floor, session.first):
        return None
    silent = run.latest_ns - RESET_SILENCE_NS > session.last_time_ns
    if silent and goes_by_time(rule, name) and fell(session, sequence):
        return None
    size = min(size, session.expected - sequence)
    missing = session.missing
    above = bisect_right(missing, sequence, key=_START)
    if above and missing[above - 1].end > sequence:
        return None
    if above < len(missing):
        size = min(size, missing[above].start - sequence)
    return Same(at, Verdict.DUPLICATE, size)


def _session_of(state: ScopeState, rule: SessionRule, name: str | None, earliest_ns: int) -> int:
    """The index of the kept session that a run belongs to; -1 if that needs a closer look."""
    sessions = state.sessions
    last = len(sessions) - 1
    current = sessions[last]
    if goes_by_time(rule, name):
        earlier = last and earliest_ns < begins_ns(sessions, last)
        found = -1 if earlier else last
    elif rule is SessionRule.NEVER or name is None or current.id == name:
        found = last
    else:
        found = next((at for at in range(last) if sessions[at].id == name), -1)
    # A time that is not known moves nothing, and a session may still wait for its first one.
    known = earliest_ns > 0 and sessions[found].first_time_ns > 0
    return found if known else -1


def extended(
    state: ScopeState, same: Same, earliest_ns: int, latest_ns: int, top_ns: int
) -> ScopeState:
    """The state after messages in order, the last of which has event time `top_ns`."""
    session, was = state.sessions[same.at], state.counters
    extended = Session(
        session.id,
        session.first,
        session.expected + same.size,
        session.missing,
        session.floor,
        session.first_time_ns,
        max(session.last_time_ns, latest_ns),
        session.bottom_time_ns,
        top_ns,
        session.dead,
        session.dead_floor,
    )
    counters = Counters(
        was.accepted + same.size,
        was.duplicates,
        was.late,
        was.stale,
        was.resets,
        was.gaps_opened,
        was.gaps_filled,
        was.numbers_abandoned,
        min(was.first_time_ns, earliest_ns),
        max(was.last_time_ns, latest_ns),
        was.conflicts,
    )
    sessions = (*state.sessions[: same.at], extended, *state.sessions[same.at + 1 :])
    return ScopeState(sessions, state.dropped, counters, state.lines)


def repeated(state: ScopeState, same: Same) -> ScopeState:
    """The state after messages received before: nothing but their count."""
    duplicates = state.counters.duplicates + same.size
    counters = msgspec.structs.replace(state.counters, duplicates=duplicates)
    return ScopeState(state.sessions, state.dropped, counters, state.lines)
