"""How a subscription goes on from end to end, without a look at files that it has behind it.

Offsets alone decide which rows are given. But a file says of its rows only when they were accepted,
so a lower bound of that time is carried along, and it must be true of every row that is left: of
those that are known to exist (below `goal`) as of those that nobody here has read yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

#: Nothing is known of when rows were accepted.
ANY_TIME = 0


@dataclass(frozen=True, slots=True)
class Leg:
    """The way to offsets that are known to exist.

    Attributes:
        goal: per partition, where it ends.
        floor: no row that is left of this leg has a smaller value in the column of the order: of a
            log's order the accepted time in us, of event time that in ns.
        beyond: the same of all rows at and behind `goal`.
    """

    goal: Mapping[int, int]
    floor: int = ANY_TIME
    beyond: int = ANY_TIME

    @property
    def floor_of_rest(self) -> int:
        """No row that is left at all has a smaller value."""
        return min(self.floor, self.beyond)

    def at(self, floor: int) -> "Leg":
        """The leg when every row below `floor` is given."""
        return replace(self, floor=max(floor, self.floor))

    def following(self, goal: Mapping[int, int], beyond: int) -> "Leg":
        """The next leg, from this one's goal.

        Args:
            goal: where it ends.
            beyond: as the attribute, of that goal.
        """
        return Leg(goal, self.beyond, beyond)
