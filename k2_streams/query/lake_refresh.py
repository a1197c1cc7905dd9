"""Keeps a node's snapshot of the lake new, and its tail free of what that snapshot holds."""

import asyncio
import contextlib

import structlog

from k2_streams.query.errors import RetryLaterError
from k2_streams.query.read_point import ReadPoints

log = structlog.get_logger(__name__)

#: How often the lake's head is looked up: a commit comes every 10 s, and the tail's memory and the
#: catalog's load are all that depends on it. Answers do not: the tail has what the head lacks.
REFRESH_EVERY_S = 5.0


class LakeRefresh:
    """Looks at the lake from time to time, and when it is told that there is something new."""

    def __init__(self, read_points: ReadPoints) -> None:
        self._read_points = read_points
        self._wanted = asyncio.Event()

    @property
    def is_wanted(self) -> bool:
        """Whether there is something new that `run` has not looked for yet."""
        return self._wanted.is_set()

    async def now(self) -> None:
        """Load the lake's newest snapshot and let the tail go of what it holds.

        Raises:
            LakeUnavailable: the catalog does not answer; queries go on with the last snapshot.
        """
        await self._read_points.refresh()

    def soon(self) -> None:
        """There is something new in the lake: `run` looks at once."""
        self._wanted.set()

    async def run(self) -> None:
        """Refresh for ever; a catalog that is away is logged when it goes and when it is back."""
        away = False
        while True:
            try:
                await self.now()
                if away:
                    log.info("lake is back")
                away = False
            except RetryLaterError as error:
                if not away:
                    log.warning("lake is away", error=str(error))
                away = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_EVERY_S):
                    await self._wanted.wait()
            self._wanted.clear()
