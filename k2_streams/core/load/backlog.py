"""Which records are deferred, and which of them still wait: of one source partition.

What is deferred is a scope as a whole. A key of which a record waits is deferred at every level, so
its records stay in order and get the verdicts as if nothing had waited: deferral is never a gap.

    source --.-- worked ------------------------------------.--> verdicts, in order per key
             |                                              |
             '- deferred --> k2.trades.deferred -- drained -'

Records wait in the order of the source, and drain in the order in which they wait.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from k2_streams.core.load.degradation import Level, defers

#: The tier of what is never deferred: a record without a scope's key is no part of any order.
NO_TIER = 0


class KeyedRecord(Protocol):
    """What is looked at of a record."""

    @property
    def key(self) -> bytes | None:
        """The scope."""
        ...

    @property
    def offset(self) -> int:
        """Its place in the source."""
        ...


RecordT = TypeVar("RecordT", bound=KeyedRecord)


class Backlog:
    """What waits: records by key, and an offset of the source below which none does."""

    def __init__(self, counts: Mapping[bytes, int], from_offset: int | None) -> None:
        self._counts = dict(counts)
        self._changed: set[bytes] = set()
        self.records = sum(self._counts.values())
        self.from_offset = from_offset if self.records else None

    def __contains__(self, key: bytes | None) -> bool:
        """Whether a record of this key waits."""
        return key in self._counts

    @property
    def keys(self) -> int:
        """Scopes of which a record waits."""
        return len(self._counts)

    def defer(self, key: bytes, offset: int) -> None:
        """Add a record: it waits from now on, behind all others."""
        self._counts[key] = self._counts.get(key, 0) + 1
        self._changed.add(key)
        self.records += 1
        if self.from_offset is None:
            self.from_offset = offset

    def is_next(self, key: bytes | None, offset: int) -> bool:
        """Whether this may be a record that waits: nobody else's, and not drained before."""
        return key in self._counts and self.from_offset is not None and offset >= self.from_offset

    def drained(self, key: bytes, offset: int) -> None:
        """The first of those that waited does so no longer."""
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]
        self._changed.add(key)
        self.records -= 1
        # What waits behind it stood behind it in the source.
        self.from_offset = offset + 1 if self.records else None

    def changes(self) -> dict[bytes, int]:
        """The counts that changed since the last call; 0 of a key of which none waits."""
        changed, self._changed = self._changed, set()
        return {key: self._counts.get(key, 0) for key in sorted(changed)}

    def holds_admitted(self, level: Level, tier_of: Callable[[bytes], int]) -> bool:
        """Whether a key waits that the level alone would not defer."""
        return any(not defers(level, tier_of(key)) for key in self._counts)


@dataclass(frozen=True, slots=True)
class Split(Generic[RecordT]):
    """The first `taken` records of a batch: what is worked now, and what is deferred."""

    now: Sequence[RecordT]
    deferred: Sequence[RecordT]
    taken: int


def split(
    records: Sequence[RecordT],
    backlog: Backlog,
    level: Level,
    tier_of: Callable[[RecordT], int],
    budget: int,
) -> Split[RecordT]:
    """Take records of the source, in order, and note in the backlog what is deferred.

    Args:
        records: in the order of their offsets.
        backlog: of the partition; it is changed.
        level: of the worker.
        tier_of: a record's tier, or `NO_TIER`.
        budget: so many may be worked; the batch is taken up to the first one above.
    """
    lowest = next((tier for tier in (1, 2, 3) if defers(level, tier)), 4)
    if lowest > 3 and not backlog.records:
        taken = min(budget, len(records))
        return Split(records if taken == len(records) else records[:taken], (), taken)
    now: list[RecordT] = []
    waiting: list[RecordT] = []
    taken = 0
    for record in records:
        if record.key in backlog or tier_of(record) >= lowest:
            assert record.key is not None  # noqa: S101 - a record without one has no tier
            backlog.defer(record.key, record.offset)
            waiting.append(record)
        elif len(now) >= budget:
            break
        else:
            now.append(record)
        taken += 1
    return Split(now, waiting, taken)
