"""Questions that wait for the tail to grow."""

import asyncio

from k2_streams.query.tail.store import Tail

_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Waiting:
    """Wakes whoever waits when the tail changes, on whatever thread it does."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._waiters: set[_Waiter] = set()
        tail.listen(self._wake)

    async def changed(self, version: int, timeout_s: float) -> bool:
        """Wait until the tail is no longer at `version`; False if time ran out first.

        The version must have been read before the view that turned out to be too short: a change
        between the two is then seen here at once.
        """
        loop = asyncio.get_running_loop()
        waiter: _Waiter = (loop, loop.create_future())
        self._waiters.add(waiter)
        try:
            if self._tail.version != version:
                return True
            async with asyncio.timeout(timeout_s):
                await waiter[1]
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for loop, future in tuple(self._waiters):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, future)


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
