"""How fast a producer sends: a rate, or steps of rates and ramps between them.

1000                  for as long as it lasts
1x:10,10x:60,1x:30    ten seconds at the capacity, a minute at ten times as much, thirty at it
0..10x:20,10x:5       from nothing to ten times the capacity within twenty seconds
"""

import math
from dataclasses import dataclass

#: How often a sender looks whether the rate is another one: a ramp then has steps no one sees.
LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class PaceStep:
    """From one rate to another, evenly, in so many seconds; `math.inf` of a rate that stays."""

    seconds: float
    first: float
    last: float

    def owed(self, elapsed_s: float) -> float:
        """Messages until so many seconds after its beginning."""
        at_s = min(elapsed_s, self.seconds)
        return at_s * (self.first + self.rate(at_s)) / 2

    def rate(self, elapsed_s: float) -> float:
        """Messages per second at that moment."""
        return self.first + (self.last - self.first) * min(elapsed_s / self.seconds, 1.0)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how long. Without steps: as fast as possible.

    Args:
        steps: one after the other; then it is over.
        duration_s: at most.
    """

    steps: tuple[PaceStep, ...] = ()
    duration_s: float | None = None

    @property
    def length_s(self) -> float:
        """How long it lasts; infinite: until something else ends it."""
        steps_s = sum(step.seconds for step in self.steps) if self.steps else math.inf
        return steps_s if self.duration_s is None else min(steps_s, self.duration_s)

    @property
    def messages(self) -> int | None:
        """How many in all; None: it is not known."""
        if not self.steps or math.isinf(self.length_s):
            return None
        return max(1, int(self.owed(self.length_s)))

    def owed(self, elapsed_s: float) -> float:
        """Messages that should have been sent by then."""
        total = 0.0
        for step in self.steps:
            total += step.owed(elapsed_s)
            elapsed_s -= step.seconds
            if elapsed_s <= 0:
                break
        return total

    def rate(self, elapsed_s: float) -> float:
        """Messages per second at that moment."""
        for step in self.steps:
            if elapsed_s < step.seconds:
                return step.rate(elapsed_s)
            elapsed_s -= step.seconds
        return 0.0


class NoCapacityError(ValueError):
    """A multiple of a capacity that is not known."""


def steady(rate: float, duration_s: float | None = None) -> Pace:
    """The same rate all the time; 0 is as fast as possible."""
    return Pace((PaceStep(math.inf, rate, rate),) if rate else (), duration_s)


def parse(text: str, capacity: int | None, duration_s: float | None = None) -> Pace:
    """A pace, as the module shows it.

    Args:
        text: what was given.
        capacity: one `x`; None: there is none.
        duration_s: at most.

    Raises:
        NoCapacityError: a multiple without a capacity.
        ValueError: it is no pace.
    """
    if ":" not in text:
        return steady(_rate(text, capacity), duration_s)
    steps = []
    for part in text.split(","):
        rates, _, seconds = part.partition(":")
        first, ramp, last = rates.partition("..")
        begin = _rate(first, capacity)
        step = PaceStep(float(seconds), begin, _rate(last, capacity) if ramp else begin)
        if not 0 < step.seconds < math.inf:
            raise ValueError(part)
        steps.append(step)
    if not any(step.first or step.last for step in steps):
        raise ValueError(text)
    return Pace(tuple(steps), duration_s)


def _rate(text: str, capacity: int | None) -> float:
    number = text.removesuffix("x")
    rate = float(number)
    if number != text:
        if capacity is None:
            raise NoCapacityError(text)
        rate *= capacity
    if not 0 <= rate < math.inf:
        raise ValueError(text)
    return rate
