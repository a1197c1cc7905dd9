"""Ranges of sort keys, by which files that do not fit into memory are merged piece by piece.

A key is the values of the sort columns, compared from the left as Python compares tuples. Text is
ordered by code points, which is also the order of its bytes in UTF-8 and of Parquet's statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SortKey = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Keys from `low` on and below `high`; None is no bound."""

    low: SortKey | None = None
    high: SortKey | None = None

    def may_hold(self, least: SortKey, greatest: SortKey) -> bool:
        """Whether keys between these two, both included, can lie in it."""
        return not (
            (self.low is not None and greatest < self.low)
            or (self.high is not None and least >= self.high)
        )

    def select(self, rows: pa.Table, columns: Sequence[str]) -> pa.Table:
        """The rows whose key lies in it."""
        if self.low is None and self.high is None:
            return rows
        inside = np.ones(rows.num_rows, bool)
        if self.low is not None:
            inside &= _from(rows, columns, self.low)
        if self.high is not None:
            inside &= ~_from(rows, columns, self.high)
        return rows if inside.all() else rows.filter(pa.array(inside))


def ranges_of(sample: Sequence[SortKey], count: int) -> list[KeyRange]:
    """Up to `count` ranges that hold every key once, with about as many of the sample's each."""
    ordered = sorted(sample)
    cuts = sorted(
        {ordered[at * len(ordered) // count] for at in range(1, count)} if ordered else ()
    )
    return [KeyRange(low, high) for low, high in zip([None, *cuts], [*cuts, None], strict=True)]


def _from(rows: pa.Table, columns: Sequence[str], key: SortKey) -> np.ndarray:
    """Which rows have this key or a later one."""
    later = np.ones(rows.num_rows, bool)
    for name, value in zip(reversed(columns), reversed(key), strict=True):
        column = rows[name]
        above, equal = (
            compare(column, pa.scalar(value, column.type)).to_numpy()
            for compare in (pc.greater, pc.equal)
        )
        later = above | (equal & later)
    return later
