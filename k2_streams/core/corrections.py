"""Trades as corrected: which rows stand once cancels and corrections are applied.

A correction is a row that refers to the row it changes, by `message_id`. Rows that refer to one
another are one trade, whose root is what the first of them refers to: venues let a correction refer
to the trade as it was first reported, or to the correction before it, and both are understood.

- A cancel is final, as in FIX: nothing of its trade stands, whatever else was or will be said of
  it. So a correction of a cancelled trade has no effect, in whichever order the two arrive.
- Of several corrections the last one stands: one that another refers to is superseded by it; of
  those that are left the one with the highest number of the newest session, or, without numbers,
  the last accepted.
- A correction whose trade is not known states the trade by itself, and stands. A cancel of a trade
  that is not known has no effect until the trade is known. So what stands depends on which rows
  there are, not on the order of trade and correction.

Pure: the answer depends on the set of corrections and the places that they have in the log.
"""

from collections.abc import Iterable
from typing import NamedTuple

CANCEL = "cancel"
CORRECT = "correct"


class Correction(NamedTuple):
    """A row that refers to another."""

    message_id: str
    ref_message_id: str
    action: str  # CANCEL or CORRECT
    session: str
    sequence: int | None
    place: tuple[int, int, int]  # in the log


def superseded(corrections: Iterable[Correction]) -> set[str]:
    """The `message_id` of every row that does not stand, cancels included.

    Ids of trades that are not known may be among them.
    """
    by_id = {one.message_id: one for one in sorted(corrections, key=lambda one: one.place)}
    trades: dict[str, list[Correction]] = {}
    for one in by_id.values():
        trades.setdefault(_root(one, by_id), []).append(one)
    gone: set[str] = set()
    for root, members in trades.items():
        gone.add(root)
        gone.update(one.message_id for one in members)
        if all(one.action != CANCEL for one in members):
            gone.discard(_standing(members).message_id)
    return gone


def _root(one: Correction, by_id: dict[str, Correction]) -> str:
    """What the first of a chain refers to; of a chain that bites its tail, its least id."""
    seen = {one.message_id: None}
    at = one.ref_message_id
    while at in by_id:
        if at in seen:
            ids = list(seen)
            return min(ids[ids.index(at) :])
        seen[at] = None
        at = by_id[at].ref_message_id
    return at


def _standing(members: list[Correction]) -> Correction:
    """The last of a trade's corrections; `members` is in the order of their places."""
    referred = {one.ref_message_id for one in members}
    leaves = [one for one in members if one.message_id not in referred] or members
    first: dict[str, tuple[int, int, int]] = {}
    for one in members:
        first.setdefault(one.session, one.place)
    return max(
        leaves,
        key=lambda one: (
            first[one.session],
            -1 if one.sequence is None else one.sequence,
            one.place,
        ),
    )
