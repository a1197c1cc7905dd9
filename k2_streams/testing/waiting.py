"""Waiting for what another process does, in one loop with a deadline and a text for what."""

import time
from collections.abc import Callable

#: Default deadline: a busy machine is slow, and what is slow is not wrong.
WAIT_TIMEOUT_S = 180.0
#: Between two looks: short beside what a process takes, and cheap enough.
POLL_S = 0.05


class StuckError(Exception):
    """A condition did not become true before its deadline, or cannot become true any more."""


def wait_until(
    condition: Callable[[], object],
    what: str,
    timeout_s: float = WAIT_TIMEOUT_S,
    poll_s: float = POLL_S,
) -> float:
    """Wait until a condition is true; the moment (`time.monotonic`) at which it was seen.

    Args:
        condition: asked at once, then every `poll_s`; what it raises ends the wait.
        what: for the error text.
        timeout_s: the deadline, from now.
        poll_s: between two questions.

    Raises:
        StuckError: it was not true by the deadline.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise StuckError(f"not within {timeout_s:g} s: {what}")
        time.sleep(poll_s)
    return time.monotonic()
