"""How a worker behaves under load: five levels, what drives them, what each does without.

                 lag, memory: up at once, to the highest level that is called for
        .------------.-----------------.------------------.--------------.
        |            v                 v                  v              v
     NORMAL <----- SOFT <--------- GRACEFUL <-------- AGGRESSIVE <-- CIRCUIT_BREAK
                 no enrichment    tier 3 waits     tiers 2 and 3 wait   source paused
        one level down: calm for this level, and `cool_down_s` after the last change

Lag alone goes up to AGGRESSIVE: a paused source cannot shrink its lag, so CIRCUIT_BREAK comes from
memory or from a downstream that takes nothing more.
"""

import enum
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

#: One level down only below this share of its own triggers: a level is not left where it began.
CALM_LAG = 0.5
CALM_MEMORY = 0.9
#: What the default triggers are made for; a lower capacity scales those in records.
REFERENCE_RATE = 100_000


class Level(enum.IntEnum):
    """What a worker does without, from nothing to the source."""

    NORMAL = 0
    SOFT = 1  # rows are not enriched; a query does it
    GRACEFUL = 2  # tier 3 is deferred
    AGGRESSIVE = 3  # tiers 2 and 3 are deferred
    CIRCUIT_BREAK = 4  # nothing more is read; queries and the lake go on


#: Up to any level at once, down one at a time.
TRANSITIONS: Mapping[Level, frozenset[Level]] = {
    level: frozenset(other for other in Level if other > level or other == level - 1)
    for level in Level
}


@dataclass(frozen=True, slots=True)
class Trigger:
    """A level is called for as soon as one of these is reached."""

    memory_share: float
    lag_records: float | None = None  # None: lag does not call for it
    lag_s: float | None = None


DEFAULT_TRIGGERS: Mapping[Level, Trigger] = {
    Level.SOFT: Trigger(0.70, 100_000, 5.0),
    Level.GRACEFUL: Trigger(0.80, 500_000, 10.0),
    Level.AGGRESSIVE: Trigger(0.90, 1_000_000, 20.0),
    Level.CIRCUIT_BREAK: Trigger(0.95),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """When levels change.

    Attributes:
        triggers: of every level but NORMAL; each at least as high as the one of the level below.
        cool_down_s: a level is kept this long at least before one is left downwards.
    """

    triggers: Mapping[Level, Trigger] = field(default_factory=lambda: DEFAULT_TRIGGERS)
    cool_down_s: float = 30.0

    def scaled(self, rate: float | None) -> "Policy":
        """The policy of a worker whose capacity is capped: lag in records scales with it."""
        if rate is None:
            return self
        share = rate / REFERENCE_RATE
        triggers = {
            level: trigger
            if trigger.lag_records is None
            else replace(trigger, lag_records=trigger.lag_records * share)
            for level, trigger in self.triggers.items()
        }
        return replace(self, triggers=triggers)


@dataclass(frozen=True, slots=True)
class Signals:
    """What was measured.

    `lag_records` is everything that waits for a verdict: what the source holds and what was
    deferred. Left out of it, deferral alone would look like recovery.
    """

    lag_records: int = 0
    lag_s: float | None = None  # None: not known, or too little to say
    memory_share: float = 0.0
    downstream_full: bool = False


@dataclass(frozen=True, slots=True)
class Degradation:
    """The level, and since when (of a monotonic clock)."""

    level: Level
    since_s: float


def step(state: Degradation, signals: Signals, now_s: float, policy: Policy) -> Degradation:
    """The level after a measurement; the same object if it stays."""
    wanted = called_for(signals, policy)
    if wanted > state.level:
        return _to(state, wanted, now_s)
    rested = now_s - state.since_s >= policy.cool_down_s
    if state.level is not Level.NORMAL and rested and _is_calm(state.level, signals, policy):
        return _to(state, Level(state.level - 1), now_s)
    return state


def called_for(signals: Signals, policy: Policy) -> Level:
    """The highest level of which a trigger is reached."""
    if signals.downstream_full:
        return Level.CIRCUIT_BREAK
    reached = [
        level
        for level, trigger in policy.triggers.items()
        if signals.memory_share >= trigger.memory_share
        or _reaches(signals.lag_records, trigger.lag_records)
        or _reaches(signals.lag_s, trigger.lag_s)
    ]
    return max(reached, default=Level.NORMAL)


def defers(level: Level, tier: int) -> bool:
    """Whether records of a tier (1, 2, 3) are deferred."""
    if level >= Level.AGGRESSIVE:
        return tier >= 2
    return level is Level.GRACEFUL and tier >= 3


def reason(before: Level, after: Level, signals: Signals, policy: Policy) -> str:
    """Why the level changed, in a word."""
    if after < before:
        return "calm"
    if signals.downstream_full:
        return "downstream"
    return "memory" if signals.memory_share >= policy.triggers[after].memory_share else "lag"


def _is_calm(level: Level, signals: Signals, policy: Policy) -> bool:
    trigger = policy.triggers[level]
    return (
        not signals.downstream_full
        and signals.memory_share < CALM_MEMORY * trigger.memory_share
        and not _reaches(signals.lag_records, trigger.lag_records, CALM_LAG)
        and not _reaches(signals.lag_s, trigger.lag_s, CALM_LAG)
    )


def _reaches(found: float | None, trigger: float | None, share: float = 1.0) -> bool:
    return found is not None and trigger is not None and found >= share * trigger


def _to(state: Degradation, level: Level, now_s: float) -> Degradation:
    if level not in TRANSITIONS[state.level]:
        raise AssertionError(f"level {state.level.name} to {level.name}")
    return Degradation(level, now_s)


class LagClock:
    """Lag in seconds: what waits, over the rate at which it was worked in the last seconds.

    A rate says something only while there was work all the time, so it is measured from the moment
    from which on at least `floor_records` waited, over `window_s` at most; before `least_s` of such
    a time there is no answer. (An idle worker's rate is nothing, and its first record no overload.)
    """

    def __init__(self, floor_records: float, window_s: float = 10.0, least_s: float = 5.0) -> None:
        self._floor_records = floor_records
        self._window_s = window_s
        self._least_s = least_s
        self._samples: deque[tuple[float, int]] = deque()

    def measure(self, lag_records: int, worked: int, now_s: float) -> float | None:
        """Seconds until nothing waits, at the last rate; None: not known.

        Args:
            lag_records: what waits.
            worked: records worked so far; it never falls.
            now_s: of a monotonic clock.
        """
        if lag_records < self._floor_records:
            self._samples.clear()
            return None
        samples = self._samples
        samples.append((now_s, worked))
        while now_s - samples[0][0] > self._window_s:
            samples.popleft()
        elapsed_s = now_s - samples[0][0]
        if elapsed_s < self._least_s:
            return None
        done = worked - samples[0][1]
        return math.inf if done <= 0 else lag_records * elapsed_s / done
