"""The expected results of a stream: an independent model, small enough to believe.

It shares no code with the sequencer and works another way: every missing number is an entry of a
dict, not part of a range, and numpy takes all that is in order at once. Its input is the
stream as it was sent; how it was made does not matter here.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

#: Missing ranges that a session may have; beyond that the lowest is abandoned.
MAX_RANGES = 1_024
#: A number that comes again later than all of its session by more than this is another message's.
REPEATED_WITHIN_NS = 1_000_000_000
#: Numbers must be below this, so that (group, number) fits an int64 key.
_NUMBER_BITS = 44

Range = tuple[int, int]  # inclusive on both ends


@dataclass(slots=True)
class SessionTruth:
    """Of one session of a scope: what must come out. Ranges are inclusive."""

    scope: str
    session: str
    rows: list[Range] = field(default_factory=list)
    count: int = 0
    value: int = 0  # the sum of price times quantity, in units of 10^-scale
    opened: list[Range] = field(default_factory=list)
    filled: list[Range] = field(default_factory=list)
    abandoned: list[tuple[int, int, int, int, str]] = field(default_factory=list)
    late: list[Range] = field(default_factory=list)  # of rows: a bad record is late, but no row
    late_events: list[Range] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)  # with repetition
    duplicates: list[Range] = field(default_factory=list)  # numbers repeated
    duplicate_count: int = 0  # each as often as it was
    conflicts: list[int] = field(default_factory=list)  # used for two messages, with repetition
    dead: list[Range] = field(default_factory=list)  # numbers received in dead letters alone
    reset: tuple[int, str] | None = None  # its first number, and the session before
    ids: list[str] = field(default_factory=list)  # of rows identified by them: numbers are indices


@dataclass(slots=True)
class _Session:
    name: str
    number: int  # of the scope's sessions, from 0
    first: int
    top: int
    missing: dict[int, Range] = field(default_factory=dict)  # number -> the gap it belongs to
    left: dict[Range, int] = field(default_factory=dict)  # gap -> numbers of it still missing
    abandoned_numbers: set[int] = field(default_factory=set)
    bad: set[int] = field(default_factory=set)
    floor: int = 0
    opened: list[Range] = field(default_factory=list)
    filled: list[Range] = field(default_factory=list)
    abandoned: list[tuple[int, int, int, int, str]] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    conflicts: list[int] = field(default_factory=list)
    last_ns: int = 0  # the latest event time of what was accepted out of order
    reset: tuple[int, str] | None = None
    count: int = 0
    value: int = 0


class _ModelMessage(NamedTuple):
    """What is not simply the next of its session."""

    number: int
    is_good: bool
    time_ns: int
    last_ns: int  # the latest of its session's that were in order


class Expected:
    """Fed with the stream in sending order, it says at any time what must have come of it."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], int] = {}  # (scope, session) -> group
        self._scopes: list[str] = []  # of a group
        self._names: list[str] = []
        self._sessions: list[_Session | None] = []
        self._current: dict[str, _Session] = {}
        self._top: npt.NDArray[np.int64] = np.full(1024, -1, np.int64)
        self._last_ns: dict[int, int] = {}  # of a group, of what was accepted in order
        self.reasons: Counter[str] = Counter()
        self.controls = 0

    def group(self, scope: str, session: str) -> int:
        """A number for a session of a scope, to be fed with."""
        group = self._groups.setdefault((scope, session), len(self._groups))
        if group == len(self._scopes):
            self._scopes.append(scope)
            self._names.append(session)
            self._sessions.append(None)
            if group == len(self._top):
                self._top = np.concatenate([self._top, np.full(len(self._top), -1, np.int64)])
        return group

    def dead_letter(self, reason: str, count: int = 1) -> None:
        """Records that must be set aside."""
        self.reasons[reason] += count

    def feed(
        self,
        groups: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
        good: npt.NDArray[np.bool_],
        values: npt.NDArray[Any],
        times_ns: npt.NDArray[np.int64] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Messages whose scope, session and number can be read; which were not received before.

        Args:
            groups: as `group` gave them.
            numbers: sequence numbers.
            good: whether the message becomes a row, if its number is new.
            values: price times quantity in units (int64, or Python's integers).
            times_ns: event times, 0 where there is none; None: what comes again is the same bytes.
        """
        size = len(groups)
        if not size:
            return np.empty(0, np.bool_)
        if int(numbers.max()) >> _NUMBER_BITS or int(numbers.min()) < 0:
            raise ValueError(f"expected numbers of up to {_NUMBER_BITS} bits: {numbers.max()}")
        order = np.argsort(groups, kind="stable")
        group, number = groups[order], numbers[order]
        begins = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
        # The highest number before each message: a running maximum, kept apart by group.
        high = (np.repeat(np.arange(len(begins)), np.diff(np.r_[begins, size]))) << _NUMBER_BITS
        top = self._top[group[begins]]
        running = number + high
        running[begins] = np.maximum(number[begins], top) + high[begins]
        running = np.maximum.accumulate(running) - high
        before = np.r_[0, running[:-1]]
        before[begins] = top
        self._top[group[begins]] = running[np.r_[begins[1:], size] - 1]

        accepted = (number == before + 1) & (before >= 0)
        times = np.zeros(size, np.int64) if times_ns is None else times_ns[order]
        last_ns = self._last_times(group, begins, np.where(accepted, times, 0))
        odd = np.flatnonzero(~accepted)
        # In the order of the stream: a reset of one session bears on another's numbers.
        for at in odd[np.argsort(order[odd])].tolist():
            message = _ModelMessage(
                int(number[at]), bool(good[order[at]]), int(times[at]), int(last_ns[at])
            )
            accepted[at] = self._odd(int(group[at]), message, int(before[at]))
        self._add(group, number, begins, accepted, good[order], values[order])
        in_order = np.empty(size, np.bool_)
        in_order[order] = accepted
        return in_order

    def highest(self, group: int) -> int:
        """The highest number so far; -1 before the first."""
        return int(self._top[group])

    def has_conflicts(self, group: int) -> bool:
        """Whether a number of a session came for two messages."""
        session = self._sessions[group]
        return session is not None and bool(session.conflicts)

    def _last_times(
        self,
        group: npt.NDArray[np.int64],
        begins: npt.NDArray[np.int64],
        times: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """The latest of these times of a group before each of its messages, and of all before."""
        before = np.zeros(len(times), np.int64)
        for start, end in zip(begins.tolist(), [*begins[1:].tolist(), len(times)], strict=True):
            of = int(group[start])
            latest = np.maximum.accumulate(np.r_[self._last_ns.get(of, 0), times[start:end]])
            before[start:end] = latest[:-1]
            self._last_ns[of] = int(latest[-1])
        return before

    def _odd(self, group: int, message: _ModelMessage, before: int) -> bool:
        """A message that is not simply the next of its session: whether it is accepted."""
        accepted = self._is_accepted(group, message, before)
        session = self._sessions[group]
        if accepted and session is not None:
            session.last_ns = max(session.last_ns, message.time_ns)
        return accepted

    def _is_accepted(self, group: int, message: _ModelMessage, before: int) -> bool:
        number = message.number
        session = self._sessions[group]
        if session is None:
            self._begin(group, number)
            return True
        if number < session.floor:
            session.stale.append(number)
            if message.is_good:  # a bad one is set aside once, for what is wrong with it
                self.dead_letter("stale")
            return False
        if number > before + 1:
            self._open(session, before + 1, number - 1)
        elif number in session.missing:
            session.late.append(number)
            gap = session.missing.pop(number)
            session.left[gap] -= 1
            if not session.left[gap]:
                del session.left[gap]
                if session.abandoned_numbers.isdisjoint(range(gap[0], gap[1] + 1)):
                    session.filled.append(gap)
        elif number < session.first:
            session.late.append(number)
            above, session.first = session.first, number
            self._open(session, number + 1, above - 1)
        else:
            self._again(session, message)
            return False
        if len(session.missing) > MAX_RANGES:
            self._limit(session)
        return True

    def _again(self, session: _Session, message: _ModelMessage) -> None:
        """A number received before: a repeat, or by its time another message."""
        last_ns = max(session.last_ns, message.last_ns)
        if not 0 < last_ns < message.time_ns - REPEATED_WITHIN_NS:
            session.duplicates.append(message.number)
            return
        session.conflicts.append(message.number)
        if message.is_good:
            self.dead_letter("conflicting-duplicate")

    def _begin(self, group: int, number: int) -> None:
        scope = self._scopes[group]
        previous = self._current.get(scope)
        session = _Session(
            self._names[group], previous.number + 1 if previous else 0, number, number
        )
        if previous:
            session.reset = (number, previous.name)
            if previous.missing:
                previous.floor = max(previous.floor, max(previous.missing) + 1)
                self._abandon(previous, sorted(previous.missing), "reset")
        self._sessions[group] = self._current[scope] = session

    @staticmethod
    def _open(session: _Session, first: int, last: int) -> None:
        if first <= last:
            gap = (first, last)
            session.opened.append(gap)
            session.missing |= dict.fromkeys(range(first, last + 1), gap)
            session.left[gap] = last - first + 1

    def _limit(self, session: _Session) -> None:
        """Abandon the lowest missing range while there are too many."""
        numbers = np.array(sorted(session.missing))
        ends = np.flatnonzero(np.diff(numbers) > 1) + 1
        for _ in range(len(ends) + 1 - MAX_RANGES):
            lowest = numbers[: ends[0]].tolist()
            session.floor = max(session.floor, lowest[-1] + 1)
            self._abandon(session, lowest, "limit")
            numbers, ends = numbers[ends[0] :], ends[1:] - ends[0]

    @staticmethod
    def _abandon(session: _Session, numbers: list[int], reason: str) -> None:
        for first, last in ranges_of(numbers):
            gap = session.missing[first]
            session.abandoned.append((first, last, *gap, reason))
            for number in range(first, last + 1):
                del session.missing[number]
                session.abandoned_numbers.add(number)
            session.left[gap] -= last - first + 1
            if not session.left[gap]:
                del session.left[gap]

    def _add(
        self,
        group: npt.NDArray[np.int64],
        number: npt.NDArray[np.int64],
        begins: npt.NDArray[np.int64],
        accepted: npt.NDArray[np.bool_],
        good: npt.NDArray[np.bool_],
        values: npt.NDArray[Any],
    ) -> None:
        """Count rows and their values, and remember the numbers without a row."""
        row = accepted & good
        counts = np.add.reduceat(row.astype(np.int64), begins)
        sums = np.add.reduceat(np.where(row, values, 0), begins)
        ends = np.r_[begins[1:], len(group)] - 1
        for at, count, total, top in zip(
            group[begins].tolist(), counts.tolist(), sums.tolist(), ends.tolist(), strict=True
        ):
            session = self._sessions[at]
            if session is None:
                raise AssertionError(f"group {at} was fed and has not begun")
            session.count += count
            session.value += total
            session.top = int(self._top[group[top]])
        for at in np.flatnonzero(accepted & ~good).tolist():
            session = self._sessions[int(group[at])]
            if session is not None:
                session.bad.add(int(number[at]))

    def truths(self) -> Iterable[SessionTruth]:
        """What must have come of each session, by scope and in the order they began."""
        begun = [
            (scope, session)
            for scope, session in zip(self._scopes, self._sessions, strict=True)
            if session is not None
        ]
        for scope, session in sorted(begun, key=lambda pair: (pair[0], pair[1].number)):
            holes = sorted(session.missing.keys() | session.abandoned_numbers | session.bad)
            yield SessionTruth(
                scope=scope,
                session=session.name,
                rows=_without(session.first, session.top, ranges_of(holes)),
                count=session.count,
                value=session.value,
                opened=sorted(session.opened),
                filled=sorted(session.filled),
                abandoned=sorted(session.abandoned),
                late=ranges_of(sorted(set(session.late) - session.bad)),
                late_events=ranges_of(sorted(session.late)),
                stale=sorted(session.stale),
                duplicates=ranges_of(sorted(set(session.duplicates))),
                duplicate_count=len(session.duplicates),
                conflicts=sorted(session.conflicts),
                dead=ranges_of(sorted(session.bad)),
                reset=session.reset,
            )


def ranges_of(numbers: Sequence[int]) -> list[Range]:
    """Ascending distinct numbers as inclusive ranges."""
    ranges: list[Range] = []
    start = end = None
    for number in numbers:
        if end is not None and start is not None and number == end + 1:
            end = number
            continue
        if end is not None and start is not None:
            ranges.append((start, end))
        start = end = number
    if end is not None and start is not None:
        ranges.append((start, end))
    return ranges


def _without(first: int, last: int, holes: list[Range]) -> list[Range]:
    """The range first to last without the holes, which lie inside it, ascending and apart."""
    rows = []
    for low, high in holes:
        if low > first:
            rows.append((first, low - 1))
        first = high + 1
    if first <= last:
        rows.append((first, last))
    return rows
