"""Trades as corrected: which rows stand once cancels and corrections are applied.

A correction is a row that refers to the trade it changes, by the parts of its id. Rows that refer
to one another are one trade, whose root is what the first of them refers to: venues let a
correction refer to the trade as it was first reported, or to the correction before it, and both are
understood.

- A cancel is final, as in FIX: nothing of its trade stands, whatever else was or will be reported
  of it. So a correction of a cancelled trade has no effect, in whichever order the two arrive.
- Of several corrections the last one stands: one that another refers to is superseded by it; of
  those that are left the one with the highest number of the newest session, or, without numbers,
  the last accepted.
- A correction whose trade is not known states the trade by itself, and stands. A cancel of a trade
  that is not known has no effect until the trade is known. So what stands depends on which rows
  there are, not on the order of trade and correction.

Pure: the answer depends on the set of corrections and the places that they have in the log.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from k2_streams.core.records.identity import TradeId

CANCEL = "cancel"
CORRECT = "correct"

Place = tuple[int, int, int]  # in the log: partition, offset, row


class Correction(NamedTuple):
    """A row that refers to another."""

    own: TradeId | None  # what others may refer to it by; None: it has no id but its trade's
    refers_to: TradeId
    action: str  # CANCEL or CORRECT
    session: str
    sequence: int | None
    place: Place

    @property
    def identity(self) -> TradeId | Place:
        """What no other correction is called, unless it is the same one again."""
        return self.own or self.place


@dataclass(frozen=True, slots=True)
class Superseded:
    """The rows that do not stand: new trades by what they are called, corrections by place."""

    trades: frozenset[TradeId] = frozenset()  # some may not be known
    corrections: frozenset[Place] = frozenset()

    def __len__(self) -> int:
        """At most so many rows, unless a trade is there more than once."""
        return len(self.trades) + len(self.corrections)


NOTHING = Superseded()


def superseded(corrections: Iterable[Correction]) -> Superseded:
    """Every row that does not stand, cancels included."""
    ordered = sorted(corrections, key=lambda one: one.place)
    by_id = {one.identity: one for one in ordered}
    trades: dict[TradeId, list[Correction]] = {}
    for one in by_id.values():
        trades.setdefault(_root(one, by_id), []).append(one)
    gone: set[TradeId | Place] = set()
    for root, members in trades.items():
        gone.add(root)
        gone.update(one.identity for one in members)
        if all(one.action != CANCEL for one in members):
            gone.discard(_standing(members).identity)
    return Superseded(
        frozenset(one for one in gone if isinstance(one, TradeId)),
        frozenset(one.place for one in ordered if one.identity in gone),
    )


def _root(one: Correction, by_id: dict[TradeId | Place, Correction]) -> TradeId:
    """What the first of a chain refers to; of a chain that bites its tail, its least id."""
    seen: dict[TradeId, None] = {} if one.own is None else {one.own: None}
    at = one.refers_to
    while at in by_id:
        if at in seen:
            ids = list(seen)
            return min(ids[ids.index(at) :])
        seen[at] = None
        at = by_id[at].refers_to
    return at


def _standing(members: list[Correction]) -> Correction:
    """The last of a trade's corrections; `members` is in the order of their places."""
    referred = {one.refers_to for one in members}
    leaves = [one for one in members if one.own not in referred] or members
    first: dict[str, Place] = {}
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
