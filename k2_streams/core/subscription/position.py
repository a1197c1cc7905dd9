"""How far a subscription has come in a log: exact to the row, and the same on every node.

A log's rows are given in the order of their accepted time, then partition, offset and row of the
log. Within a partition the accepted time never goes back, so of each partition they come by offset;
and the rows of one record follow one another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Places:
    """Where rows lie in a log, in the order in which they are given; three arrays of one length."""

    partitions: Ints
    offsets: Ints
    rows: Ints

    def __len__(self) -> int:
        return len(self.partitions)

    def slice(self, start: int, end: int) -> "Places":
        """Those from `start` to before `end`."""
        return Places(self.partitions[start:end], self.offsets[start:end], self.rows[start:end])


@dataclass(frozen=True, slots=True)
class PartialRecord:
    """A record of which some rows are given: those below `row`."""

    partition: int
    row: int


@dataclass(frozen=True, slots=True)
class LogPosition:
    """What was given of a log: every row below these offsets that was wanted, and nothing else.

    Attributes:
        next: per partition the offset below which every row is given.
        partial: of the record at `next` of one partition some rows are given too.
    """

    next: Mapping[int, int] = field(default_factory=dict)
    partial: PartialRecord | None = None

    def after(self, given: Places) -> "LogPosition":
        """The position behind the next rows, in their order.

        A record's last row is not known as such: whether there are more of it is seen when a row of
        another record follows, or when every row up to an end is given (`reached`).
        """
        if not len(given):
            return self
        found = dict(self.next)
        first = int(given.partitions[0]), int(given.offsets[0])
        if self.partial is not None:
            before = self.partial.partition
            if first != (before, found[before]):
                found[before] += 1
        for partition in np.unique(given.partitions).tolist():
            of_partition = given.offsets[given.partitions == partition]
            found[partition] = int(of_partition[-1]) + 1
        last = int(given.partitions[-1])
        found[last] -= 1
        return LogPosition(found, PartialRecord(last, int(given.rows[-1]) + 1))

    def reached(self, ends: Mapping[int, int]) -> "LogPosition":
        """The position when every row below `ends` is given."""
        ahead = {p: max(end, self.next.get(p, 0)) for p, end in ends.items()}
        found = {**self.next, **ahead}
        partial = self.partial
        if partial is not None and found[partial.partition] > self.next[partial.partition]:
            partial = None
        return LogPosition(found, partial)

    def covers(self, ends: Mapping[int, int]) -> bool:
        """Whether every row below `ends` is given."""
        return all(self.next.get(partition, 0) >= end for partition, end in ends.items())
