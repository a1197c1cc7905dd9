"""Where the time of an answer went."""

from collections.abc import Iterator
from contextlib import contextmanager

from k2_streams import traces
from k2_streams.clock import SYSTEM_CLOCK, Clock


class Stopwatch:
    """Milliseconds by stage, and in all."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._start_s = clock.monotonic()
        self.stages_ms: dict[str, float] = {}

    @property
    def elapsed_ms(self) -> float:
        """Since it was made."""
        return round((self._clock.monotonic() - self._start_s) * 1e3, 3)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage, which is a span of the request's trace."""
        before_s = self._clock.monotonic()
        try:
            with traces.span(name):
                yield
        finally:
            spent_ms = (self._clock.monotonic() - before_s) * 1e3
            self.stages_ms[name] = round(self.stages_ms.get(name, 0.0) + spent_ms, 3)
