"""Which part answers for which offsets: the cut between the lake and the tail, and nothing else.

Of a partition the lake's snapshot holds exactly the offsets below V, the tail those in [E, T). The
answer holds every offset below `next`, once: from the lake those below V, from the tail the rest.

      0 ............ E ........ V ........ T
      |---------- lake ---------|
                     |------- tail --------|
      |-------- from lake ------|-- tail --|  next = max(V, T)

The tail's view must be taken before the snapshot is: eviction follows a snapshot that this node
has seen, so a snapshot seen later never holds less than what was evicted (V >= E).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from k2_streams.core.records.vector import Range


@dataclass(frozen=True, slots=True)
class PartitionCut:
    """What of one partition is read from where."""

    lake_below: int | None  # None: every row of the snapshot
    tail: Range  # offsets to take from the tail; may be empty
    next: int  # the answer holds the offsets below this one


@dataclass(frozen=True, slots=True)
class Cut:
    """The plan of a whole answer: a partition that is not named has no row in it."""

    partitions: dict[int, PartitionCut]

    @property
    def next(self) -> dict[int, int]:
        """Per partition the next offset that is not in the answer."""
        return {partition: cut.next for partition, cut in self.partitions.items()}

    @property
    def lake_limits(self) -> dict[int, int]:
        """Partitions of which the snapshot holds rows that are not wanted, and from which on."""
        return {
            partition: cut.lake_below
            for partition, cut in self.partitions.items()
            if cut.lake_below is not None
        }


@dataclass(frozen=True, slots=True)
class Behind:
    """The snapshot holds less than the tail has evicted: look for a newer one."""

    partition: int
    evicted: int
    held: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """Offsets were asked for that neither part has yet: wait."""

    wanted: dict[int, int]
    found: dict[int, int]


def cut_now(held: Mapping[int, int], tail: Mapping[int, Range]) -> Cut | Behind:
    """Everything that both parts know.

    Args:
        held: V, the next offset not in the snapshot, per partition; 0 where not named.
        tail: [E, T) per partition that the tail follows.
    """
    partitions: dict[int, PartitionCut] = {}
    for partition in sorted({*held, *tail}):
        v = held.get(partition, 0)
        part = tail.get(partition, Range(v, v))
        if v < part.start:
            return Behind(partition, part.start, v)
        end = max(v, part.end)
        partitions[partition] = PartitionCut(None, Range(v, end), end)
    return Cut(partitions)


def cut_at(
    wanted: Mapping[int, int], held: Mapping[int, int], tail: Mapping[int, Range]
) -> Cut | Behind | Ahead:
    """Exactly the offsets below `wanted`, whatever the parts hold beyond.

    Args:
        wanted: the next offset that is not to be in the answer, per partition; 0 where not named.
        held: as in `cut_now`.
        tail: as in `cut_now`.
    """
    short: dict[int, int] = {}
    found: dict[int, int] = {}
    behind: Behind | None = None
    partitions: dict[int, PartitionCut] = {}
    for partition in sorted({*wanted, *held}):
        w, v = wanted.get(partition, 0), held.get(partition, 0)
        part = tail.get(partition, Range(v, v))
        if w <= v:
            partitions[partition] = PartitionCut(w if w < v else None, Range(w, w), w)
        elif max(v, part.end) < w:
            short[partition], found[partition] = w, max(v, part.end)
        elif v < part.start:
            behind = behind or Behind(partition, part.start, v)
        else:
            partitions[partition] = PartitionCut(None, Range(v, w), w)
    if short:
        return Ahead(short, found)
    return behind or Cut(partitions)
