"""Which numbers are missing, by the state of the last checkpoint, and which can be filled."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.gaps import meets
from k2_streams.core.sequence.scopes import exchange_of, symbol_of
from k2_streams.core.sequence.sessions import Missing, Session
from k2_streams.core.sequence.step import ScopeState
from k2_streams.runtime.redrive.outlook import ReadTopic
from k2_streams.state.codec import POSITION_KEY, ROWS, shared_table
from k2_streams.state.position import decode_position

#: Of one repair, if it is not told: what a source is asked for in one go.
MAX_NUMBERS = 1_000_000


class MissingRange(NamedTuple):
    """Numbers of a session of a scope that are missing, `first` to `last`, both included."""

    scope: str
    session: str
    first: int
    last: int

    @property
    def numbers(self) -> int:
        """How many."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class PartitionStates:
    """What a partition's changelog holds.

    Attributes:
        next_offset: the raw topic's offset up to which records are processed.
        scopes: their states.
    """

    next_offset: int
    scopes: Mapping[str, ScopeState]


@dataclass(frozen=True, slots=True)
class GapSelection:
    """Which gaps; an empty field is any.

    Attributes:
        exchange: of the scope.
        symbol: the scope's name behind its exchange.
        since_ns: a gap that may hold a number of this event time or later.
        until_ns: one that may hold a number of an earlier event time.
        max_numbers: of all ranges together.
    """

    exchange: str | None = None
    symbol: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    max_numbers: int = MAX_NUMBERS

    def has_scope(self, scope: str) -> bool:
        """Whether it is one of these."""
        return self.exchange in {None, exchange_of(scope)} and self.symbol in {
            None,
            symbol_of(scope),
        }

    def has_gap(self, part: Missing) -> bool:
        """Whether one of its numbers may have been traded in the time."""
        previous_ns, next_ns = part.previous_time_ns or None, part.next_time_ns or None
        return meets(previous_ns, next_ns, self.since_ns, self.until_ns)


@dataclass(slots=True)
class RepairPlan:
    """What a repair asks for.

    Attributes:
        ranges: that it asks for.
        too_old: that are beyond the horizon: their numbers would be stale.
        left_out: numbers beyond the selection's bound.
        abandoned: numbers of the scopes that were abandoned before: they stay so.
    """

    ranges: list[MissingRange] = field(default_factory=list)
    too_old: list[MissingRange] = field(default_factory=list)
    left_out: int = 0
    abandoned: int = 0

    @property
    def numbers(self) -> int:
        """How many it asks for."""
        return sum(one.numbers for one in self.ranges)


async def read_states(read: ReadTopic, changelog: str, partitions: int) -> list[PartitionStates]:
    """The states of all partitions, as their changelog holds them now.

    Raises:
        SequenceFormatError: a state is of a later version.
    """
    found = []
    for partition in range(partitions):
        rows: dict[bytes, bytes | None] = {}
        async for records in read(changelog, partition):
            rows |= {one.key: one.value for one in records if one.key is not None}
        position = rows.pop(POSITION_KEY, None)
        scopes = {
            key.decode(): sequence_codec.decode(row)
            for key, row in rows.items()
            if row is not None and shared_table(key) == ROWS
        }
        next_offset = 0 if position is None else decode_position(position).next_offset
        found.append(PartitionStates(next_offset, scopes))
    return found


def plan_repair(
    scopes: Mapping[str, ScopeState], selection: GapSelection, now_ms: int, horizon_ms: int
) -> RepairPlan:
    """What is missing of the selected scopes: by scope, session and number.

    Gaps that are held for a line are none yet.

    Args:
        scopes: their states.
        selection: of scopes and gaps.
        now_ms: a record sent now is appended then.
        horizon_ms: how long a missing number is waited for.
    """
    plan = RepairPlan()
    room = selection.max_numbers
    for scope in sorted(filter(selection.has_scope, scopes)):
        state = scopes[scope]
        plan.abandoned += state.counters.numbers_abandoned
        for session in state.sessions:
            for part in _open_parts(state, session):
                if not selection.has_gap(part):
                    continue
                missing = MissingRange(scope, session.id, part.start, part.end - 1)
                if part.since_ms and part.since_ms + horizon_ms <= now_ms:
                    plan.too_old.append(missing)
                    continue
                asked = min(missing.numbers, room)
                room -= asked
                plan.left_out += missing.numbers - asked
                if asked:
                    plan.ranges.append(missing._replace(last=missing.first + asked - 1))
    return plan


def still_missing(
    scopes: Mapping[str, ScopeState], asked: MissingRange
) -> Iterator[tuple[int, int]]:
    """What of a range is missing, as inclusive ranges."""
    state = scopes.get(asked.scope)
    for session in state.sessions if state is not None else ():
        if session.id == asked.session:
            for part in session.missing:
                first, last = max(part.start, asked.first), min(part.end - 1, asked.last)
                if first <= last:
                    yield first, last


def still_told(scopes: Mapping[str, ScopeState], asked: MissingRange) -> int:
    """The number of a range from which on the states tell what was received.

    Those below it were abandoned; of a session that is not kept any more all were: the number
    behind the range.
    """
    behind = asked.last + 1
    state = scopes.get(asked.scope)
    for session in state.sessions if state is not None else ():
        if session.id == asked.session:
            return min(max(asked.first, session.floor), behind)
    return behind


def _open_parts(state: ScopeState, session: Session) -> Iterator[Missing]:
    lines = state.lines
    held = {
        (one.first, one.last)
        for one in (lines.held if lines is not None else ())
        if one.session == session.id
    }
    return (part for part in session.missing if (part.gap_first, part.gap_last) not in held)
