"""Work on a thread that can be told to stop at any moment, asked for from an event loop."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, Protocol, TypeVar

from k2_streams.clock import Clock
from k2_streams.query.errors import QueryTimeoutError

_T = TypeVar("_T")
#: An interrupt that comes before a statement has begun is lost, so it is repeated.
_INTERRUPT_EVERY_S = 0.05


class Interruptible(Protocol):
    """What a job works with."""

    def interrupt(self) -> None:
        """End what runs; from any thread, any number of times."""


_S = TypeVar("_S", bound=Interruptible)


class Job(Generic[_S, _T]):
    """One piece of work with a session, on a thread of a pool.

    Args:
        pool: whose thread it runs on.
        work: to be done.
        session: gives what it works with, on that thread.
        timeout_s: from now on, the wait for a thread included.
        clock: of the limit.
    """

    def __init__(
        self,
        pool: Executor,
        work: Callable[[_S], _T],
        session: Callable[[], _S],
        timeout_s: float,
        clock: Clock,
    ) -> None:
        self._work = work
        self._open = session
        self._timeout_s = timeout_s
        self._deadline_s = clock.monotonic() + timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._session: _S | None = None
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        # What the thread logs carries the correlation id of the request that caused it.
        in_context = contextvars.copy_context().run
        self.future: asyncio.Future[_T] = self._loop.run_in_executor(pool, in_context, self._run)

    async def result(self) -> _T:
        """What it gives; whoever stops waiting for it stops it.

        Raises:
            QueryTimeoutError: it waited or worked longer than it may.
        """
        try:
            # Shielded: the thread can only be told to stop, and must be left to.
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(self.future)
        except TimeoutError as error:
            raise QueryTimeoutError(self._timeout_s) from error
        finally:
            if not self.future.done():
                self._stop()

    def _run(self) -> _T:
        with self._lock:
            if self._stopped or self._clock.monotonic() >= self._deadline_s:
                raise QueryTimeoutError(self._timeout_s, "wait for a worker")
            self._session = self._open()
        try:
            return self._work(self._session)
        finally:
            with self._lock:
                self._session = None

    def _stop(self) -> None:
        """Interrupt it until it is done."""
        with self._lock:
            self._stopped = True
            if self._session is not None:
                self._session.interrupt()
        if not self.future.done():
            self._loop.call_later(_INTERRUPT_EVERY_S, self._stop)
