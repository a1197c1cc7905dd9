"""The horizon: how long a gap waits for late records, and what is abandoned beyond it.

A gap begins at the append time of the message that skipped it. It is abandoned when a message of
its scope comes whose append time is the horizon, or more, behind that. So a verdict depends on the
scope's messages alone, and time without a message changes nothing.

    within      a missing number is LATE: a row, and its gap shrinks or is filled
    beyond      the range is abandoned with reason `horizon`, and a number in or below it is STALE

Within a session gaps are never older than those below them, so what is abandoned is always the
lowest of it.
"""

import msgspec

from k2_streams.core.sequence.events import MessageEvents
from k2_streams.core.sequence.sessions import Missing, Session

#: Seven days: as long as the raw topic keeps what was sent.
LATE_HORIZON_MS = 7 * 86_400_000


def is_due(sessions: tuple[Session, ...], append_ms: int, horizon_ms: int) -> bool:
    """Whether a gap of these is beyond the horizon at an append time."""
    for session in sessions:
        for part in session.missing:
            if part.since_ms:  # of one that an earlier version wrote the age is not known
                if part.since_ms + horizon_ms <= append_ms:
                    return True
                break
    return False


def abandon_expired(
    sessions: tuple[Session, ...], append_ms: int, horizon_ms: int, about: MessageEvents
) -> tuple[Session, ...]:
    """The sessions without what is beyond the horizon, each range with an event.

    The oldest range comes first, whatever its session: so the events are in the same order
    whether ranges are abandoned one by one while their scope is silent, or all by one message.
    """
    counts = [_beyond(session.missing, append_ms - horizon_ms) for session in sessions]
    aged = [
        (since_ms, session.id, part)
        for session, count in zip(sessions, counts, strict=True)
        for since_ms, part in zip(_ages(session.missing[:count]), session.missing, strict=False)
    ]
    for _, session_id, part in sorted(aged, key=lambda entry: entry[0]):
        about.abandoned(session_id, part, "horizon")
    return tuple(map(_without, sessions, counts))


def abandon(session: Session, count: int, reason: str, about: MessageEvents) -> Session:
    """Abandon a session's lowest missing ranges: its floor rises above them."""
    for part in session.missing[:count]:
        about.abandoned(session.id, part, reason)
    return _without(session, count)


def _without(session: Session, count: int) -> Session:
    """The session without its lowest missing ranges."""
    gone = session.missing[:count]
    if not gone:
        return session
    return msgspec.structs.replace(session, missing=session.missing[count:], floor=gone[-1].end)


def _ages(missing: tuple[Missing, ...]) -> list[int]:
    """The age of each range; one of an unknown age goes with those above."""
    ages: list[int] = []
    above_ms = 0
    for part in reversed(missing):
        above_ms = part.since_ms or above_ms
        ages.append(above_ms)
    return ages[::-1]


def since_ms_above(missing: tuple[Missing, ...], append_ms: int) -> int:
    """The age of a gap that opens above all others: a clock that fell back makes none older."""
    return max(append_ms, missing[-1].since_ms) if missing else append_ms


def since_ms_below(missing: tuple[Missing, ...], append_ms: int) -> int:
    """The age of a gap that opens below all others: its numbers were skipped before theirs."""
    return missing[0].since_ms if missing else append_ms


def _beyond(missing: tuple[Missing, ...], until_ms: int) -> int:
    """How many ranges are of a time up to this one. One of an unknown age goes with those above."""
    count = 0
    for at, part in enumerate(missing, 1):
        if part.since_ms > until_ms:
            break
        if part.since_ms:
            count = at
    return count
