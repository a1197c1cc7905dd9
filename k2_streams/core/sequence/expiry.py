"""Gaps of silent scopes: abandoned once stream time shows that any further message would do so.

`sequence.step` abandons a gap when a message of its scope arrives. A silent scope would keep it
open for ever, so it is checked without a message. Exactly the gaps that the next message would
abandon first are abandoned, only earlier: verdicts, states and events are the same, except for an
event's origin, since no message caused it (`source_offset` -1, no event time).
"""

import msgspec

from k2_streams.core.records.events import Event, GapAbandoned
from k2_streams.core.sequence.events import MessageEvents
from k2_streams.core.sequence.horizon import abandon_expired, is_due
from k2_streams.core.sequence.step import ScopeState, with_abandoned

#: No gap: nothing ages.
NEVER_MS = 0
#: A broker that takes a partition over may have a clock that is behind: of the horizon, and at the
#: most, so much is waited longer than for a message of the scope.
MARGIN_SHARE = 0.1
MARGIN_MAX_MS = 600_000


def margin_ms(horizon_ms: int) -> int:
    """How much longer than the horizon a gap of a silent scope is waited for."""
    return min(int(horizon_ms * MARGIN_SHARE), MARGIN_MAX_MS)


def oldest_gap_ms(state: ScopeState) -> int:
    """The age of the scope's oldest gap, as append time; `NEVER_MS`: none has one."""
    ages = (
        next((part.since_ms for part in session.missing if part.since_ms), NEVER_MS)
        for session in state.sessions
    )
    return min((age for age in ages if age), default=NEVER_MS)


def expired(
    state: ScopeState, scope: str, partition: int, time_ms: int, horizon_ms: int
) -> tuple[ScopeState, tuple[Event, ...]]:
    """The state without the gaps that are beyond the horizon at a time, each with an event.

    Args:
        state: of a silent scope. While a gap of it is held for a line, it is left as it is.
        scope: its key.
        partition: of the source.
        time_ms: that no message to come is older than.
        horizon_ms: how long a gap waits for late records.
    """
    if (state.lines and state.lines.held) or not is_due(state.sessions, time_ms, horizon_ms):
        return state, ()
    about = MessageEvents(scope=scope, partition=partition, offset=-1, time_ns=0)
    sessions = abandon_expired(state.sessions, time_ms, horizon_ms, about)
    numbers = sum(
        event.last - event.first + 1 for event in about.events if isinstance(event, GapAbandoned)
    )
    counters = msgspec.structs.replace(
        state.counters, numbers_abandoned=with_abandoned(state.counters, numbers)
    )
    made = msgspec.structs.replace(state, sessions=sessions, counters=counters)
    return made, tuple(about.events)
