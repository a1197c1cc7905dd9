r"""What is known to be missing: a pure fold of the sequencer's events.

    open ----> filled        every number of it was received
      \-----> abandoned      what was still missing of it, or a part of that, is no longer expected

The fold is bounded: of the gaps that are closed the oldest go first, and it says that they did.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from k2_streams.core.records.events import (
    AnyEvent,
    ConflictingDuplicate,
    Dead,
    Duplicates,
    Event,
    GapAbandoned,
    GapFilled,
    GapOpened,
    Late,
    Redriven,
    Reset,
    Stale,
)
from k2_streams.core.sequence.scopes import exchange_of, symbol_of

OPEN, FILLED, ABANDONED = "open", "filled", "abandoned"
#: About 100 MB of gaps. Open ones are bounded by the sequencer (1,024 per scope), closed ones here.
MAX_GAPS = 200_000

#: Event times of conflicts that a scope keeps apart; of more the oldest are kept as one range, in
#: which whatever is asked for counts as incomplete. So none is forgotten: 100 KB per scope at most.
MAX_CONFLICTS = 1_000

Ranges = tuple[tuple[int, int], ...]


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers `first` to `last` (both inclusive) that were skipped, and what became of them."""

    scope: str
    exchange: str
    symbol: str  # what stands behind the scope's first ':'
    session: str
    first: int
    last: int
    size: str
    state: str
    missing: Ranges  # inclusive: not received yet, and not abandoned
    abandoned: Ranges  # inclusive: no longer expected
    opened_time_ns: int  # event time of the message that skipped it
    previous_time_ns: int | None  # event times of the messages below and above it, between which
    next_time_ns: int | None  # its numbers were traded; None: not known, and so without a bound
    closed_time_ns: int | None  # event time of the message that filled or abandoned it
    reason: str | None  # why it was abandoned
    source_partition: int
    source_offset: int  # of the raw record that skipped it


class ScopeCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What the sequencer found in a scope, ever."""

    gaps_opened: int = 0
    gaps_filled: int = 0
    gaps_abandoned: int = 0
    missing: int = 0  # numbers that gaps of the scope still miss
    duplicates: int = 0
    late: int = 0
    stale: int = 0
    resets: int = 0
    conflicts: int = 0  # numbers used twice: dead letters
    dead: int = 0  # numbers received in dead letters alone, not redriven yet


_Id = tuple[str, str, int, int]  # scope, session, first, last


#: What an event adds to its scope's counts, where it says nothing else.
_COUNTED: dict[type[Event], dict[str, int]] = {
    Stale: {"stale": 1},
    Reset: {"resets": 1},
    Dead: {"dead": 1},
    Redriven: {"dead": -1},
}


class Lacking(NamedTuple):
    """Numbers that are missing or abandoned between two messages, by the event times of these."""

    previous_time_ns: int | None  # None: not known, and so without a bound
    next_time_ns: int | None
    numbers: int


class _Part(NamedTuple):
    """Numbers of a gap that were not received, between the event times of their neighbours."""

    first: int
    last: int
    previous_time_ns: int | None
    next_time_ns: int | None


class GapLedger:
    """The fold. Feed it every event, in the order of its partition; ask it at any time."""

    def __init__(self, max_gaps: int = MAX_GAPS) -> None:
        self._max_gaps = max_gaps
        self._gaps: dict[_Id, Gap] = {}
        self._by_number: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._ids: dict[str, dict[_Id, None]] = {}  # by scope, in the order they were opened
        self._closed: dict[_Id, None] = {}  # in the order in which they were closed
        self._counts: dict[str, ScopeCounts] = {}
        self._parts: dict[_Id, tuple[_Part, ...]] = {}  # of gaps that were filled in part
        self._late: dict[str, Late] = {}  # by scope, the last one
        self._conflicts: dict[str, list[tuple[int, int]]] = {}  # by scope, ranges of event time
        self.forgotten = 0

    def apply(self, event: AnyEvent) -> None:
        """Take one event in."""
        match event:
            case GapOpened():
                self._open(event)
            case GapFilled():
                self._fill(event)
            case GapAbandoned():
                self._abandon(event)
            case Late():
                self._receive(event)
            case Duplicates():
                self._count(event.scope, duplicates=event.count)
            case ConflictingDuplicate():
                self._conflict(event)
            case Stale() | Reset() | Dead() | Redriven():
                self._count(event.scope, **_COUNTED[type(event)])

    def receive_run(self, scope: str, session: str, first: int, last: int) -> None:
        """Take in that numbers came late whose neighbours on both sides, taken in before, did too.

        The same as `apply` of each, where all late numbers of the gap have an event time: what is
        left of it lies between others.
        """
        self._count(scope, late=last - first + 1)
        key = self._gap_at(scope, session, first)
        if key is None:
            return
        self._remove(key, first, last)
        if key in self._parts:  # else the rest of the gap was filled since
            self._parts[key] = tuple(
                part for part in self._parts[key] if not first <= part.first <= part.last <= last
            )

    def counts(self, scope: str) -> ScopeCounts:
        """What was found in a scope."""
        return self._counts.get(scope, ScopeCounts())

    def scopes(self) -> Iterable[str]:
        """Every scope that had an event."""
        return self._counts.keys()

    def gaps(self, scopes: Iterable[str]) -> Iterator[Gap]:
        """The gaps of these scopes: by scope, then in the order they were opened."""
        for scope in sorted(scopes):
            for key in self._ids.get(scope, ()):
                yield self._gaps[key]

    def part(self, scopes: Iterable[str]) -> "GapLedger":
        """A ledger of its own that holds these scopes alone."""
        part = GapLedger(self._max_gaps)
        part.forgotten = self.forgotten
        for scope in scopes:
            if scope not in self._counts:
                continue
            part._counts[scope] = self._counts[scope]
            part._ids[scope] = dict(self._ids.get(scope, {}))
            part._conflicts[scope] = list(self._conflicts.get(scope, ()))
            if scope in self._late:
                part._late[scope] = self._late[scope]
            for key in part._ids[scope]:
                part._gaps[key] = self._gaps[key]
                part._by_number[key[:2]] = list(self._by_number[key[:2]])
                if key in self._parts:
                    part._parts[key] = self._parts[key]
        return part

    def lacks(self, gap: Gap, start_ns: int | None, end_ns: int | None) -> bool:
        """Whether a number that a gap still misses, or that was abandoned, may lie in a range.

        The range is [start_ns, end_ns) of event time, without a bound where one is None. What was
        received of the gap meanwhile divides the times that its other numbers may have.
        """
        return any(
            meets(part.previous_time_ns, part.next_time_ns, start_ns, end_ns)
            for part in self._parts_of(gap)
        )

    def lacking(self, scope: str) -> Iterator[Lacking]:
        """What a scope lacks, as `lacks` and `conflicts` know it."""
        for gap in self.gaps([scope]):
            lost = (*gap.missing, *gap.abandoned)
            for part in self._parts_of(gap):
                numbers = _size(_within(lost, part.first, part.last))
                yield Lacking(part.previous_time_ns, part.next_time_ns, numbers)
        for first_ns, last_ns in self._conflicts.get(scope, ()):
            yield Lacking(first_ns, last_ns, 1)

    def conflicts(self, scope: str, start_ns: int | None, end_ns: int | None) -> bool:
        """Whether a message of a range of time is no row because its number was used twice."""
        return any(
            meets(first, last, start_ns, end_ns) for first, last in self._conflicts.get(scope, ())
        )

    def __len__(self) -> int:
        return len(self._gaps)

    def _parts_of(self, gap: Gap) -> tuple[_Part, ...]:
        """What of a gap was not received; nothing of one that was filled."""
        return () if gap.state == FILLED else self._parts.get(_id_of(gap), (_whole(gap),))

    def _open(self, event: GapOpened) -> None:
        key = (event.scope, event.session, event.first, event.last)
        self._count(event.scope, gaps_opened=1, missing=event.last - event.first + 1)
        self._gaps[key] = Gap(
            scope=event.scope,
            exchange=exchange_of(event.scope),
            symbol=symbol_of(event.scope),
            session=event.session,
            first=event.first,
            last=event.last,
            size=event.size,
            state=OPEN,
            missing=((event.first, event.last),),
            abandoned=(),
            opened_time_ns=event.exchange_time_ns,
            previous_time_ns=event.previous_time_ns or None,
            next_time_ns=self._next_time_ns(event),
            closed_time_ns=None,
            reason=None,
            source_partition=event.source_partition,
            source_offset=event.source_offset,
        )
        self._parts.pop(key, None)
        self._closed.pop(key, None)  # where the same session came again
        known = self._ids.setdefault(event.scope, {})
        if key not in known:
            known[key] = None
            insort(self._by_number.setdefault(key[:2], []), key[2:])
        self._forget()

    def _next_time_ns(self, event: GapOpened) -> int | None:
        """Event time of the message above a gap; None: not known.

        An event of an earlier version does not say it. It is that of the message that opened
        the gap, unless the gap opened below it: such a message was late.
        """
        if event.next_time_ns is not None:
            return event.next_time_ns or None
        late = self._late.get(event.scope)
        is_below = late is not None and (late.source_offset, late.session, late.sequence) == (
            event.source_offset,
            event.session,
            event.first - 1,
        )
        return None if is_below or event.exchange_time_ns <= 0 else event.exchange_time_ns

    def _fill(self, event: GapFilled) -> None:
        self._count(event.scope, gaps_filled=1)
        key = (event.scope, event.session, event.first, event.last)
        gap = self._gaps.get(key)
        if gap is None:
            return
        self._count(event.scope, missing=-_size(gap.missing))
        self._parts.pop(key, None)
        self._gaps[key] = msgspec.structs.replace(
            gap,
            state=ABANDONED if gap.abandoned else FILLED,
            missing=(),
            closed_time_ns=event.exchange_time_ns,
        )
        self._closed[key] = None

    def _abandon(self, event: GapAbandoned) -> None:
        key = (event.scope, event.session, event.gap_first, event.gap_last)
        gap = self._gaps.get(key)
        if gap is None:
            self._count(event.scope, gaps_abandoned=1)
            return
        left = without(gap.missing, event.first, event.last)
        self._count(
            event.scope,
            gaps_abandoned=0 if gap.abandoned else 1,
            missing=_size(left) - _size(gap.missing),
        )
        self._gaps[key] = msgspec.structs.replace(
            gap,
            state=ABANDONED,
            missing=left,
            abandoned=tuple(sorted((*gap.abandoned, (event.first, event.last)))),
            closed_time_ns=event.exchange_time_ns or None,
            reason=event.reason,
        )
        if not left:
            self._closed[key] = None

    def _receive(self, event: Late) -> None:
        self._count(event.scope, late=1)
        self._late[event.scope] = event
        key = self._gap_at(event.scope, event.session, event.sequence)
        if key is None:
            return
        parts = self._parts.get(key, (_whole(self._gaps[key]),))
        self._remove(key, event.sequence, event.sequence)
        time_ns = event.exchange_time_ns if event.exchange_time_ns > 0 else None
        self._parts[key] = tuple(
            left for part in parts for left in _divided(part, event.sequence, time_ns)
        )

    def _gap_at(self, scope: str, session: str, number: int) -> _Id | None:
        """The gap that a number belongs to."""
        ranges = self._by_number.get((scope, session), [])
        at = bisect_right(ranges, (number, 2**63)) - 1
        if at < 0 or ranges[at][1] < number:
            return None
        return (scope, session, *ranges[at])

    def _remove(self, key: _Id, first: int, last: int) -> None:
        """Numbers of a gap are not missing any more."""
        gap = self._gaps[key]
        left = without(gap.missing, first, last)
        self._count(gap.scope, missing=_size(left) - _size(gap.missing))
        self._gaps[key] = msgspec.structs.replace(gap, missing=left)
        if gap.abandoned and gap.missing and not left:
            self._closed[key] = None

    def _conflict(self, event: ConflictingDuplicate) -> None:
        self._count(event.scope, conflicts=1)
        times = self._conflicts.setdefault(event.scope, [])
        insort(times, (event.exchange_time_ns, event.exchange_time_ns))
        if len(times) > MAX_CONFLICTS:
            (first, last), (_, other) = times[:2]
            times[:2] = [(first, max(last, other))]

    def _count(self, scope: str, **more: int) -> None:
        old = self._counts.get(scope, ScopeCounts())
        added = {name: getattr(old, name) + count for name, count in more.items()}
        self._counts[scope] = msgspec.structs.replace(old, **added)

    def _forget(self) -> None:
        while len(self._gaps) > self._max_gaps and self._closed:
            key = next(iter(self._closed))
            del self._closed[key], self._gaps[key]
            self._parts.pop(key, None)
            ids, numbers = self._ids[key[0]], self._by_number[key[:2]]
            del ids[key]
            numbers.remove(key[2:])
            if not ids:
                del self._ids[key[0]]
            if not numbers:  # sessions come and go
                del self._by_number[key[:2]]
            self.forgotten += 1


def without(ranges: Ranges, first: int, last: int) -> Ranges:
    """Ranges (inclusive, disjoint, sorted) less the numbers first to last."""
    left: list[tuple[int, int]] = []
    for low, high in ranges:
        if high < first or last < low:
            left.append((low, high))
            continue
        if low < first:
            left.append((low, first - 1))
        if last < high:
            left.append((last + 1, high))
    return tuple(left)


def meets(
    previous_time_ns: int | None,
    next_time_ns: int | None,
    start_ns: int | None,
    end_ns: int | None,
) -> bool:
    """Whether a time between two neighbours' event times may lie in [start_ns, end_ns).

    Both neighbours' times may be its own, and they may run backwards. None is without a bound.
    """
    if previous_time_ns is not None and next_time_ns is not None:
        previous_time_ns, next_time_ns = sorted((previous_time_ns, next_time_ns))
    begins = end_ns is None or previous_time_ns is None or previous_time_ns < end_ns
    ends = start_ns is None or next_time_ns is None or next_time_ns >= start_ns
    return begins and ends


def _id_of(gap: Gap) -> _Id:
    return (gap.scope, gap.session, gap.first, gap.last)


def _whole(gap: Gap) -> _Part:
    return _Part(gap.first, gap.last, gap.previous_time_ns, gap.next_time_ns)


def _divided(part: _Part, sequence: int, time_ns: int | None) -> Iterator[_Part]:
    """A part without a number, which was received with an event time, or without one."""
    if not part.first <= sequence <= part.last:
        yield part
        return
    if part.first < sequence:
        yield part._replace(last=sequence - 1, next_time_ns=time_ns or part.next_time_ns)
    if sequence < part.last:
        yield part._replace(first=sequence + 1, previous_time_ns=time_ns or part.previous_time_ns)


def _within(ranges: Ranges, first: int, last: int) -> Ranges:
    """What of ranges lies in the numbers first to last."""
    return tuple(
        (max(low, first), min(high, last)) for low, high in ranges if low <= last and first <= high
    )


def _size(ranges: Ranges) -> int:
    return sum(high - low + 1 for low, high in ranges)
