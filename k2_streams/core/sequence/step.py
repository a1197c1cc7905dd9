"""What was received, exactly: the verdict on each number of a scope, and what is still missing.

A scope is what a venue counts for: an exchange's symbol, or its channel. `step` takes one message
and says what it is. The answer depends on the messages and their order alone, not on how they were
cut into batches, on the machine's clock or on restarts.

    number against the message's session        verdict
    --------------------------------------      ---------------------------------------------------
    the scope or an older session begins        FIRST
    a new current session begins                RESET: what the one before misses is abandoned
    at `expected`                               IN_ORDER
    above `expected`                            IN_ORDER, and a gap opens
    missing                                     LATE: the gap shrinks, splits or is filled
    below the session's first                   LATE, and a gap opens between the two
    received before                             DUPLICATE
    received before, its event time later       CONFLICTING: another message with the same number; a
    than all of the session                     new session (RESET) where those are told by time
    below `floor`, or session no longer kept    STALE: whether it was received is not known any more
    of a redriven record, and dead              LATE: the number is dead no more

What is missing is kept as ranges, as TCP's selective acknowledgement (RFC 2018) has it.
"""

import enum
from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple

import msgspec

from k2_streams.core.lines.state import Lines
from k2_streams.core.records.events import Event, GapAbandoned, GapFilled, GapOpened
from k2_streams.core.sequence.dead import holds
from k2_streams.core.sequence.events import MessageEvents
from k2_streams.core.sequence.horizon import (
    LATE_HORIZON_MS,
    abandon,
    abandon_expired,
    is_due,
    since_ms_above,
    since_ms_below,
)
from k2_streams.core.sequence.redrive import MAX_DEAD, died, place_dead, revived
from k2_streams.core.sequence.sessions import (
    CONFLICT_TOLERANCE_MS,
    DEFAULT_SESSION,
    MAX_SESSIONS,
    Missing,
    Place,
    Placing,
    Session,
    SessionRule,
    place,
)

#: Missing ranges a scope keeps, over all its sessions: 56 KB of state at most. Above it the lowest
#: range of the oldest session is abandoned.
MAX_MISSING = 1_024


class SequenceLimits(NamedTuple):
    """What a scope keeps at most.

    Attributes:
        missing: missing ranges, over all its sessions.
        sessions: sessions.
        dead: dead ranges, over all its sessions.
    """

    missing: int = MAX_MISSING
    sessions: int = MAX_SESSIONS
    dead: int = MAX_DEAD


SEQUENCE_LIMITS = SequenceLimits()
#: Numbers are signed 64-bit, as the lake's column is.
MAX_SEQUENCE = 2**63 - 1


class Verdict(enum.IntEnum):
    """What the sequence says of a message."""

    FIRST = 0
    IN_ORDER = 1
    LATE = 2
    DUPLICATE = 3
    RESET = 4
    STALE = 5
    UNSEQUENCED = 6
    CONFLICTING = 7


#: Verdicts whose trades become rows.
ACCEPTED = frozenset(
    {Verdict.FIRST, Verdict.IN_ORDER, Verdict.LATE, Verdict.RESET, Verdict.UNSEQUENCED}
)


class Nature(enum.IntEnum):
    """What a message is beside its number."""

    USUAL = 0
    DEAD = 1  # its record becomes a dead letter, whatever the verdict on its number
    REDRIVEN = 2  # its record was a dead letter and is sent again


class ScopeMessage(msgspec.Struct, frozen=True, gc=False):
    """What the sequence needs to know of a message."""

    sequence: int | None  # 0 to 2^63 - 1
    session: str | None  # as the message names it
    event_time_ns: int  # 0 or less: not known; it then moves no time and begins no session by time
    scope: str
    partition: int
    offset: int
    append_ms: int = 0  # the broker's time of the record; 0: not known, and nothing grows old
    nature: Nature = Nature.USUAL


