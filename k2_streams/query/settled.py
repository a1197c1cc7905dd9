"""When what an answer says of its gaps is not expected to change: only then may it be kept.

The rows of a pinned answer never change. What is known of gaps does: a gap is known when a later
number of its scope has come, and is told when no redundant line is expected to fill it any more.
So the answer must be complete, and

1. of one symbol of one exchange, and a range that ends: of others it is not known how far each
   scope has come,
2. old enough that what was sent before it has been received by the slowest line,
3. of a node that has read the events of all that its tail holds, where no gap is held for a line,
4. with a row of the symbol at or behind the range's end: a gap that opens later lies behind it.

A number below its session's first, or of an older session, can still say that something is
missing. It is the one thing that a reader who keeps an answer for a day does not hear of.
"""

from k2_streams.core.lines.step import HOLD_MS
from k2_streams.query.gaps import KnownGaps
from k2_streams.query.read_point import ReadPoint
from k2_streams.query.selection import Selection
from k2_streams.query.token import Token

_MS = 1_000_000


def may_be_settled(
    token: Token, selection: Selection, read_point: ReadPoint, gaps: KnownGaps, now_ns: int
) -> bool:
    """Whether conditions 1 to 3 hold."""
    named = len(selection.symbols) == len(selection.exchanges) == 1
    view = read_point.view
    ends = {number: part.end for number, part in view.partitions.items()}
    return (
        named
        and selection.end_ns is not None
        and now_ns - token.at_ns > HOLD_MS * _MS
        and not view.holds_gaps
        and all(ends.get(number, 0) >= end for number, end in read_point.cut.next.items())
        and gaps.covers(ends)
    )
