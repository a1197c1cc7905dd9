"""The n-th smallest or largest of values that come in pieces, in memory for about n of them.

What is kept is cut down to n values whenever `SPARE_VALUES` more have come, by a selection that is
linear in what it looks at (Hoare's quickselect, as `numpy.partition` has it): a few looks at each
value, however many there are.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

#: Kept beside the n that are wanted: 8 MiB, and few selections.
SPARE_VALUES = 1 << 20


def ranked(pieces: Iterable[Ints], rank: int, *, largest: bool = False) -> int | None:
    """The value of this rank, counted from 1; None: there are fewer values.

    Args:
        pieces: the values, in any order.
        rank: 1 is the smallest, or the largest.
        largest: whether ranks begin at the largest.
    """
    # Of complements the order is turned round, and none of them overflows.
    kept: list[Ints] = []
    count = 0
    for piece in pieces:
        kept.append(~piece if largest else piece)
        count += len(piece)
        if count >= rank + SPARE_VALUES:
            kept = [np.partition(np.concatenate(kept), rank - 1)[:rank]]
            count = rank
    if count < rank:
        return None
    found = int(np.partition(np.concatenate(kept), rank - 1)[rank - 1])
    return ~found if largest else found
