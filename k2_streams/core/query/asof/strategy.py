"""Which quote belongs to a trade, and whether a better one may be missing.

A trade at time t has, within the tolerance,

    backward    the last quote at or before t
    forward     the first quote at or after t
    nearest     whichever of the two is nearer; of two as near the one before

"Last" and "first" go by the total order of rows, so that quotes at one moment give one answer.
Without `allow_exact_matches` a quote at t itself is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from k2_streams.core.sequence.gaps import Lacking

Times = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Strategy = Literal["backward", "forward", "nearest"]
_FIRST, _LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class AsOfRule:
    """How trades find their quotes.

    Attributes:
        strategy: as the module says.
        tolerance_ns: the longest time between the two.
        allow_exact_matches: whether a quote at the time of the trade is one.
    """

    strategy: Strategy = "backward"
    tolerance_ns: int = 3_600 * 10**9
    allow_exact_matches: bool = True

    @property
    def looks_back(self) -> bool:
        """Whether quotes before a trade are candidates."""
        return self.strategy != "forward"

    @property
    def looks_ahead(self) -> bool:
        """Whether quotes after a trade are candidates."""
        return self.strategy != "backward"


def chosen(rule: AsOfRule, times: Times, before: Times, after: Times) -> tuple[Flags, Flags]:
    """Which trades take the quote before them, and which the one after.

    Args:
        rule: of the join.
        times: of the trades.
        before: of the nearest candidates before them; the least integer: none.
        after: the same after them; the greatest integer: none.
    """
    back = before >= times - rule.tolerance_ns
    ahead = after <= times + rule.tolerance_ns
    # Where there is none the difference may wrap around; it is not looked at then.
    nearer = times - before <= after - times
    takes_back = back & (~ahead | nearer)
    return takes_back, ahead & ~takes_back


def none_before(count: int) -> Times:
    """Of trades without a candidate before them."""
    return np.full(count, _FIRST, np.int64)


def none_after(count: int) -> Times:
    """Of trades without a candidate after them."""
    return np.full(count, _LAST, np.int64)


def undoubted(
    rule: AsOfRule, times: Times, found: Times, has_match: Flags, lacking: Iterable[Lacking]
) -> Flags:
    """Of which trades no quote may be missing that would have been taken in place of what was.

    So a quote that is old because nothing was quoted since is told from one that is old because
    what was quoted since is missing.

    Args:
        rule: of the join.
        times: of the trades, of one symbol.
        found: of the quote that each took.
        has_match: whether it took one.
        lacking: what is missing of the quotes of the symbol.
    """
    starts, ends = _doubtful(rule, times, found, has_match)
    complete = np.ones(len(times), np.bool_)
    for previous_ns, next_ns, _ in lacking:
        earliest_ns, latest_ns = previous_ns, next_ns
        if previous_ns is not None and next_ns is not None:
            earliest_ns, latest_ns = sorted((previous_ns, next_ns))
        meets = np.ones(len(times), np.bool_)
        if earliest_ns is not None:
            meets &= earliest_ns < ends
        if latest_ns is not None:
            meets &= latest_ns >= starts
        complete &= ~meets
    return complete


def _doubtful(rule: AsOfRule, times: Times, found: Times, has_match: Flags) -> tuple[Times, Times]:
    """The range [start, end) of times of which a missing quote would have been taken."""
    is_before = found <= times
    reach = np.where(has_match, np.abs(times - found), rule.tolerance_ns)
    # Behind a match that lies before the trade, and before one that lies behind it: of two as near
    # the one before is taken.
    starts = times - reach + (has_match & is_before)
    ends = times + np.maximum(reach, 1) + ~has_match
    if not rule.looks_ahead:
        ends = times + int(rule.allow_exact_matches)
    if not rule.looks_back:
        starts = times + int(not rule.allow_exact_matches)
    return starts, ends
