"""How often records of a partition failed to be processed, so that one of them never stops it.

A failure ends the task; its successor restores the state and tries again. Failures whose ranges of
offsets overlap are at one position: the record at fault lies in the overlap.

    1, 2 failures at one position      the task ends
    3                                  isolating: the record at fault is found, and alone refused
    ISOLATED_RECORDS without a failure as before

While isolating, a further record at fault is found at once: a feed that fails on one record in a
thousand costs no restarts.
"""

from dataclasses import dataclass

#: Failures at one position before the record at fault is looked for: what passes by itself (memory
#: that was short, a race) costs no record.
FAILURES_MAX = 3
#: More than an epoch and a batch, which lie at most between a restored position and the failure.
ISOLATED_RECORDS = 131_072


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of the records that failed last."""

    start: int  # the first offset of the source that may be at fault
    end: int  # the last, and one more
    feed: str | None  # None: of several feeds
    error: str
    count: int  # failures at this position
    refused: bool  # the record at `start` is a dead letter; else it is tried again


class RecordFailures:
    """Of one partition. Outlives its tasks.

    One thread at a time changes it; `last` and `refused` may be read from another one.
    """

    def __init__(self) -> None:
        self.last: Failure | None = None
        self.refused = 0  # records that became dead letters
        self._at: dict[str, Failure] = {}  # by topic: of the source, and of what was deferred
        self._isolated = 0  # records left to be processed so

    @property
    def is_isolating(self) -> bool:
        """Whether the record at fault is looked for, instead of ending the task."""
        return self._isolated > 0

    def failed(self, topic: str, start: int, end: int, feed: str | None, error: str) -> None:
        """Records [start, end), read from a topic, failed together."""
        before = self._at.get(topic)
        count = 1
        if before is not None and start < before.end and before.start < end:
            start, end = max(start, before.start), min(end, before.end)
            count = before.count + 1
        self.last = self._at[topic] = Failure(start, end, feed, error, count, refused=False)
        if count >= FAILURES_MAX or self.is_isolating:
            self._isolated = ISOLATED_RECORDS

    def refuse(self, offset: int, feed: str | None, error: str) -> None:
        """The record at this offset is at fault, and becomes a dead letter."""
        self._isolated = ISOLATED_RECORDS
        self.refused += 1
        count = self.last.count if self.last else 1
        self.last = Failure(offset, offset + 1, feed, error, count, refused=True)

    def passed(self, topic: str, records: int, last_offset: int) -> None:
        """So many records read from a topic, up to this offset of the source, were processed."""
        at = self._at.get(topic)
        if at is not None and at.end <= last_offset + 1:
            del self._at[topic]
        self._isolated = max(self._isolated - records, 0)
        if not self._at and not self._isolated:
            self.last = None
