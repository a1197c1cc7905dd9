"""Turns of queries: light ones and heavy ones each have a lane, so that light ones pass heavy ones.

A turn is taken before a query does anything, and given back when its rows are there. A query to
files in an object store has lanes of its own: those to the tail alone do not wait for a store.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.core.load.admission import Lane, Refused, is_heavy
from k2_streams.query.errors import BusyError

#: Queries that run at a time: two light ones, since one may wait for the lake's plan while the
#: other computes; one heavy one, which keeps both cores busy by itself.
LIGHT_TURNS = 2
HEAVY_TURNS = 1
#: A query that would wait for longer than this is refused at once: with its own work it stays well
#: within the 30 s of an answer.
PATIENCE_S = 10.0
#: A query that was admitted and waits for so long after all is refused too.
LONGEST_WAIT_S = 1.5 * PATIENCE_S
#: In each lane.
MAX_WAITING = 64
#: What a unit of work (a row of an answer) takes until it is learned: 100,000 rows in 2 s.
FIRST_UNIT_S = 2e-5


class Turns:
    """Gives turns to queries. For one event loop."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lanes = {
            (heavy, far): Lane[asyncio.Future[None]](
                HEAVY_TURNS if heavy else LIGHT_TURNS,
                patience_s=PATIENCE_S,
                max_waiting=MAX_WAITING,
                unit_s=FIRST_UNIT_S,
            )
            for heavy in (False, True)
            for far in (False, True)
        }

    @asynccontextmanager
    async def take(self, units: int, *, far: bool = False) -> AsyncIterator[None]:
        """A turn for so much work, for as long as the block runs.

        Args:
            units: of `core.load.admission.units_of`.
            far: the query reads from an object store.

        Raises:
            BusyError: it would wait for longer than it may; nothing was done for it.
        """
        lane = self._lanes[is_heavy(units), far]
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        found = lane.offer(turn, units, self._clock.monotonic())
        if isinstance(found, Refused):
            raise BusyError(
                f"{lane.running} queries run and {lane.waiting} wait, for {found.wait_s:.0f} s of "
                "work: ask for less, or again later",
                found.retry_after_s,
            )
        worked = False
        try:
            if not found:
                await self._wait(turn)
            yield
            worked = True
        finally:
            following = lane.leave(turn, self._clock.monotonic(), learn=worked)
            while following is not None and following.done():  # it was cancelled meanwhile
                following = lane.leave(following, self._clock.monotonic(), learn=False)
            if following is not None:
                following.set_result(None)

    @staticmethod
    async def _wait(turn: "asyncio.Future[None]") -> None:
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await turn
        except TimeoutError as error:
            raise BusyError(
                f"no turn within {LONGEST_WAIT_S:.0f} s: ask for less, or again later", PATIENCE_S
            ) from error
