"""Asking at a read point whose parts may go away: batches of the tail, files of the lake."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from k2_streams.query.engine import FilesUnreadableError
from k2_streams.query.errors import LakeUnavailable
from k2_streams.query.read_point import ReadPoint, ReadPoints, Wanted
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.tail.store import TailMovedError

log = structlog.get_logger(__name__)
_T = TypeVar("_T")

#: A view can lose spilled batches once, and a snapshot its files to each compaction meanwhile; more
#: often something is wrong.
MAX_ATTEMPTS = 5


class ReadAttempts:
    """Asks again, on a new read point, where an old one's parts went away. For one event loop."""

    def __init__(self, read_points: ReadPoints) -> None:
        self._read_points = read_points

    async def ask(
        self, wanted: Wanted, watch: Stopwatch, ask: Callable[[ReadPoint], Awaitable[_T]]
    ) -> _T:
        """Ask on a read point; on a new one if its parts went away meanwhile.

        Raises:
            LakeUnavailable: files cannot be read.
            QueryError: as `ReadPoints.find`, and what `ask` raises.
        """
        unreadable: dict[int | None, FilesUnreadableError] = {}  # by snapshot
        for _ in range(MAX_ATTEMPTS):
            with watch.stage("read_point"):
                read_point = await self._read_points.find(wanted)
            try:
                return await ask(read_point)
            except TailMovedError:
                continue
            except FilesUnreadableError as error:
                again = read_point.head.snapshot_id in unreadable
                unreadable[read_point.head.snapshot_id] = error
                if again:
                    break
                # Compaction may have replaced the file: a newer snapshot then names others.
                log.warning("lake file unreadable", error=str(error))
                await self._read_points.refresh()
        last = next(reversed(unreadable.values()), None)
        raise LakeUnavailable(f"files of the lake cannot be read: {last}") from last
