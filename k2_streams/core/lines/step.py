"""Redundant lines (A/B) of one feed: the first copy wins, and what one line lost another brings.

A gap is held back until no line can fill it any more. What is received before that was never
missing: it is neither late nor a gap. `step` is the sequence's, with three things changed:

    gap_opened              held; reported when the gap is released, of the numbers then missing
    late, of a held gap     IN_ORDER, without an event
    gap_filled, of a held   no event

A held gap waits for a line that has not passed it: for `HOLD_MS` of append time since the gap came
about, if anything came of that line in the `HOLD_MS` before, and for as long since the line's last
message of this scope. Both are known from the log, and change only with the scope's own messages.
So a held gap has a deadline, and it does not matter when, or how often, somebody looks.
"""

from typing import NamedTuple

import msgspec

from k2_streams.core.lines.state import Held, LineAt, Lines
from k2_streams.core.records.events import (
    SMALL_GAP_MAX,
    Event,
    GapAbandoned,
    GapFilled,
    GapOpened,
    Late,
)
from k2_streams.core.sequence.horizon import LATE_HORIZON_MS
from k2_streams.core.sequence.sessions import CONFLICT_TOLERANCE_MS, Missing, Session, SessionRule
from k2_streams.core.sequence.step import (
    SEQUENCE_LIMITS,
    Nature,
    ScopeMessage,
    ScopeState,
    SequenceLimits,
    Step,
    Verdict,
    counted,
)
from k2_streams.core.sequence.step import step as step_plain

#: How long a line may be silent before nothing is expected of it.
HOLD_MS = 60_000
#: Lines that a scope knows; of more, the one that was silent for longest is forgotten.
MAX_LINES = 16
#: The next number of a line that has none of a session, and of no line: it passes no gap, or all.
_NOWHERE, _EVERYWHERE = -1, 2**64

#: A held gap: its session, its first and its last number, as it came about.
_Gap = tuple[str, int, int]


class Arrival(NamedTuple):
    """By which line, when, and what else there is."""

    line: str  # "": the message names none
    now_ms: int  # the partition's time: the largest append time up to the message
    alive: tuple[str, ...]  # lines of the scope's exchange seen in the last HOLD_MS, with this one


def step(
    state: ScopeState | None,
    message: ScopeMessage,
    arrival: Arrival,
    rule: SessionRule,
    horizon_ms: int = LATE_HORIZON_MS,
    tolerance_ms: int | None = CONFLICT_TOLERANCE_MS,
    limits: SequenceLimits = SEQUENCE_LIMITS,
) -> Step:
    """Classify one message of a scope whose messages come by lines.

    A scope that never saw a line is classified by the sequence alone.
    """
    if message.sequence is None or (not arrival.line and (state is None or state.lines is None)):
        return step_plain(state, message, rule, horizon_ms, tolerance_ms, limits)
    released: tuple[Event, ...] = ()
    if state is not None:
        state, released = release(state, message.scope, message.partition, arrival.now_ms)
    after = step_plain(state, message, rule, horizon_ms, tolerance_ms, limits)
    assert after.state is not None  # noqa: S101 - the message has a number
    events, verdict, held = _without_held(state, message, arrival, after)
    lines = Lines(_moved(state, message, arrival, after.session_id), held)
    before = state.counters if state else ScopeState().counters
    counters = counted(before, verdict, events, message.event_time_ns)
    made = msgspec.structs.replace(after.state, counters=counters, lines=lines)
    made, more = release(made, message.scope, message.partition, arrival.now_ms)
    return Step(made, verdict, after.session_id, (*released, *events, *more))


def deadline_ms(lines: Lines) -> int | None:
    """When the first of the held gaps is released, if no message of the scope comes before."""
    return min(deadlines_ms(lines), default=None)


def deadlines_ms(lines: Lines) -> list[int]:
    """Of each held gap, when nothing is expected of any line any more; 0 if all have passed it.

    A line passes the gaps of its session below its next number. So what lines tell of a gap follows
    from its last number, and is found once for all gaps of a session, and of those who await the
    same lines.
    """
    lines_of: dict[str, list[tuple[int, int]]] = {}
    passed_of: dict[tuple[str, tuple[str, ...]], int] = {}
    found = []
    for session, _, last, since_ms, _, _, awaits in map(msgspec.structs.astuple, lines.held):
        known = lines_of.get(session)
        if known is None:
            known = lines_of[session] = _expected(lines, session)
        passed = passed_of.get((session, awaits))
        if passed is None:
            passed = passed_of[session, awaits] = _passed_by_all(lines, session, awaits)
        waits_ms = since_ms + HOLD_MS if passed <= last else 0
        for following, until_ms in known:
            if following <= last:
                waits_ms = max(waits_ms, until_ms)
                break
        found.append(waits_ms)
    return found


def _expected(lines: Lines, session: str) -> list[tuple[int, int]]:
    """Of each line its next number of a session, and until when it is expected; latest first."""
    expected = [(_next_of(line, session), line.seen_ms + HOLD_MS) for line in lines.at]
    return sorted(expected, key=lambda line: -line[1])


def _passed_by_all(lines: Lines, session: str, awaits: tuple[str, ...]) -> int:
    """The number of a session below which all of these lines have passed."""
    next_of = {line.name: _next_of(line, session) for line in lines.at}
    return min((next_of.get(name, _NOWHERE) for name in awaits), default=_EVERYWHERE)


def _next_of(line: LineAt, session: str) -> int:
    return line.next if line.session == session else _NOWHERE


