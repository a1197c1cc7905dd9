"""Sessions of a sequence: which one a message belongs to, and what begins a new one.

A venue counts 1, 2, 3 ... and now and then starts again: each count is a session. A scope keeps
its last `MAX_SESSIONS`, oldest first; the last one is current. A message of a kept session is
classified against that session, so that a replay of yesterday neither resets today nor adds a row.
"""

import enum
from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple

import msgspec

from k2_streams.core.sequence.dead import Ranges

#: A replay of the last three weeks of trading days is recognised; a scope's state stays small.
MAX_SESSIONS = 16
#: A silence longer than this, with a number that fell by more than half, is a new session.
RESET_SILENCE_NS = 3_600_000_000_000
#: A message may be this much older than a session's beginning and still belong to it: half of the
#: silence that divides two sessions, so that one message never fits both.
SESSION_SLACK_NS = RESET_SILENCE_NS // 2
#: A repeat carries the event time of its first copy. A number seen before whose event time is later
#: than all of its session by more than this is no repeat: venues' clocks are not so far apart.
CONFLICT_TOLERANCE_MS = 1_000
#: The session of a scope whose venue has none.
DEFAULT_SESSION = "0"
#: The session of a message that does not fit any kept one, where it names none itself.
UNKNOWN_SESSION = ""


class SessionRule(enum.Enum):
    """How a feed's sessions begin."""

    #: One session "0" for ever (Binance's trade ids).
    NEVER = "never"
    #: Every message names its session; the order of the texts is the venue's order ("2014-03-10").
    ORDERED = "ordered"
    #: A message may name its session, and an unknown name is a new one; without a name: FALL.
    DECLARED = "declared"
    #: The number fell by more than half and event time advanced by more than an hour; or the number
    #: was used before, and its event time says that it is no repeat.
    FALL = "fall"


_START = attrgetter("start")


class Counting(NamedTuple):
    """How a feed counts."""

    rule: SessionRule
    #: How much later than all of its session a repeat may be; None: any time, as the venue itself
    #: repeats numbers.
    tolerance_ms: int | None = CONFLICT_TOLERANCE_MS


class Missing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Numbers [start, end) not received, of the gap once opened as gap_first to gap_last."""

    start: int
    end: int
    gap_first: int
    gap_last: int
    since_ms: int = 0  # append time of the message that skipped it; 0: not known
    #: Event times of the messages with the nearest numbers received below and above, of those
    #: that have a time; 0: not known.
    previous_time_ns: int = 0
    next_time_ns: int = 0


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One count of a venue: numbers in [first, expected) are received unless they are missing."""

    id: str
    first: int
    expected: int
    missing: tuple[Missing, ...]  # sorted, disjoint
    floor: int  # below it nothing is known any more: a number there is stale
    first_time_ns: int  # of the message that began it; 0 until a message with a time came
    last_time_ns: int  # the largest accepted
    #: Event times of the lowest and of the highest number received that has one; 0: not known.
    bottom_time_ns: int = 0
    top_time_ns: int = 0
    dead: Ranges = ()  # received numbers whose record became a dead letter
    dead_floor: int = 0  # of a received number below it that is not in `dead` that is not known

    @property
    def missing_numbers(self) -> int:
        """How many numbers are missing now."""
        return sum(part.end - part.start for part in self.missing)

    def has(self, sequence: int) -> bool:
        """Whether a number was received, as far as that is known: not below the floor."""
        if not max(self.first, self.floor) <= sequence < self.expected:
            return False
        above = bisect_right(self.missing, sequence, key=_START)
        return not above or self.missing[above - 1].end <= sequence

    def is_before(self, time_ns: int, tolerance_ms: int | None) -> bool:
        """Whether an event time is later than all that was accepted by more than a tolerance.

        Never with a tolerance of None, or if either time is not known.
        """
        if tolerance_ms is None:
            return False
        return 0 < self.last_time_ns < time_ns - tolerance_ms * 1_000_000


class Placing(enum.Enum):
    """What a message is to the sessions that a scope keeps."""

    KNOWN = enum.auto()  # of a kept session
    NEW = enum.auto()  # begins a session, which becomes current
    BETWEEN = enum.auto()  # begins a session older than the current one, which stays current
    TOO_OLD = enum.auto()  # of a session no longer kept


class Place(NamedTuple):
    """Where a message belongs: the session's index (where to insert it, unless KNOWN) and id."""

    placing: Placing
    at: int
    id: str


def goes_by_time(rule: SessionRule, name: str | None) -> bool:
    """Whether event time, not a name, says which session a message is of."""
    return rule is SessionRule.FALL or (rule is SessionRule.DECLARED and name is None)


