"""Sets of numbers as half-open ranges [start, end), sorted and apart."""

from collections.abc import Iterable, Iterator

Ranges = tuple[tuple[int, int], ...]


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges in any order, which may touch or overlap, as a set."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def minus(ranges: Ranges, others: Ranges) -> Ranges:
    """The numbers of one set that are not in the other."""
    return tuple(_minus(ranges, others))


def _minus(ranges: Ranges, others: Ranges) -> Iterator[tuple[int, int]]:
    at = 0
    for start, end in ranges:
        while at < len(others) and others[at][1] <= start:
            at += 1
        low = start
        for other_start, other_end in others[at:]:
            if other_start >= end:
                break
            if low < other_start:
                yield low, other_start
            low = max(low, other_end)
        if low < end:
            yield low, end


def within(ranges: Ranges, others: Ranges) -> Ranges:
    """The numbers of both sets."""
    return minus(ranges, minus(ranges, others))


def between(ranges: Ranges, start: int, end: int) -> Ranges:
    """The numbers of a set in [start, end)."""
    return within(ranges, ((start, end),)) if start < end else ()


def numbers_of(ranges: Ranges) -> Iterator[int]:
    """Each number, ascending."""
    for start, end in ranges:
        yield from range(start, end)


def count(ranges: Ranges) -> int:
    """How many numbers."""
    return sum(end - start for start, end in ranges)


def inclusive(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges whose ends are included, as a set."""
    return merged((first, last + 1) for first, last in ranges)
