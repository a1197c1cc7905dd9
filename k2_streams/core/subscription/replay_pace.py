"""When a row of a paced subscription is due: as far from the first one as it was then, or faster.

Rows are given in the order of the log or of event time, so a row that lies before the one given
last is due with it: pacing never turns the order round.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ReplayPace:
    """A clock that began when the first row was given.

    Attributes:
        speed: so many seconds of the rows pass in one second.
        origin_ns: the time of the first row.
        began_s: when it was given, on a clock that only grows.
        latest_ns: the largest time of the rows given.
    """

    speed: float
    origin_ns: int
    began_s: float
    latest_ns: int

    @classmethod
    def begun(cls, speed: float, first_ns: int, now_s: float) -> "ReplayPace":
        """The pace of rows of which the first is given now."""
        return cls(speed, first_ns, now_s, first_ns)

    def due_s(self, times_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """When the next rows are due, in their order; it never goes back."""
        highest = np.maximum.accumulate(np.maximum(times_ns, self.latest_ns))
        due: npt.NDArray[np.float64] = self.began_s + (highest - self.origin_ns) / 1e9 / self.speed
        return due

    def after(self, times_ns: npt.NDArray[np.int64]) -> "ReplayPace":
        """The pace when these rows are given."""
        latest_ns = max(self.latest_ns, int(times_ns.max(initial=self.latest_ns)))
        return ReplayPace(self.speed, self.origin_ns, self.began_s, latest_ns)
