"""Redundant lines (A/B) of one feed: the first copy wins, and what one line lost another brings.

A gap is held back until no line can fill it any more. What is received before that was never
missing: it is neither late nor a gap. `step` is the sequence's, with three things changed:

    gap_opened              held; said when the gap is released, of the numbers then missing
    late, of a held gap     IN_ORDER, and nothing is said
    gap_filled, of a held   nothing is said

A held gap waits for a line that has not passed it: for `HOLD_MS` of append time since the gap came
about, if anything came of that line in the `HOLD_MS` before, and for as long since the line's last
message of this scope. Both are known from the log, and change only with the scope's own messages.
So a held gap has a deadline, and it does not matter when, or how often, somebody looks.
"""

from typing import NamedTuple

import msgspec

from k2_streams.core.events import SMALL_GAP_MAX, Event, GapAbandoned, GapFilled, GapOpened, Late
from k2_streams.core.horizon import LATE_HORIZON_MS
from k2_streams.core.line_state import Held, LineAt, Lines
from k2_streams.core.sequence import Message, ScopeState, Step, Verdict, counted
from k2_streams.core.sequence import step as step_plain
from k2_streams.core.sessions import CONFLICT_TOLERANCE_MS, Session, SessionRule

#: How long a line may be silent before nothing is expected of it.
HOLD_MS = 60_000
#: Lines that a scope knows; of more, the one that was silent for longest is forgotten.
MAX_LINES = 16


class Arrival(NamedTuple):
    """By which line, when, and what else there is."""

    line: str  # "": the message names none
    now_ms: int  # the partition's time: the largest append time up to the message
    alive: tuple[str, ...]  # lines of the scope's exchange seen in the last HOLD_MS, with this one


def step(
    state: ScopeState | None,
    message: Message,
    arrival: Arrival,
    rule: SessionRule,
    horizon_ms: int = LATE_HORIZON_MS,
    tolerance_ms: int | None = CONFLICT_TOLERANCE_MS,
) -> Step:
    """Judge one message of a scope whose messages come by lines.

    A scope that never saw a line is judged by the sequence alone.
    """
    if message.sequence is None or (not arrival.line and (state is None or state.lines is None)):
        return step_plain(state, message, rule, horizon_ms, tolerance_ms)
    released: tuple[Event, ...] = ()
    if state is not None:
        state, released = release(state, message.scope, message.partition, arrival.now_ms)
    after = step_plain(state, message, rule, horizon_ms, tolerance_ms)
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
    return min((_deadline_ms(lines, held) for held in lines.held), default=None)


def release(
    state: ScopeState, scope: str, partition: int, now_ms: int
) -> tuple[ScopeState, tuple[Event, ...]]:
    """The state at a time, and the gaps that nothing is expected to fill any more.

    What was filled of a gap meanwhile was never missing: each range left is a gap of its own.
    """
    lines = state.lines
    if lines is None or not lines.held:
        return state, ()
    due = [held for held in lines.held if _deadline_ms(lines, held) <= now_ms]
    if not due:
        return state, ()
    # As their times came: who looks once may find due what another look would have found before.
    due.sort(key=lambda held: _deadline_ms(lines, held))
    events: list[Event] = []
    sessions = list(state.sessions)
    for held in due:
        for at, session in enumerate(sessions):
            if session.id == held.session:
                sessions[at] = _split(session, held)
                events += [
                    opened(
                        held,
                        scope,
                        partition,
                        part.start,
                        part.end - 1,
                        previous_time_ns=part.previous_time_ns,
                        next_time_ns=part.next_time_ns,
                    )
                    for part in session.missing
                    if part.gap_first == held.first and part.gap_last == held.last
                ]
    gaps = state.counters.gaps_opened + len(events)
    kept = tuple(held for held in lines.held if held not in due)
    made = ScopeState(
        tuple(sessions),
        state.dropped,
        msgspec.structs.replace(state.counters, gaps_opened=gaps),
        Lines(lines.at, kept),
    )
    return made, tuple(events)


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
    """What is left of a held gap, as the event of the message that passed over it."""
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


def _deadline_ms(lines: Lines, held: Held) -> int:
    """When nothing is expected of any line any more; 0 if all have passed the gap."""
    waits = 0
    seen = {line.name: line for line in lines.at}
    for name in held.awaits:
        if not _passed(seen.get(name), held):
            waits = max(waits, held.since_ms + HOLD_MS)
    for line in lines.at:
        if not _passed(line, held):
            waits = max(waits, line.seen_ms + HOLD_MS)
    return waits


def _passed(line: LineAt | None, held: Held) -> bool:
    return line is not None and line.session == held.session and line.next > held.last


def _split(session: Session, held: Held) -> Session:
    """The session with each range left of a gap as a gap of its own."""
    missing = tuple(
        msgspec.structs.replace(part, gap_first=part.start, gap_last=part.end - 1)
        if part.gap_first == held.first and part.gap_last == held.last
        else part
        for part in session.missing
    )
    return msgspec.structs.replace(session, missing=missing)


def _without_held(
    state: ScopeState | None, message: Message, arrival: Arrival, after: Step
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
    """A range given up; of a held gap it is a gap of its own, opened only now."""
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
    state: ScopeState | None, message: Message, arrival: Arrival, session: str
) -> tuple[LineAt, ...]:
    """The scope's lines after a message, by name."""
    assert message.sequence is not None  # noqa: S101 - `step` asked before
    lines = {line.name: line for line in (state.lines.at if state and state.lines else ())}
    was = lines.get(arrival.line)
    highest = message.sequence + 1
    if was is not None and was.session == session:
        highest = max(highest, was.next)
    lines[arrival.line] = LineAt(arrival.line, session, highest, arrival.now_ms)
    if len(lines) > MAX_LINES:
        del lines[min(lines, key=lambda name: (lines[name].seen_ms, name))]
    return tuple(lines[name] for name in sorted(lines))
