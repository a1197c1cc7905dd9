"""How many records a checkpoint may have: fewer after one that was slow, or failed.

A checkpoint has a time limit. On a machine that has much to do, or behind a slow broker, one of all
that fits takes longer; its task fails, is taken over, gathers as much again and fails again. So the
next one is smaller, down to what is committed in time, and grows again with those that are quick.
"""

#: No checkpoint is smaller: the fixed cost of so few records is most of what they take.
LEAST_RECORDS = 512
#: Shares of the time limit: above the first a checkpoint was slow, below the second quick.
SLOW_SHARE, QUICK_SHARE = 0.5, 0.1
#: What a checkpoint that failed, was slow, or was quick makes of the next one's size.
AFTER_FAILED, AFTER_SLOW, AFTER_QUICK = 0.25, 0.5, 2.0


class CheckpointSize:
    """Of one partition, whichever of this worker's tasks has it.

    Args:
        most: records, where every checkpoint is quick.
        limit_s: time limit of a checkpoint.
    """

    def __init__(self, most: int, limit_s: float) -> None:
        self._most = most
        self._limit_s = limit_s
        self._records = most

    @property
    def records(self) -> int:
        """Of the next checkpoint at most."""
        return self._records

    def took(self, seconds: float) -> None:
        """A checkpoint was committed, after so long."""
        if seconds > SLOW_SHARE * self._limit_s:
            self._change(AFTER_SLOW)
        elif seconds < QUICK_SHARE * self._limit_s:
            self._change(AFTER_QUICK)

    def failed(self) -> None:
        """A checkpoint was not committed within its time."""
        self._change(AFTER_FAILED)

    def _change(self, factor: float) -> None:
        least = min(LEAST_RECORDS, self._most)
        self._records = min(max(int(self._records * factor), least), self._most)
