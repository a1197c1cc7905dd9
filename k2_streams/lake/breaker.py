"""The circuit breaker around what the lake stands on: for all of a worker who call it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.core.load import backoff, circuit_breaker
from k2_streams.core.load.circuit_breaker import Breaker, BreakerPolicy, BreakerState, CallOutcome
from k2_streams.lake.errors import LakeError, LakeUnavailableError

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

#: A lake that is away is asked again after up to 1, 2, 4 ... seconds, at the most this many apart.
RETRY_S_MIN, RETRY_S_MAX = 1.0, 30.0


class BreakerOpenError(LakeUnavailableError):
    """The breaker is open: nobody was asked."""

    def __init__(self, state: BreakerState, retry_after_s: float) -> None:
        super().__init__(
            f"the lake failed repeatedly: its circuit breaker is {state.value} for another "
            f"{retry_after_s:.1f} s"
        )
        self.retry_after_s = retry_after_s


class Guard:
    """Counts what calls of the lake say, and makes none while the breaker is open.

    For one event loop. Any answer of the lake but `LakeUnavailableError` is a success: a lake that
    refuses a batch is there.

    Args:
        policy: when the state changes.
        clock: times the states.
        chance: from 0 to 1, so that pauses of several workers differ.
        on_change: told of each new state.
        name: of what is called, in the log.
    """

    def __init__(
        self,
        policy: BreakerPolicy | None = None,
        clock: Clock = SYSTEM_CLOCK,
        *,
        chance: Callable[[], float] = lambda: 1.0,
        on_change: Callable[[BreakerState], None] = lambda _: None,
        name: str = "lake",
    ) -> None:
        self._name = name
        self.policy = policy or BreakerPolicy()
        self._clock = clock
        self._chance = chance
        self._on_change = on_change
        self._breaker = Breaker(since_s=clock.monotonic())

    @property
    def state(self) -> BreakerState:
        """As of the last call."""
        return self._breaker.state

    @property
    def failures(self) -> int:
        """In a row, while closed."""
        return self._breaker.failures

    @property
    def since_s(self) -> float:
        """Seconds since the state began."""
        return self._clock.monotonic() - self._breaker.since_s

    @property
    def retry_after_s(self) -> float:
        """When a call may be let through, at the earliest."""
        now_s = self._clock.monotonic()
        return circuit_breaker.retry_after_s(self._breaker, now_s, self.policy)

    def pause_s(self, attempt: int, at_least_s: float = 0.0) -> float:
        """How long to wait after so many attempts (from 1) that found the lake away."""
        return at_least_s + backoff.wait_s(attempt, RETRY_S_MIN, RETRY_S_MAX, self._chance())

    async def call(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """The answer of `work`, which calls the lake.

        Raises:
            BreakerOpenError: it was not called.
            LakeError: as it says.
        """
        now_s = self._clock.monotonic()
        breaker, allowed = circuit_breaker.ask(self._breaker, now_s, self.policy)
        self._become(breaker)
        if not allowed:
            raise BreakerOpenError(self.state, self.retry_after_s)
        outcome = CallOutcome.UNKNOWN
        try:
            result = await work()
            outcome = CallOutcome.SUCCESS
        except LakeUnavailableError:
            outcome = CallOutcome.FAILURE
            raise
        except LakeError:
            outcome = CallOutcome.SUCCESS
            raise
        finally:
            now_s = self._clock.monotonic()
            self._become(
                circuit_breaker.answered(self._breaker, breaker.period, outcome, now_s, self.policy)
            )
        return result

    def _become(self, breaker: Breaker) -> None:
        before, self._breaker = self._breaker, breaker
        if breaker.state is not before.state:
            log.warning(
                "breaker",
                of=self._name,
                state=breaker.state.value,
                previous=before.state.value,
            )
            self._on_change(breaker.state)
