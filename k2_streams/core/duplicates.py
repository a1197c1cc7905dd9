"""Repeated numbers, counted per scope and session: one event says a whole replay."""

from collections.abc import Iterable

from k2_streams.core.events import Duplicates

#: Ranges in one event: 10,000 take at most 420 KB of JSON, well under a record's limit of 1 MiB.
MAX_RANGES = 10_000


class DuplicateCounter:
    """What was repeated since the last event. The order of `add` does not matter."""

    __slots__ = ("_ranges",)

    def __init__(self) -> None:
        self._ranges: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def __bool__(self) -> bool:
        """Whether anything was repeated."""
        return bool(self._ranges)

    @property
    def count(self) -> int:
        """Numbers repeated, each as often as it was."""
        return sum(last - first + 1 for ranges in self._ranges.values() for first, last in ranges)

    def add(self, scope: str, session: str, first: int, last: int) -> None:
        """Count numbers first to last, both included, once more."""
        self._ranges.setdefault((scope, session), []).append((first, last))

    def update(self, other: "DuplicateCounter") -> None:
        """Count everything that another counter counted."""
        for key, ranges in other._ranges.items():  # noqa: SLF001 - of the same class
            self._ranges.setdefault(key, []).extend(ranges)

    def events(self, source_partition: int = -1) -> list[Duplicates]:
        """One event a scope and session, in their order; more only above `MAX_RANGES` ranges.

        Ranges are inclusive, sorted and merged; `count` has each number as often as it was
        repeated.
        """
        return [
            Duplicates(
                scope=scope,
                session=session,
                source_partition=source_partition,
                count=sum(count for _, _, count in merged[at : at + MAX_RANGES]),
                ranges=[(first, last) for first, last, _ in merged[at : at + MAX_RANGES]],
            )
            for (scope, session), ranges in sorted(self._ranges.items())
            for merged in (_merged(ranges),)
            for at in range(0, len(merged), MAX_RANGES)
        ]


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
