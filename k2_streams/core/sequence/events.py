"""The events that one message brings about, collected while it is classified."""

from typing import Any

from k2_streams.core.records.events import (
    SMALL_GAP_MAX,
    ConflictingDuplicate,
    Dead,
    Event,
    GapAbandoned,
    GapFilled,
    GapOpened,
    Late,
    Redriven,
    Reset,
    Stale,
)
from k2_streams.core.sequence.sessions import UNKNOWN_SESSION, Missing


class MessageEvents:
    """The events of one message, in the order in which they came about."""

    __slots__ = ("_common", "events", "grew")

    def __init__(self, *, scope: str, partition: int, offset: int, time_ns: int) -> None:
        self._common: dict[str, Any] = {
            "scope": scope,
            "session": UNKNOWN_SESSION,
            "source_partition": partition,
            "source_offset": offset,
            "exchange_time_ns": time_ns,
        }
        self.events: list[Event] = []
        self.grew = False  # the number of missing ranges did

    def of_session(self, session: str) -> None:
        """What is told from now on is of this session, the message's own."""
        self._common["session"] = session

    def opened(
        self, first: int, last: int, since_ms: int, previous_time_ns: int, next_time_ns: int
    ) -> Missing:
        """A gap of the message's session, as what is missing now; times of 0 are not known."""
        size = "small" if last - first < SMALL_GAP_MAX else "large"
        self.events.append(
            GapOpened(
                first=first,
                last=last,
                size=size,
                previous_time_ns=previous_time_ns,
                next_time_ns=next_time_ns,
                **self._common,
            )
        )
        self.grew = True
        return Missing(first, last + 1, first, last, since_ms, previous_time_ns, next_time_ns)

    def filled(self, part: Missing) -> None:
        """The last number of a gap has been received."""
        self.events.append(GapFilled(first=part.gap_first, last=part.gap_last, **self._common))

    def abandoned(self, session: str, part: Missing, reason: str) -> None:
        """A range is abandoned, of any of the scope's sessions."""
        self.events.append(
            GapAbandoned(
                first=part.start,
                last=part.end - 1,
                gap_first=part.gap_first,
                gap_last=part.gap_last,
                reason=reason,
                previous_time_ns=part.previous_time_ns,
                next_time_ns=part.next_time_ns,
                **(self._common | {"session": session}),
            )
        )

    def late(self, sequence: int) -> None:
        """A missing number was received."""
        self.events.append(Late(sequence=sequence, **self._common))

    def stale(self, sequence: int) -> None:
        """A number of which nothing is known any more."""
        self.events.append(Stale(sequence=sequence, **self._common))

    def conflicting(self, sequence: int) -> None:
        """A number that was received of another message."""
        self.events.append(ConflictingDuplicate(sequence=sequence, **self._common))

    def dead(self, sequence: int) -> None:
        """A number was received in a record that becomes a dead letter."""
        self.events.append(Dead(sequence=sequence, **self._common))

    def redriven(self, sequence: int) -> None:
        """A dead number was received in a record that was redriven."""
        self.events.append(Redriven(sequence=sequence, **self._common))

    def reset(self, sequence: int, previous: str) -> None:
        """A session began behind another."""
        self.events.append(Reset(sequence=sequence, previous=previous, **self._common))
