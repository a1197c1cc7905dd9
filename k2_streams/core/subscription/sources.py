"""From where a subscription reads what it lacks: the lake, the tail, or both.

Of a partition the tail holds [E, T), the lake everything below V, and V >= E. A reader who is at P
takes from the tail whatever the tail has, and from the lake the rest: so one that keeps up never
reads a file, and one whose rows were evicted meanwhile reads them from the lake.

      0 ....... P ....... E ..... V ........ T
                |------ lake -----|-- tail --|
                          P: |----- tail ----|
"""

from collections.abc import Mapping
from dataclasses import dataclass

from k2_streams.core.records.vector import Range


@dataclass(frozen=True, slots=True)
class Sources:
    """Offsets to read, per partition; no offset is in both."""

    lake: Mapping[int, Range]
    tail: Mapping[int, Range]

    def __bool__(self) -> bool:
        return bool(self.lake or self.tail)


def sources_of(
    start: Mapping[int, int],
    stop: Mapping[int, int],
    held: Mapping[int, int],
    tail: Mapping[int, Range],
) -> Sources:
    """Where the offsets from `start` to before `stop` are.

    Args:
        start: per partition; 0 where not named.
        stop: per partition, at most the larger of V and T: both parts together have it.
        held: V, the next offset not in the snapshot; 0 where not named.
        tail: [E, T) of each partition that the tail follows; at the same moment V >= E.
    """
    lake: dict[int, Range] = {}
    recent: dict[int, Range] = {}
    for partition, end in stop.items():
        begin, in_lake = start.get(partition, 0), held.get(partition, 0)
        if begin >= end:
            continue
        part = tail.get(partition, Range(in_lake, in_lake))
        cut = begin if part.start <= begin < part.end else min(max(begin, in_lake), end)
        until = min(part.end, end)
        if begin < cut:
            lake[partition] = Range(begin, cut)
        if cut < until:
            recent[partition] = Range(cut, until)
        rest = max(cut, until)
        if begin == cut and rest < end:  # the tail is behind the snapshot
            lake[partition] = Range(rest, end)
    return Sources(lake, recent)