def begins_ns(sessions: tuple[Session, ...], at: int) -> int:
    """The least event time of a message without a session's name that is of the session at `at`.

    It may be older than the session's beginning, by half of the silence before that: of two
    sessions that follow each other closely each has its own messages, also those that come late.
    """
    first_ns = sessions[at].first_time_ns
    silence_ns = first_ns - sessions[at - 1].last_time_ns if at else RESET_SILENCE_NS
    return first_ns - min(SESSION_SLACK_NS, max(silence_ns, 0) // 2)


def fell(session: Session, sequence: int) -> bool:
    """Whether a number is less than half of the session's highest."""
    return 2 * sequence < session.expected - 1


def place(
    sessions: tuple[Session, ...],
    dropped: int,
    rule: SessionRule,
    *,
    name: str | None,
    sequence: int,
    time_ns: int,
    tolerance_ms: int | None = CONFLICT_TOLERANCE_MS,
) -> Place:
    """Which session a message belongs to.

    Args:
        sessions: those kept, oldest first.
        dropped: how many were kept once and are not any more.
        rule: of the feed.
        name: the session that the message names; NEVER and FALL do not look at it.
        sequence: the message's number.
        time_ns: its event time; 0 or less if not known, which never begins a session by time.
        tolerance_ms: see `Session.is_before`.
    """
    if goes_by_time(rule, name):
        return _by_time(sessions, dropped, sequence, time_ns, tolerance_ms)
    if rule is SessionRule.NEVER or name is None:
        if sessions:
            return Place(Placing.KNOWN, len(sessions) - 1, sessions[-1].id)
        return Place(Placing.NEW, 0, DEFAULT_SESSION)
    for index in range(len(sessions) - 1, -1, -1):
        if sessions[index].id == name:
            return Place(Placing.KNOWN, index, name)
    if rule is SessionRule.DECLARED:
        return Place(Placing.NEW, len(sessions), name)
    return _by_order(sessions, name)


def _by_order(sessions: tuple[Session, ...], name: str) -> Place:
    """The place of a session that is not kept, where the text's order is the venue's."""
    if not sessions or sessions[-1].id < name:
        return Place(Placing.NEW, len(sessions), name)
    for index in range(len(sessions) - 1, 0, -1):
        if sessions[index - 1].id < name:
            return Place(Placing.BETWEEN, index, name)
    return Place(Placing.TOO_OLD, 0, name)


def _by_time(
    sessions: tuple[Session, ...],
    dropped: int,
    sequence: int,
    time_ns: int,
    tolerance_ms: int | None,
) -> Place:
    """The place of a message that names no session."""
    if not sessions:
        return Place(Placing.NEW, 0, DEFAULT_SESSION)
    current = sessions[-1]
    if 0 < time_ns < begins_ns(sessions, len(sessions) - 1):
        return _earlier(sessions, dropped, time_ns)
    silent = 0 < current.last_time_ns < time_ns - RESET_SILENCE_NS
    begins = silent and fell(current, sequence)
    if begins or _is_used_again(current, sequence, time_ns, tolerance_ms):
        return Place(Placing.NEW, len(sessions), _next_id(sessions, dropped))
    return Place(Placing.KNOWN, len(sessions) - 1, current.id)


def _is_used_again(current: Session, sequence: int, time_ns: int, tolerance_ms: int | None) -> bool:
    """Whether the venue counts again: a number is of another message than the one received.

    Nothing is known of numbers below the first, or in and below what was abandoned. There a fall by
    more than half decides: later than all above it, such a number was not skipped.
    """
    if not current.is_before(time_ns, tolerance_ms):
        return False
    below = sequence < max(current.first, current.floor)
    return fell(current, sequence) if below else current.has(sequence)


def _earlier(sessions: tuple[Session, ...], dropped: int, time_ns: int) -> Place:
    """The place of a message from before the current session: the one then current.

    If none had begun the oldest takes it, unless the one that had may have been dropped.
    """
    for index in range(len(sessions) - 2, -1, -1):
        if begins_ns(sessions, index) <= time_ns:
            return Place(Placing.KNOWN, index, sessions[index].id)
    if dropped:
        return Place(Placing.TOO_OLD, 0, UNKNOWN_SESSION)
    return Place(Placing.KNOWN, 0, sessions[0].id)


def _next_id(sessions: tuple[Session, ...], dropped: int) -> str:
    """The next of "0", "1", "2" ... that no kept session has; ids given here never come again."""
    kept = {session.id for session in sessions}
    number = dropped + len(sessions)
    while str(number) in kept:
        number += 1
    return str(number)
