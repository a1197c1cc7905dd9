"""What a session keeps of dead numbers: one more, one that was redriven, and how many at most."""

from msgspec.structs import replace

from k2_streams.core.sequence.dead import holds, with_number, without_number
from k2_streams.core.sequence.sessions import Place, Placing, Session, SessionRule

#: Dead ranges a scope keeps, over all its sessions: 20 KB of state at most. A feed that is refused
#: as a whole is one range. Of more the lowest of the oldest session go, and a redriven number
#: there is stale.
MAX_DEAD = 1_024


def place_dead(
    sessions: tuple[Session, ...],
    rule: SessionRule,
    name: str | None,
    sequence: int,
    usual: Place,
) -> Place:
    """Where a redriven message belongs.

    Its number may be dead in several sessions: then it is of the one that any message of its name
    and time would be of. Dead elsewhere alone, it is of that session whatever its event time is, as
    others have followed it; of several such the newest. A message that names a session is of no
    other.

    Args:
        sessions: those kept, oldest first.
        rule: of the feed.
        name: the session that the message names.
        sequence: its number.
        usual: where it would belong were it not redriven; and does if its number is not dead.
    """
    if usual.placing is Placing.KNOWN and holds(sessions[usual.at].dead, sequence):
        return usual
    is_named = rule in {SessionRule.ORDERED, SessionRule.DECLARED} and name is not None
    for at in range(len(sessions) - 1, -1, -1):
        session = sessions[at]
        if holds(session.dead, sequence) and (not is_named or session.id == name):
            return Place(Placing.KNOWN, at, session.id)
    return usual


def died(sessions: tuple[Session, ...], at: int, sequence: int, limit: int) -> tuple[Session, ...]:
    """The sessions with a number of one of them, received just now, as dead."""
    session = sessions[at]
    dead = replace(session, dead=with_number(session.dead, sequence))
    return _bounded((*sessions[:at], dead, *sessions[at + 1 :]), limit)


def revived(session: Session, sequence: int, time_ns: int) -> Session:
    """The session with a number that is dead in it as received in a message of this event time.

    Gaps beside the number keep the bounds that they have: these hold with one more time too.

    Args:
        session: that the number is dead in.
        sequence: the number.
        time_ns: 0: not known.
    """
    is_top = sequence + 1 == session.expected
    return replace(
        session,
        dead=without_number(session.dead, sequence),
        first_time_ns=session.first_time_ns or time_ns,
        last_time_ns=max(session.last_time_ns, time_ns),
        bottom_time_ns=(time_ns if sequence == session.first else 0) or session.bottom_time_ns,
        top_time_ns=(time_ns if is_top else 0) or session.top_time_ns,
    )


def _bounded(sessions: tuple[Session, ...], limit: int) -> tuple[Session, ...]:
    excess = sum(len(session.dead) for session in sessions) - limit
    kept = list(sessions)
    for index, session in enumerate(sessions):
        if excess <= 0:
            break
        gone = session.dead[:excess]
        if gone:
            floor = max(session.dead_floor, gone[-1][1])
            kept[index] = replace(session, dead=session.dead[len(gone) :], dead_floor=floor)
            excess -= len(gone)
    return tuple(kept)