class Counters(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of a scope since its beginning. Messages, except where it says numbers or gaps."""

    accepted: int = 0
    duplicates: int = 0
    late: int = 0  # those accepted late
    stale: int = 0
    resets: int = 0
    gaps_opened: int = 0
    gaps_filled: int = 0
    numbers_abandoned: int = 0
    first_time_ns: int = 0  # the smallest event time accepted; 0: none yet
    last_time_ns: int = 0  # the largest
    conflicts: int = 0  # numbers used twice


class ScopeState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of a scope. Immutable: a step or a run of messages makes a new one."""

    sessions: tuple[Session, ...] = ()  # oldest first, at most MAX_SESSIONS; the last is current
    dropped: int = 0  # sessions kept once and not any more
    counters: Counters = Counters()
    lines: Lines | None = None  # of a scope whose messages come by redundant lines

    @property
    def current(self) -> Session | None:
        """The session that messages without a name belong to; None before the first message."""
        return self.sessions[-1] if self.sessions else None

    @property
    def missing_numbers(self) -> int:
        """How many numbers are missing now, over all kept sessions."""
        return sum(session.missing_numbers for session in self.sessions)


class Step(NamedTuple):
    """What a message brought about."""

    state: ScopeState | None  # None only if it was None and the message has no number
    verdict: Verdict
    session_id: str  # "" for a message older than all kept sessions that names none
    events: tuple[Event, ...]  # a duplicate has none here: a `DuplicateCounter` counts them


_NEW_SCOPE = ScopeState()
_START = attrgetter("start")


def step(
    state: ScopeState | None,
    message: ScopeMessage,
    rule: SessionRule,
    horizon_ms: int = LATE_HORIZON_MS,
    tolerance_ms: int | None = CONFLICT_TOLERANCE_MS,
    limits: SequenceLimits = SEQUENCE_LIMITS,
) -> Step:
    """Classify one message.

    Args:
        state: of the message's scope; None before its first message.
        message: the next one of the scope, in the order of its partition.
        rule: how the feed's sessions begin.
        horizon_ms: how long a gap waits for late records.
        tolerance_ms: how much later than all of its session a repeat's event time may be; None: any
            time, as the venue itself repeats numbers.
        limits: what the scope keeps at most.

    Returns:
        The state after it, the verdict, the session it belongs to and the events it caused. A
        message without a number is UNSEQUENCED and leaves the state as it is.
    """
    sequence = message.sequence
    if sequence is None:
        return Step(state, Verdict.UNSEQUENCED, message.session or DEFAULT_SESSION, ())
    assert 0 <= sequence <= MAX_SEQUENCE, f"expected a 63-bit number, found {sequence}"  # noqa: S101 - a decoder's bug, not an input
    before = state or _NEW_SCOPE
    about = MessageEvents(
        scope=message.scope,
        partition=message.partition,
        offset=message.offset,
        time_ns=message.event_time_ns,
    )
    sessions, dropped = before.sessions, before.dropped
    if is_due(sessions, message.append_ms, horizon_ms):
        sessions = abandon_expired(sessions, message.append_ms, horizon_ms, about)
    where = place(
        sessions,
        dropped,
        rule,
        name=message.session,
        sequence=sequence,
        time_ns=message.event_time_ns,
        tolerance_ms=tolerance_ms,
    )
    if message.nature is Nature.REDRIVEN:
        where = place_dead(sessions, rule, message.session, sequence, where)
    about.of_session(where.id)
    if where.placing is Placing.TOO_OLD:
        verdict = Verdict.STALE
        about.stale(sequence)
    elif where.placing is Placing.KNOWN:
        verdict, session = _classify(sessions[where.at], message, tolerance_ms, about)
        sessions = (*sessions[: where.at], session, *sessions[where.at + 1 :])
    else:
        verdict, sessions = _begin(sessions, where, message, about)
    if message.nature is Nature.DEAD and verdict in ACCEPTED:
        about.dead(sequence)
        sessions = died(sessions, where.at, sequence, limits.dead)
    if len(sessions) > limits.sessions:
        abandon(sessions[0], len(sessions[0].missing), "session-dropped", about)
        sessions, dropped = sessions[1:], dropped + 1
    if about.grew:
        sessions = _bounded(sessions, limits.missing, about)
    events = tuple(about.events)
    counters = counted(before.counters, verdict, events, message.event_time_ns)
    made = ScopeState(sessions, dropped, counters, before.lines)
    return Step(made, verdict, where.id, events)


def counted(
    counters: Counters, verdict: Verdict, events: tuple[Event, ...], time_ns: int
) -> Counters:
    """The counters after a message with this verdict, these events and this event time."""
    accepted = verdict in ACCEPTED
    first, last = counters.first_time_ns, counters.last_time_ns
    if accepted and time_ns > 0:
        first = min(first, time_ns) if first else time_ns
        last = max(last, time_ns)
    opened = filled = abandoned = 0
    for event in events:
        if isinstance(event, GapOpened):
            opened += 1
        elif isinstance(event, GapFilled):
            filled += 1
        elif isinstance(event, GapAbandoned):
            abandoned += event.last - event.first + 1
    return Counters(
        counters.accepted + accepted,
        counters.duplicates + (verdict is Verdict.DUPLICATE),
        counters.late + (verdict is Verdict.LATE),
        counters.stale + (verdict is Verdict.STALE),
        counters.resets + (verdict is Verdict.RESET),
        counters.gaps_opened + opened,
        counters.gaps_filled + filled,
        with_abandoned(counters, abandoned),
        first,
        last,
        counters.conflicts + (verdict is Verdict.CONFLICTING),
    )


def with_abandoned(counters: Counters, numbers: int) -> int:
    """`numbers_abandoned` with more of them, at most `MAX_SEQUENCE`.

    A venue's numbers may jump to the largest one in every session: the sum has no bound, but the
    state's codec has.
    """
    return min(counters.numbers_abandoned + numbers, MAX_SEQUENCE)


def _begin(
    sessions: tuple[Session, ...], where: Place, message: ScopeMessage, about: MessageEvents
) -> tuple[Verdict, tuple[Session, ...]]:
    """A message that begins a session: the sessions with it. What a reset ends is abandoned."""
    sequence = message.sequence
    assert sequence is not None  # noqa: S101 - `step` asked before
    time_ns = max(message.event_time_ns, 0)
    begins = Session(where.id, sequence, sequence + 1, (), 0, time_ns, time_ns, time_ns, time_ns)
    verdict = Verdict.FIRST
    if sessions and where.placing is Placing.NEW:
        verdict = Verdict.RESET
        ended = abandon(sessions[-1], len(sessions[-1].missing), "reset", about)
        sessions = (*sessions[:-1], ended)
        about.reset(sequence, ended.id)
    return verdict, (*sessions[: where.at], begins, *sessions[where.at :])


def _classify(
    session: Session, message: ScopeMessage, tolerance_ms: int | None, about: MessageEvents
) -> tuple[Verdict, Session]:
    """A message of a kept session, against what is known of that session."""
    sequence = message.sequence
    assert sequence is not None  # noqa: S101 - `step` asked before
    is_redriven = message.nature is Nature.REDRIVEN
    if is_redriven and holds(session.dead, sequence):
        about.redriven(sequence)
        return Verdict.LATE, revived(session, sequence, max(message.event_time_ns, 0))
    first, expected, missing = session.first, session.expected, session.missing
    bottom_ns, top_ns = session.bottom_time_ns, session.top_time_ns
    time_ns = max(message.event_time_ns, 0)
    verdict = Verdict.LATE
    if sequence >= expected:
        verdict = Verdict.IN_ORDER
        if sequence > expected:
            since_ms = since_ms_above(missing, message.append_ms)
            gap = about.opened(expected, sequence - 1, since_ms, top_ns, time_ns)
            missing = (*missing, gap)
        expected, top_ns = sequence + 1, time_ns or top_ns
    elif sequence < session.floor:
        about.stale(sequence)
        return Verdict.STALE, session
    elif sequence < first:
        about.late(sequence)
        if sequence + 1 < first:
            since_ms = since_ms_below(missing, message.append_ms)
            gap = about.opened(sequence + 1, first - 1, since_ms, time_ns, bottom_ns)
            missing = (gap, *missing)
        first, bottom_ns = sequence, time_ns or bottom_ns
    else:
        index = bisect_right(missing, sequence, key=_START) - 1
        if index < 0 or missing[index].end <= sequence:
            if session.is_before(time_ns, tolerance_ms):
                about.conflicting(sequence)
                return Verdict.CONFLICTING, session
            if is_redriven and sequence < session.dead_floor:
                about.stale(sequence)
                return Verdict.STALE, session
            return Verdict.DUPLICATE, session
        about.late(sequence)
        missing = _receive(missing, index, sequence, time_ns, session.floor, about)
    return verdict, Session(
        session.id,
        first,
        expected,
        missing,
        session.floor,
        session.first_time_ns or time_ns,
        max(session.last_time_ns, time_ns),
        bottom_ns,
        top_ns,
        session.dead,
        session.dead_floor,
    )


def _receive(
    missing: tuple[Missing, ...],
    index: int,
    sequence: int,
    time_ns: int,
    floor: int,
    about: MessageEvents,
) -> tuple[Missing, ...]:
    """Take a number out of the range at `index`; say so if that was the last of its gap.

    What is left lies on either side of the message's time, if that is known. A gap that begins
    below `floor` was abandoned in part: it can not be filled any more.
    """
    part = missing[index]
    gap = (part.gap_first, part.gap_last, part.since_ms)
    rest = [
        Missing(start, end, *gap, previous_ns, next_ns)
        for start, end, previous_ns, next_ns in (
            (part.start, sequence, part.previous_time_ns, time_ns or part.next_time_ns),
            (sequence + 1, part.end, time_ns or part.previous_time_ns, part.next_time_ns),
        )
        if start < end
    ]
    about.grew = len(rest) > 1
    if not rest and part.gap_first >= floor:
        beside = missing[max(index - 1, 0) : index] + missing[index + 1 : index + 2]
        if all(other.gap_first != part.gap_first for other in beside):
            about.filled(part)
    return (*missing[:index], *rest, *missing[index + 1 :])


def _bounded(
    sessions: tuple[Session, ...], limit: int, about: MessageEvents
) -> tuple[Session, ...]:
    """Keep the scope's missing ranges within the limit: the oldest go first."""
    excess = sum(len(session.missing) for session in sessions) - limit
    kept = list(sessions)
    for index, session in enumerate(sessions):
        if excess <= 0:
            break
        kept[index] = abandon(session, excess, "limit", about)
        excess -= len(session.missing) - len(kept[index].missing)
    return tuple(kept)