def release(
    state: ScopeState, scope: str, partition: int, now_ms: int
) -> tuple[ScopeState, tuple[Event, ...]]:
    """The state at a time, and the gaps that nothing is expected to fill any more.

    What was filled of a gap meanwhile was never missing: each range left is a gap of its own.
    """
    lines = state.lines
    if lines is None or not lines.held:
        return state, ()
    deadlines = deadlines_ms(lines)
    due = [at for at, deadline in enumerate(deadlines) if deadline <= now_ms]
    if not due:
        return state, ()
    # As their times came: who looks once may find due what another look would have found before.
    due.sort(key=lambda at: deadlines[at])
    left: dict[_Gap, list[Missing]] = {_gap(lines.held[at]): [] for at in due}
    sessions = tuple(_split(session, left) for session in state.sessions)
    events = tuple(
        opened(
            lines.held[at],
            scope,
            partition,
            part.start,
            part.end - 1,
            previous_time_ns=part.previous_time_ns,
            next_time_ns=part.next_time_ns,
        )
        for at in due
        for part in left[_gap(lines.held[at])]
    )
    gaps = state.counters.gaps_opened + len(events)
    made = ScopeState(
        sessions,
        state.dropped,
        msgspec.structs.replace(state.counters, gaps_opened=gaps),
        Lines(lines.at, tuple(held for held in lines.held if _gap(held) not in left)),
    )
    return made, events


def opened(
    held: Held,
    scope: str,
    partition: int,
    first: int,
    last: int,
    *,
    previous_time_ns: int | None,
    next_time_ns: int | None,
) -> GapOpened:
    """What is left of a held gap, as the event of the message that skipped it."""
    return GapOpened(
        scope=scope,
        session=held.session,
        source_partition=partition,
        source_offset=held.offset,
        exchange_time_ns=held.time_ns,
        first=first,
        last=last,
        size="small" if last - first < SMALL_GAP_MAX else "large",
        previous_time_ns=previous_time_ns,
        next_time_ns=next_time_ns,
    )


def _gap(held: Held) -> _Gap:
    return held.session, held.first, held.last


def _split(session: Session, left: dict[_Gap, list[Missing]]) -> Session:
    """The session with each range left of these gaps as a gap of its own; `left` gets them."""
    missing = list(session.missing)
    for at, part in enumerate(missing):
        ranges = left.get((session.id, part.gap_first, part.gap_last))
        if ranges is not None:
            ranges.append(part)
            missing[at] = msgspec.structs.replace(part, gap_first=part.start, gap_last=part.end - 1)
    return msgspec.structs.replace(session, missing=tuple(missing))


def _without_held(
    state: ScopeState | None, message: ScopeMessage, arrival: Arrival, after: Step
) -> tuple[tuple[Event, ...], Verdict, tuple[Held, ...]]:
    """The step's events and verdict without what concerns held gaps, and the gaps held then."""
    held = {
        (one.session, one.first, one.last): one
        for one in (state.lines.held if state and state.lines else ())
    }
    events: list[Event] = []
    verdict = after.verdict
    for event in after.events:
        match event:
            case GapOpened():
                key = (event.session, event.first, event.last)
                awaits = tuple(name for name in arrival.alive if name != arrival.line)
                held[key] = Held(
                    *key, arrival.now_ms, message.offset, message.event_time_ns, awaits
                )
            case GapFilled() if (event.session, event.first, event.last) in held:
                del held[event.session, event.first, event.last]
            case Late() if _in_held(state, held, event):
                verdict = Verdict.IN_ORDER
            case GapAbandoned():
                key = (event.session, event.gap_first, event.gap_last)
                events += _abandoned(event, held.get(key))
            case _:
                events.append(event)
    assert after.state is not None  # noqa: S101 - `step` asked before
    gaps = {
        (session.id, part.gap_first, part.gap_last)
        for session in after.state.sessions
        for part in session.missing
    }
    return tuple(events), verdict, tuple(one for key, one in held.items() if key in gaps)


def _in_held(state: ScopeState | None, held: dict[tuple[str, int, int], Held], event: Late) -> bool:
    """Whether a number that was missing is of a held gap."""
    return any(
        part.start <= event.sequence < part.end
        and (session.id, part.gap_first, part.gap_last) in held
        for session in (state.sessions if state else ())
        if session.id == event.session
        for part in session.missing
    )


def _abandoned(event: GapAbandoned, held: Held | None) -> list[Event]:
    """An abandoned range; of a held gap it is a gap of its own, opened only now."""
    if held is None:
        return [event]
    own = msgspec.structs.replace(event, gap_first=event.first, gap_last=event.last)
    gap = opened(
        held,
        event.scope,
        event.source_partition,
        event.first,
        event.last,
        previous_time_ns=event.previous_time_ns,
        next_time_ns=event.next_time_ns,
    )
    return [gap, own]


def _moved(
    state: ScopeState | None, message: ScopeMessage, arrival: Arrival, session: str
) -> tuple[LineAt, ...]:
    """The scope's lines after a message, by name; one that is redriven came by none of them."""
    assert message.sequence is not None  # noqa: S101 - `step` asked before
    before = state.lines.at if state and state.lines else ()
    if message.nature is Nature.REDRIVEN:
        return before
    lines = {line.name: line for line in before}
    was = lines.get(arrival.line)
    highest = message.sequence + 1
    if was is not None and was.session == session:
        highest = max(highest, was.next)
    lines[arrival.line] = LineAt(arrival.line, session, highest, arrival.now_ms)
    if len(lines) > MAX_LINES:
        del lines[min(lines, key=lambda name: (lines[name].seen_ms, name))]
    return tuple(lines[name] for name in sorted(lines))
