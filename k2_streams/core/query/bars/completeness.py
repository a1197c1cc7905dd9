"""What each bar lacks, by the gaps of its symbol: *known to be empty* is not *unknown*."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from k2_streams.core.query.bars.grid import Grid
from k2_streams.core.sequence.gaps import Lacking


def missing_in(lacking: Iterable[Lacking], grid: Grid) -> npt.NDArray[np.int64]:
    """How many numbers may be missing of each bar.

    Numbers that lie between two messages count in each bar that the time between the two meets, as
    `core.sequence.gaps.meets` has it: where in it they lie is not known.
    """
    change = np.zeros(len(grid) + 1, np.int64)
    for previous_ns, next_ns, numbers in lacking:
        earliest_ns, latest_ns = previous_ns, next_ns
        if previous_ns is not None and next_ns is not None:
            earliest_ns, latest_ns = sorted((previous_ns, next_ns))
        first, last = 0, len(grid)
        if earliest_ns is not None:
            first = int(np.searchsorted(grid.ends_ns, earliest_ns, side="right"))
        if latest_ns is not None:
            last = int(np.searchsorted(grid.starts_ns, latest_ns, side="right"))
        if first < last:
            change[first] += numbers
            change[last] -= numbers
    return np.cumsum(change[:-1])
