"""What was known to be missing at any time: the ledger's events, kept as long as there is room.

An event bears the accepted time of the checkpoint that published it. What was known at a time is
the fold of the events up to it. Of more events than are kept the oldest are folded into one ledger,
and what was known before them cannot be told any more.
"""

from collections import deque
from collections.abc import Collection

import msgspec

from k2_streams.core.records.events import AnyEvent, Duplicates
from k2_streams.core.sequence.gaps import GapLedger

#: About 40 MB: as many as the gaps of some thousand outages.
MAX_EVENTS = 100_000


class GapHistory:
    """The events of a ledger, by scope. Feed it every event, in the order of its partition."""

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self._max_events = max_events
        self._base = GapLedger()
        self._events: dict[str, deque[AnyEvent]] = {}
        self._order: deque[str] = deque()  # the scopes of the events, oldest first
        self.since_us = 0  # what was known before this accepted time cannot be told

    def add(self, event: AnyEvent) -> None:
        """Take one event in."""
        if isinstance(event, Duplicates):  # the fold counts them, whichever they were
            event = msgspec.structs.replace(event, ranges=[])
        self._events.setdefault(event.scope, deque()).append(event)
        self._order.append(event.scope)
        if len(self._order) > self._max_events:
            oldest = self._events[self._order.popleft()].popleft()
            self._base.apply(oldest)
            self.since_us = max(self.since_us, oldest.accepted_time_us)

    def at(self, known_us: int, scopes: Collection[str]) -> GapLedger:
        """The ledger of these scopes as it was at an accepted time, from `since_us` on."""
        ledger = self._base.part(scopes)
        for scope in scopes:
            for event in self._events.get(scope, ()):
                if event.accepted_time_us <= known_us:
                    ledger.apply(event)
        return ledger
