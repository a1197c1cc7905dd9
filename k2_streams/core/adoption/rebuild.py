"""A scope's sequence state from its rows and its events: what was received, and what is missing.

Rows and events reach the lake by commits of their own, so each may be ahead of the other, and a
commit may end within a checkpoint. Three rules follow. All speak of the numbers of a session.

    received   a number with a row; a dead one; and below the last row that is certain, one that no
               event calls missing: a message without a row (a control message) had it
    missing    any other number below the highest one that rows and events know
    certain    accepted before a time up to which rows and events are both whole in the lake

So nothing counts as received without evidence in the lake: what was received and lost is missing,
and is accepted when it is sent again. The other way round a number with a row is never missing, so
that nothing is doubled.

What the events say is then made to agree: a number that they call missing and that has a row gets
the events of its arrival, one that is missing and of which they know nothing those of a gap.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from k2_streams.core.adoption.ranges import (
    Ranges,
    between,
    count,
    inclusive,
    merged,
    minus,
    numbers_of,
    within,
)
from k2_streams.core.records.events import (
    AnyEvent,
    Dead,
    Event,
    GapOpened,
)
from k2_streams.core.sequence.events import MessageEvents
from k2_streams.core.sequence.gaps import Gap, GapLedger
from k2_streams.core.sequence.horizon import abandon
from k2_streams.core.sequence.sessions import MAX_SESSIONS, Missing, Session
from k2_streams.core.sequence.step import MAX_SEQUENCE, Counters, ScopeState

#: Why an adoption abandons a range: it lies below one that was abandoned before.
ADOPTED = "adopted"


class FirstArrival(NamedTuple):
    """When something was accepted, and the raw record that brought it."""

    accepted_us: int
    source_offset: int


class RowRange(NamedTuple):
    """Numbers of a session that all have rows, first to last, both included; times of event."""

    first: int
    last: int
    first_time_ns: int  # of the row with the first number
    last_time_ns: int  # of the one with the last
    greatest_time_ns: int
    least_time_ns: int
    rows: int
    begins: FirstArrival  # of the row that came first
    begins_time_ns: int
    certain_last: int  # the highest number whose row is certain; -1: none is


def joined(ranges: Sequence[RowRange]) -> list[RowRange]:
    """Ranges of one session in any order, which may touch or overlap: sorted, and apart."""
    found: list[RowRange] = []
    for one in sorted(ranges):
        if not found or one.first > found[-1].last + 1:
            found.append(one)
            continue
        below = found[-1]
        upper = one if one.last > below.last else below
        earlier = min(below, one, key=lambda each: each.begins)
        found[-1] = RowRange(
            below.first,
            upper.last,
            below.first_time_ns,
            upper.last_time_ns,
            max(below.greatest_time_ns, one.greatest_time_ns),
            min(below.least_time_ns, one.least_time_ns),
            below.rows + one.rows,
            earlier.begins,
            earlier.begins_time_ns,
            max(below.certain_last, one.certain_last),
        )
    return found


@dataclass(frozen=True, slots=True)
class ScopeEvidence:
    """What the lake says of a scope.

    Attributes:
        scope: its key.
        partition: of the source.
        rows: per session its ranges, as `joined` gives them.
        events: in the order of their topic.
        certain_us: rows and events that were accepted before this are all in the lake.
        rows_us: the same of rows alone, so not before `certain_us`.
        now_ms: stream time: since when a gap is open of which no event tells.
    """

    scope: str
    partition: int
    rows: Mapping[str, Sequence[RowRange]]
    events: Sequence[AnyEvent]
    certain_us: int
    rows_us: int
    now_ms: int


class Rebuilt(NamedTuple):
    """A scope as it is adopted."""

    state: ScopeState
    events: tuple[Event, ...]  # that the ledger lacks


@dataclass(frozen=True, slots=True)
class _Folded:
    """The events of a scope, folded."""

    ledger: GapLedger  # all of them
    certain: GapLedger
    dead: Mapping[str, Ranges]  # per session
    begins: Mapping[str, FirstArrival]
    opened_ms: Mapping[tuple[str, int, int], int]  # when each gap was


def rebuilt(evidence: ScopeEvidence) -> Rebuilt | None:
    """The state of a scope, and the events that make its ledger agree; None: it has no number."""
    found = _fold(evidence)
    about = MessageEvents(scope=evidence.scope, partition=evidence.partition, offset=-1, time_ns=0)
    sessions = [
        session
        for name in _in_order(evidence, found)
        if (session := _session(name, evidence, found, about)) is not None
    ]
    if not sessions:
        return None
    dropped = max(len(sessions) - MAX_SESSIONS, 0)
    for session in sessions[:dropped]:
        abandon(session, len(session.missing), "session-dropped", about)
    kept = tuple(sessions[dropped:])
    state = ScopeState(kept, dropped, _counters(evidence, found))
    return Rebuilt(state, tuple(about.events))


def _fold(evidence: ScopeEvidence) -> _Folded:
    # Of one scope the events are few: nothing of the fold is to be forgotten.
    unbounded = len(evidence.events) + 1
    ledger, certain = GapLedger(unbounded), GapLedger(unbounded)
    dead: dict[str, list[tuple[int, int]]] = {}
    begins: dict[str, FirstArrival] = {}
    opened_ms: dict[tuple[str, int, int], int] = {}
    for event in evidence.events:
        is_certain = event.accepted_time_us < evidence.certain_us
        ledger.apply(event)
        if is_certain:
            certain.apply(event)
        # An event that is there is no matter of doubt; whether its checkpoint is the rows' too, is.
        if isinstance(event, Dead) and event.accepted_time_us < evidence.rows_us:
            dead.setdefault(event.session, []).append((event.sequence, event.sequence))
        if isinstance(event, GapOpened):
            key = (event.session, event.first, event.last)
            opened_ms[key] = event.accepted_time_us // 1_000
        begins.setdefault(event.session, FirstArrival(event.accepted_time_us, event.source_offset))
    by_session = {name: inclusive(numbers) for name, numbers in dead.items()}
    return _Folded(ledger, certain, by_session, begins, opened_ms)


def _in_order(evidence: ScopeEvidence, found: _Folded) -> list[str]:
    """The sessions in the order in which they began."""
    begins = dict(found.begins)
    for name, ranges in evidence.rows.items():
        first = min(one.begins for one in ranges)
        begins[name] = min(first, begins.get(name, first))
    return sorted(begins, key=lambda name: begins[name])


def _session(
    name: str, evidence: ScopeEvidence, found: _Folded, about: MessageEvents
) -> Session | None:
    rows = evidence.rows.get(name, ())
    with_rows = inclusive((one.first, one.last) for one in rows)
    dead = minus(found.dead.get(name, ()), with_rows)
    gaps = _gaps(found.ledger, evidence.scope, name)
    known = merged((*with_rows, *dead, *((gap.first, gap.last + 1) for gap in gaps)))
    if not known:
        return None
    first, expected = known[0][0], known[-1][1]
    certain = _gaps(found.certain, evidence.scope, name)
    certain_end = max((one.certain_last + 1 for one in rows), default=0)
    not_received = _numbers(certain, "missing", "abandoned")
    # A message without a row had them: had they been skipped, an event would say so.
    without_row = minus(between(((first, expected),), first, certain_end), not_received)
    received = merged((*with_rows, *dead, *without_row))
    abandoned = minus(_numbers(gaps, "abandoned"), received)
    missing = minus(minus(((first, expected),), received), abandoned)
    floor = abandoned[-1][1] if abandoned else 0
    about.of_session(name)
    parts = _missing(name, missing, evidence, found, gaps, received, about)
    below = tuple(part for part in parts if part.end <= floor)
    for part in below:
        about.abandoned(name, part, ADOPTED)
    earliest = min(rows, key=lambda one: one.begins) if rows else None
    return Session(
        name,
        first,
        expected,
        _aged(part for part in parts if part.end > floor),
        floor,
        earliest.begins_time_ns if earliest else 0,
        max((one.greatest_time_ns for one in rows), default=0),
        rows[0].first_time_ns if rows else 0,
        rows[-1].last_time_ns if rows else 0,
        dead,
    )


def _missing(
    name: str,
    missing: Ranges,
    evidence: ScopeEvidence,
    found: _Folded,
    gaps: Sequence[Gap],
    received: Ranges,
    about: MessageEvents,
) -> list[Missing]:
    """What is missing, each part with the gap that it is of; what the ledger lacks is reported."""
    rows = evidence.rows.get(name, ())
    parts: list[Missing] = []
    told = merged(())
    for gap in gaps:
        open_now = inclusive(gap.missing)
        told = merged((*told, *open_now))
        came = within(open_now, received)
        for number in numbers_of(came):
            about.late(number)
        left = within(open_now, missing)
        since_ms = found.opened_ms[name, gap.first, gap.last]
        of_gap = [
            Missing(start, end, gap.first, gap.last, since_ms, *_beside(rows, start, end, gap))
            for start, end in left
        ]
        if came and not left and not gap.abandoned:
            about.filled(Missing(gap.first, gap.last + 1, gap.first, gap.last))
        parts += of_gap
    for start, end in minus(missing, told):
        beside = _beside(rows, start, end, None)
        parts.append(about.opened(start, end - 1, evidence.now_ms, *beside))
    return sorted(parts, key=lambda part: part.start)


def _beside(rows: Sequence[RowRange], start: int, end: int, gap: Gap | None) -> tuple[int, int]:
    """Event times of the messages below and above missing numbers; 0: not known."""
    below = [one for one in rows if one.last < start]
    above = [one for one in rows if one.first >= end]
    previous_ns = None if gap is None else gap.previous_time_ns
    next_ns = None if gap is None else gap.next_time_ns
    if below:
        previous_ns = below[-1].last_time_ns
    if above:
        next_ns = above[0].first_time_ns
    return max(previous_ns or 0, 0), max(next_ns or 0, 0)


def _aged(parts: Iterable[Missing]) -> tuple[Missing, ...]:
    """The parts, none older than one below it, as the horizon counts on (`sequence.horizon`)."""
    aged: list[Missing] = []
    for part in parts:
        since_ms = max(part.since_ms, aged[-1].since_ms) if aged else part.since_ms
        aged.append(
            Missing(
                part.start, part.end, part.gap_first, part.gap_last, since_ms,
                part.previous_time_ns, part.next_time_ns,
            )
        )  # fmt: skip
    return tuple(aged)


def _gaps(ledger: GapLedger, scope: str, session: str) -> list[Gap]:
    return [gap for gap in ledger.gaps([scope]) if gap.session == session]


def _numbers(gaps: Sequence[Gap], *fields: str) -> Ranges:
    return merged(
        (first, last + 1) for gap in gaps for name in fields for first, last in getattr(gap, name)
    )


def _counters(evidence: ScopeEvidence, found: _Folded) -> Counters:
    counts = found.ledger.counts(evidence.scope)
    rows = [one for ranges in evidence.rows.values() for one in ranges]
    abandoned = sum(count(inclusive(gap.abandoned)) for gap in found.ledger.gaps([evidence.scope]))
    return Counters(
        accepted=sum(one.rows for one in rows),
        duplicates=counts.duplicates,
        late=counts.late,
        stale=counts.stale,
        resets=counts.resets,
        gaps_opened=counts.gaps_opened,
        gaps_filled=counts.gaps_filled,
        numbers_abandoned=min(abandoned, MAX_SEQUENCE),
        first_time_ns=min((one.least_time_ns for one in rows), default=0),
        last_time_ns=max((one.greatest_time_ns for one in rows), default=0),
        conflicts=counts.conflicts,
    )
