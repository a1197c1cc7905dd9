"""A circuit breaker: what failed again and again is not called for a while, then tried again.

                     `failures` in a row
              CLOSED -------------------> OPEN <------------.
                 ^                          |               |
                 |                          | `open_s` over |
                 |  `successes` in a row    v               | a trial failed
                 '---------------------- HALF_OPEN ---------'

CLOSED lets every call through, OPEN none, HALF_OPEN one at a time: the trials.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace


class BreakerState(enum.Enum):
    """See the drawing above."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


TRANSITIONS: Mapping[BreakerState, frozenset[BreakerState]] = {
    BreakerState.CLOSED: frozenset({BreakerState.OPEN}),
    BreakerState.OPEN: frozenset({BreakerState.HALF_OPEN}),
    BreakerState.HALF_OPEN: frozenset({BreakerState.CLOSED, BreakerState.OPEN}),
}

#: A trial that is refused because another one is under way may ask again after this long.
TRIAL_AGAIN_S = 1.0


class CallOutcome(enum.Enum):
    """How a call that was let through ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"  # cancelled by its caller: it says nothing of what was called


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When the state changes.

    Attributes:
        failures: so many in a row open it.
        open_s: it stays open this long.
        successes: so many trials in a row close it.
    """

    failures: int = 5
    open_s: float = 60.0
    successes: int = 2


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state, and what has been counted in it.

    Attributes:
        state: see the module.
        since_s: when it began, of a monotonic clock.
        period: changes so far. A call's outcome counts only in the period in which it began: an
            answer that comes late says nothing of now.
        failures: in a row, while closed.
        successes: trials in a row, while half-open.
        on_trial: whether a trial is under way.
    """

    state: BreakerState = BreakerState.CLOSED
    since_s: float = 0.0
    period: int = 0
    failures: int = 0
    successes: int = 0
    on_trial: bool = False


def ask(breaker: Breaker, now_s: float, policy: BreakerPolicy) -> tuple[Breaker, bool]:
    """Whether a call may be made now; one that may must be `answered`."""
    match breaker.state:
        case BreakerState.CLOSED:
            return breaker, True
        case BreakerState.OPEN:
            if now_s - breaker.since_s < policy.open_s:
                return breaker, False
            return replace(_to(breaker, BreakerState.HALF_OPEN, now_s), on_trial=True), True
        case BreakerState.HALF_OPEN:
            if breaker.on_trial:
                return breaker, False
            return replace(breaker, on_trial=True), True


def answered(
    breaker: Breaker, period: int, outcome: CallOutcome, now_s: float, policy: BreakerPolicy
) -> Breaker:
    """What a call that began in `period` says of the state."""
    if period != breaker.period:
        return breaker
    trial = breaker.state is BreakerState.HALF_OPEN
    if outcome is CallOutcome.UNKNOWN:
        return replace(breaker, on_trial=False)
    if outcome is CallOutcome.FAILURE:
        failures = breaker.failures + 1
        if trial or failures >= policy.failures:
            return _to(breaker, BreakerState.OPEN, now_s)
        return replace(breaker, failures=failures)
    successes = breaker.successes + 1
    if trial and successes >= policy.successes:
        return _to(breaker, BreakerState.CLOSED, now_s)
    return replace(breaker, failures=0, successes=successes if trial else 0, on_trial=False)


def retry_after_s(breaker: Breaker, now_s: float, policy: BreakerPolicy) -> float:
    """When a call that was refused may be made, at the earliest."""
    if breaker.state is BreakerState.OPEN:
        return max(breaker.since_s + policy.open_s - now_s, 0.0)
    return TRIAL_AGAIN_S if breaker.on_trial else 0.0


def _to(breaker: Breaker, state: BreakerState, now_s: float) -> Breaker:
    if state not in TRANSITIONS[breaker.state]:
        raise AssertionError(f"breaker: {breaker.state.value} to {state.value}")
    return Breaker(state, now_s, breaker.period + 1)
