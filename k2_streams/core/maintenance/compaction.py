"""Which small files of a day become one larger file.

A file is rewritten only together with enough smaller ones, as in size-tiered merge trees: each
rewrite of a row about doubles the file that it is in, so a day of commits costs a logarithm of
rewrites and not one per commit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

#: Below this share of the target a file may be compacted once more.
SMALL_SHARE = 0.75
#: An open day waits until it has so many files: those of a minute or two.
OPEN_DAY_FILES = 8
#: The largest file of a group has at most so many times the bytes of all others together: while
#: commits come, and when the day is over and only late rows still do.
OPEN_DAY_RATIO = 1
CLOSED_DAY_RATIO = 32
#: Of one group: each has a footer in memory while the group is rewritten.
MAX_GROUP_FILES = 200
#: Groups of many small files have at most so many rows, which are then sorted in one piece. Each
#: file's only row group would otherwise be decoded once for every piece.
ONE_PIECE_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A data file of a table, as a manifest describes it."""

    path: str
    day: int  # since 1970
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CompactionPolicy:
    """How large files become, and how many of a day that is open become one."""

    target_bytes: int = 256 << 20
    open_day_files: int = OPEN_DAY_FILES

    @property
    def small_bytes(self) -> int:
        """Files below this may be compacted."""
        return int(self.target_bytes * SMALL_SHARE)


def next_group(
    candidates: Iterable[Candidate], today: int, policy: CompactionPolicy
) -> tuple[Candidate, ...]:
    """The files to be replaced by one, all of one day, smallest first; none: nothing is to be done.

    Every group has two files or more, so the number of files falls with each and the end is
    reached. Closed days come first, the oldest first: they need it once.

    Args:
        candidates: the live files of the table.
        today: the day that is open, since 1970; later ones are open, too.
        policy: how large files become.
    """
    by_day: dict[int, list[Candidate]] = {}
    for one in candidates:
        if one.size_bytes < policy.small_bytes:
            by_day.setdefault(one.day, []).append(one)
    for day in sorted(by_day):
        ascending = sorted(by_day[day], key=lambda one: (one.size_bytes, one.path))
        group = _group(ascending, is_open=day >= today, policy=policy)
        if group:
            return tuple(group)
    return ()


def first_round(
    candidates: Iterable[Candidate], today: int, policy: CompactionPolicy
) -> list[tuple[Candidate, ...]]:
    """The groups of files that are there now; what they become may be grouped once more."""
    left, groups = list(candidates), []
    while group := next_group(left, today, policy):
        groups.append(group)
        gone = {one.path for one in group}
        left = [one for one in left if one.path not in gone]
    return groups


def _group(
    ascending: Sequence[Candidate], *, is_open: bool, policy: CompactionPolicy
) -> Sequence[Candidate]:
    """The longest beginning that may become one file."""
    least, ratio = (policy.open_day_files, OPEN_DAY_RATIO) if is_open else (2, CLOSED_DAY_RATIO)
    sizes = [0, *accumulate(one.size_bytes for one in ascending)]
    rows = [0, *accumulate(one.rows for one in ascending)]
    possible = [
        count
        for count in range(least, min(len(ascending), MAX_GROUP_FILES) + 1)
        if sizes[count] <= policy.target_bytes
        and ascending[count - 1].size_bytes <= ratio * sizes[count - 1]
    ]
    in_one_piece = [
        count for count in possible if count >= OPEN_DAY_FILES and rows[count] <= ONE_PIECE_ROWS
    ]
    return ascending[: max(in_one_piece or possible, default=0)]
