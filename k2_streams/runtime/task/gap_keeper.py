"""Which scopes of a partition have gaps, and since when; abandons those of silent ones."""

from collections.abc import Mapping

import msgspec

from k2_streams.core.records.events import Event
from k2_streams.core.sequence.expiry import NEVER_MS, expired, margin_ms, oldest_gap_ms
from k2_streams.core.sequence.step import ScopeState
from k2_streams.state.position import SectionCodec
from k2_streams.state.table import RowTable

#: Scopes looked at in one go: about 5 ms of the tasks' thread.
MAX_EXPIRED = 256


class GapsState(msgspec.Struct, frozen=True):
    """What the position says of a partition's gaps."""

    oldest_ms: int = NEVER_MS  # no gap is older than this append time; `NEVER_MS`: there is none


GAPS = SectionCodec("gaps", 1, GapsState)


class GapKeeper:
    """Reads and changes the table's rows; holds nothing that is not in them.

    Args:
        table: of the partition.
        partition: of the source.
        horizon_ms: how long a gap waits for late records.
        oldest_ms: no gap of the table is older than this append time; `NEVER_MS`: there is none.
            The table is read as a whole only when that is beyond the horizon.
    """

    def __init__(
        self, table: RowTable[ScopeState], partition: int, horizon_ms: int, oldest_ms: int
    ) -> None:
        self._table = table
        self._partition = partition
        self._horizon_ms = horizon_ms
        self._waits_ms = horizon_ms + margin_ms(horizon_ms)
        self._since_ms: dict[str, int] = {}
        self._unread_ms = oldest_ms  # of what of the table was not read yet
        self._oldest_ms = oldest_ms

    @property
    def oldest_ms(self) -> int:
        """No gap is older than this append time; `NEVER_MS`: there is none."""
        return self._oldest_ms

    @property
    def next_deadline_ms(self) -> int | None:
        """The stream time at which a gap may be abandoned; None: there is none."""
        return None if self._oldest_ms == NEVER_MS else self._oldest_ms + self._waits_ms

    def took(self, states: Mapping[str, ScopeState]) -> None:
        """Scopes have changed."""
        for scope, state in states.items():
            since_ms = oldest_gap_ms(state)
            if since_ms == NEVER_MS:
                self._since_ms.pop(scope, None)
                continue
            self._since_ms[scope] = since_ms
            if self._oldest_ms == NEVER_MS or since_ms < self._oldest_ms:
                self._oldest_ms = since_ms

    def expired(self, now_ms: int) -> list[Event]:
        """Gaps that are beyond the horizon at a stream time, of `MAX_EXPIRED` scopes at most."""
        deadline_ms = self.next_deadline_ms
        if deadline_ms is None or deadline_ms > now_ms:
            return []
        if self._unread_ms != NEVER_MS:
            self._unread_ms = NEVER_MS
            self.took(dict(self._table.items()))
        due = [one for one, since in self._since_ms.items() if since + self._waits_ms <= now_ms]
        events: list[Event] = []
        for scope in sorted(due)[:MAX_EXPIRED]:
            state = self._table.get(scope)
            assert state is not None  # noqa: S101 - it was put there
            # The margin has passed; what is abandoned is what any message would abandon.
            state, found = expired(
                state, scope, self._partition, now_ms - self._waits_ms + self._horizon_ms,
                self._horizon_ms,
            )  # fmt: skip
            if found:
                self._table.put(scope, state)
                self.took({scope: state})
                events += found
        self._oldest_ms = min(self._since_ms.values(), default=NEVER_MS)
        return events
