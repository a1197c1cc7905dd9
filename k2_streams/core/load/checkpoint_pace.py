"""How long a task waits between two checkpoints: short while there is room, long under load.

A checkpoint costs the same for few records as for many. So its interval follows what checkpoints
take: where they are quick, rows are visible soon; where they are slow, since broker or machine
have much to do, fewer of them leave more of both for records. A task that is behind has the longest
interval: nobody sees its rows sooner by it.
"""

from dataclasses import dataclass

#: An interval is so many times as long as a checkpoint takes: else they would follow each other
#: without a pause, and many partitions would do nothing else.
INTERVALS_PER_CHECKPOINT = 2.0
#: Weight of the newest checkpoint: one that was slow by chance changes little.
NEWEST_WEIGHT = 0.25


@dataclass(frozen=True, slots=True)
class PaceBounds:
    """Of the interval between two checkpoints."""

    shortest_s: float = 0.05
    longest_s: float = 0.3


DEFAULT_PACE = PaceBounds()


class CheckpointPace:
    """The interval of one task.

    Args:
        bounds: of it.
    """

    def __init__(self, bounds: PaceBounds = DEFAULT_PACE) -> None:
        self._bounds = bounds
        self._mean_s = bounds.shortest_s / INTERVALS_PER_CHECKPOINT

    def took(self, seconds: float) -> None:
        """A checkpoint was committed, after so long."""
        self._mean_s += NEWEST_WEIGHT * (seconds - self._mean_s)

    def interval_s(self, *, is_behind: bool) -> float:
        """Between the beginnings of two checkpoints.

        Args:
            is_behind: more records wait than the task processes at once.
        """
        bounds = self._bounds
        if is_behind:
            return bounds.longest_s
        wanted_s = INTERVALS_PER_CHECKPOINT * self._mean_s
        return min(max(wanted_s, bounds.shortest_s), bounds.longest_s)
