"""What goes on for as long as an incident lasts, in a thread of its own."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

from deploy.runbooks.scene import Scene

#: Begins an incident, and ends what a runbook tells people to end outside of K2.
Happening = Callable[[Scene], AbstractContextManager[None]]
_ROUND_S = 0.25


@contextmanager
def again_and_again(once: Callable[[int], None]) -> Iterator[None]:
    """Call it with the number of the round, until the block ends; what it raises, the end does."""
    ended = threading.Event()

    def work() -> None:
        number = 0
        while not ended.wait(_ROUND_S):
            once(number)
            number += 1

    with ThreadPoolExecutor(1) as thread:
        rounds = thread.submit(work)
        try:
            yield
        finally:
            ended.set()
        rounds.result()
