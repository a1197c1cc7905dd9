"""What was repeated, counted per scope, session and line: one event says a whole replay."""

from collections import Counter
from collections.abc import Iterable

from k2_streams.core.records.events import Duplicates

#: Ranges in one event: 10,000 take at most 420 KB of JSON, well under a record's limit of 1 MiB.
MAX_RANGES = 10_000


class DuplicateCounter:
    """What was repeated since the last event. The order of `add` does not matter."""

    __slots__ = ("_ids", "_ranges")

    def __init__(self) -> None:
        self._ranges: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
        self._ids: Counter[tuple[str, str]] = Counter()

    def __bool__(self) -> bool:
        """Whether anything was repeated."""
        return bool(self._ranges or self._ids)

    @property
    def count(self) -> int:
        """Numbers and ids repeated, each as often as it was."""
        numbers = sum(
            last - first + 1 for ranges in self._ranges.values() for first, last in ranges
        )
        return numbers + self._ids.total()

    def add(self, scope: str, session: str, first: int, last: int, line: str = "") -> None:
        """Count numbers first to last, both included, once more; of no line, or of this one."""
        self._ranges.setdefault((scope, session, line), []).append((first, last))

    def add_ids(self, scope: str, session: str, count: int) -> None:
        """Count so many repeated ids."""
        self._ids[scope, session] += count

    def update(self, other: "DuplicateCounter") -> None:
        """Count everything that another counter counted."""
        for key, ranges in other._ranges.items():  # noqa: SLF001 - of the same class
            mine = self._ranges.get(key)
            if mine is None:
                self._ranges[key] = ranges.copy()
            else:
                mine += ranges
        self._ids.update(other._ids)  # noqa: SLF001 - of the same class

    def events(self, source_partition: int = -1) -> list[Duplicates]:
        """One event a scope, session and line, in their order; more only above `MAX_RANGES` ranges.

        Ranges are inclusive, sorted and merged; `count` has each number as often as it was
        repeated. Ids are counted in events of their own.
        """
        by_number = [
            Duplicates(
                scope=scope,
                session=session,
                source_partition=source_partition,
                count=sum(count for _, _, count in merged[at : at + MAX_RANGES]),
                ranges=[(first, last) for first, last, _ in merged[at : at + MAX_RANGES]],
                line=line or None,
            )
            for (scope, session, line), ranges in sorted(self._ranges.items())
            for merged in (_merged(ranges),)
            for at in range(0, len(merged), MAX_RANGES)
        ]
        by_id = [
            Duplicates(
                scope=scope,
                session=session,
                source_partition=source_partition,
                count=count,
                ranges=[],
                by="id",
            )
            for (scope, session), count in sorted(self._ids.items())
        ]
        return by_number + by_id


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Overlapping and touching ranges as one: (first, last, numbers counted)."""
    merged: list[tuple[int, int, int]] = []
    for first, last in sorted(ranges):
        count = last - first + 1
        if merged and first <= merged[-1][1] + 1:
            start, end, before = merged[-1]
            merged[-1] = (start, max(end, last), before + count)
        else:
            merged.append((first, last, count))
    return merged
