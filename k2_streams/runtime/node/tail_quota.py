"""Watches what the tail takes while the lake does not take over from it, and holds the source."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from k2_streams.core.load.tail_quota import DiskBound, holds_source, used_share
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.ports import TailStore, WorkerDisk

log = structlog.get_logger(__name__)

TICK_S = 1.0


class TailRoom:
    """Sets the tail's limit on disk once a second.

    Args:
        tail: whose room it is.
        spill: where the tail puts what memory does not hold.
        bound: of the disk.
        folder: on that disk.
        disk: of this machine.
        metrics: of the worker.
        on_held: told when the source has to wait, and when no longer.
    """

    def __init__(
        self,
        tail: Tail,
        spill: TailStore,
        bound: DiskBound,
        folder: Path,
        disk: WorkerDisk,
        metrics: Metrics,
        *,
        on_held: Callable[[bool], None],
    ) -> None:
        self.is_held = False
        self.limit_bytes = 0
        self._tail = tail
        self._spill = spill
        self._bound = bound
        self._folder = folder
        self._disk = disk
        self._metrics = metrics
        self._on_held = on_held
        self._held_bytes = 0

    async def run(self) -> None:
        """Measure for ever; the first time at once."""
        while True:
            if self.look():
                await asyncio.get_running_loop().run_in_executor(None, self._spill.reclaim)
            await asyncio.sleep(TICK_S)

    def look(self) -> bool:
        """Measure and decide; whether the disk has just been left altogether."""
        before, self._held_bytes = self._held_bytes, self._tail.spilled_bytes
        free = self._disk.free_bytes(self._folder)
        self.limit_bytes = self._bound.limit_bytes(free, self._held_bytes)
        self._tail.spill_limit_bytes = self.limit_bytes
        used = max(
            used_share(self._held_bytes, self.limit_bytes),
            used_share(self._tail.index_bytes, self._tail.index_limit_bytes),
        )
        held = holds_source(self.is_held, used)
        if held is not self.is_held:
            self.is_held = held
            log.warning(
                "source paused: the tail is full" if held else "source resumed: the tail has room",
                spilled_bytes=self._held_bytes,
                limit_bytes=self.limit_bytes,
                used=round(used, 3),
            )
            self._on_held(held)
        self._metrics.tail.tail_spilled_bytes.set(self._held_bytes)
        self._metrics.tail.tail_spill_limit_bytes.set(self.limit_bytes)
        return before > 0 and self._held_bytes == 0
