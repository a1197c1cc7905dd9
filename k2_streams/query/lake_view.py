"""This node's view of the lake: the newest snapshot it has loaded.

Queries take the head that is here, without asking the catalog: an older snapshot is as exact as a
new one, since the tail still holds what it lacks. With the lake away they go on so: what a plan
needs was read before the head was taken, and plans have a thread of their own, so that no query
waits behind a catalog that does not answer.
"""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import structlog

from k2_streams.core.query.keys import Keys
from k2_streams.lake.breaker import Guard
from k2_streams.lake.errors import LakeError
from k2_streams.lake.plan import PlannedFile
from k2_streams.lake.snapshots import Head, SnapshotInfo
from k2_streams.query.errors import LakeUnavailable
from k2_streams.query.selection import Selection

log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class LakeReader(Protocol):
    """What a view needs of `lake.table.Lake`."""

    def head(self) -> Head:
        """The newest snapshot, from the catalog."""
        ...

    def snapshots(self) -> list[SnapshotInfo]:
        """Those of the main branch, oldest first."""
        ...

    def tagged(self, name: str) -> SnapshotInfo | None:
        """The snapshot that a tag names; None: there is no such tag."""
        ...

    def plan(
        self,
        snapshot_id: int,
        *,
        keys: Keys = (),
        start_ns: int | None = None,
        end_ns: int | None = None,
        corrections: bool = False,
        accepted_from_us: int | None = None,
        accepted_to_us: int | None = None,
    ) -> Sequence[PlannedFile]:
        """The files of a snapshot that can hold such rows."""
        ...

    def close(self) -> None:
        """Disconnect from the catalog."""
        ...


class LakeView:
    """The lake as queries see it. For one event loop.

    Args:
        open_lake: makes a reader of its own; one thread makes its plans, another all else.
        guard: of the lake; while its breaker is open the catalog is not asked.
    """

    def __init__(self, open_lake: Callable[[], LakeReader], guard: Guard | None = None) -> None:
        self._open_lake = open_lake
        self._guard = guard or Guard()
        self._lake: LakeReader | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="k2-lake-view")
        self._plans = ThreadPoolExecutor(1, thread_name_prefix="k2-lake-plans")
        self._head: Head | None = None

    @property
    def head(self) -> Head | None:
        """The newest snapshot loaded; None before the first `refresh`."""
        return self._head

    async def refresh(self) -> Head:
        """Load the newest snapshot, and what its manifests say.

        A head that is older than the one already seen (another writer's clock, a stale catalog
        replica) does not replace it.

        Raises:
            LakeUnavailable: the catalog does not answer, or the table does not say what it holds.
        """

        def load(lake: LakeReader) -> Head:
            head = lake.head()
            # Before the head is taken: with the store away later on, its files are known.
            if head.snapshot_id is not None and head.rows:
                lake.plan(head.snapshot_id)
            return head

        head = await self._guarded(load)
        if self._head is None or head.sequence_number >= self._head.sequence_number:
            self._head = head
        return self._head

    async def files(self, head: Head, selection: Selection) -> list[str]:
        """The files of that snapshot that can hold rows of the selection.

        Raises:
            LakeUnavailable: the plan is not cached and cannot be made.
        """
        return [file.path for file in await self.planned(head, selection)]

    async def rows_in(self, head: Head, selection: Selection) -> int:
        """The rows of those files: at most so many of them are the selection's.

        Raises:
            LakeUnavailable: as `files`.
        """
        return sum(file.rows for file in await self.planned(head, selection))

    async def files_accepted(self, head: Head, from_us: int | None, to_us: int) -> list[str]:
        """The files of that snapshot that can hold rows accepted in this time, bounds inclusive.

        Raises:
            LakeUnavailable: as `files`.
        """
        snapshot_id = head.snapshot_id
        if snapshot_id is None or head.rows == 0:
            return []
        planned = await self._call(
            self._plans,
            lambda lake: lake.plan(snapshot_id, accepted_from_us=from_us, accepted_to_us=to_us),
        )
        return [file.path for file in planned]

    async def planned(self, head: Head, selection: Selection) -> Sequence[PlannedFile]:
        """The files of `files` with what is known of them.

        Raises:
            LakeUnavailable: as `files`.
        """
        snapshot_id = head.snapshot_id
        if snapshot_id is None or head.rows == 0:
            return ()
        start_ns, end_ns = _range(selection)
        return await self._call(
            self._plans,
            lambda lake: lake.plan(
                snapshot_id,
                keys=selection.keys,
                start_ns=start_ns,
                end_ns=end_ns,
                corrections=selection.view == "corrections",
            ),
        )

    async def snapshots(self) -> list[SnapshotInfo]:
        """The snapshots of the main branch, oldest first.

        Raises:
            LakeUnavailable: the catalog does not answer.
        """
        return await self._guarded(lambda lake: lake.snapshots())

    async def tagged(self, name: str) -> SnapshotInfo | None:
        """The snapshot that a tag names; None: there is no such tag.

        Raises:
            LakeUnavailable: the catalog does not answer.
        """
        return await self._guarded(lambda lake: lake.tagged(name))

    async def close(self) -> None:
        """Disconnect from the catalog and end the threads."""
        lake, self._lake = self._lake, None
        if lake is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, lake.close)
        for thread in (self._thread, self._plans):
            thread.shutdown(wait=False)

    async def _guarded(self, ask: Callable[[LakeReader], _T]) -> _T:
        """Ask the catalog, unless its circuit breaker is open."""
        return await self._call(self._thread, ask, self._guard)

    async def _call(
        self,
        thread: ThreadPoolExecutor,
        ask: Callable[[LakeReader], _T],
        guard: Guard | None = None,
    ) -> _T:
        def on_thread() -> _T:
            if self._lake is None:
                self._lake = self._open_lake()
            return ask(self._lake)

        async def in_thread() -> _T:
            in_context = contextvars.copy_context().run  # as in `Engine.run`
            return await asyncio.get_running_loop().run_in_executor(thread, in_context, on_thread)

        try:
            return await (in_thread() if guard is None else guard.call(in_thread))
        except LakeError as error:
            raise LakeUnavailable(str(error)) from error


def _range(selection: Selection) -> tuple[int | None, int | None]:
    """The range of event time, narrowed by the row that a page starts behind."""
    start_ns, end_ns, after = selection.start_ns, selection.end_ns, selection.after
    if after is None:
        return start_ns, end_ns
    if selection.descending:
        limit_ns = after.time_ns + 1
        return start_ns, limit_ns if end_ns is None else min(end_ns, limit_ns)
    return max(start_ns or 0, after.time_ns), end_ns
