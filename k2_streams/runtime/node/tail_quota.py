"""Measures what the tail takes of its disk quota, and pauses the source before it is used up."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from k2_streams.core.load.tail_quota import DiskBound, pauses_source, used_share
from k2_streams.core.records.stream import Stream
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.metrics.table import TailMetrics
from k2_streams.runtime.ports import TailStore, WorkerDisk
from k2_streams.runtime.settings.worker import Settings

log = structlog.get_logger(__name__)

TICK_S = 1.0
#: Of memory and disk for tails, the part of each of the ledger's: a sixteenth.
LEDGER_SHARE = 1 / 16


@dataclass(frozen=True, slots=True)
class TailLimits:
    """What one tail may take, and where.

    Attributes:
        folder: of all tails, below the worker's.
        memory_bytes: of rows; above it the oldest go to disk.
        disk: of those.
    """

    folder: Path
    memory_bytes: int
    disk: DiskBound

    @classmethod
    def each(cls, settings: Settings, streams: Sequence[Stream]) -> "dict[str, TailLimits]":
        """Of each tail of a worker, by its stream's name.

        The settings' limits are of all tails together. A tail of the ledger has a small part, and
        what is left is divided among the others: few records are findings.
        """
        ledgers = sum(stream.is_ledger for stream in streams)
        large = (1 - LEDGER_SHARE * ledgers) / max(len(streams) - ledgers, 1)
        found = {}
        for stream in streams:
            share = LEDGER_SHARE if stream.is_ledger else large
            found[stream.name] = cls(
                settings.worker_dir / "tail",
                int(settings.tail_memory_bytes * share),
                settings.tail_disk_limit.part(share),
            )
        return found


class TailQuota:
    """Sets the tail's limit on disk once per second.

    Args:
        tail: whose quota it is.
        spill: where the tail puts what exceeds its memory.
        limits: of the tail.
        disk: of this machine.
        metrics: of the tail.
        on_pause: called when the source has to wait, and when no longer. None: no source waits for
            this tail, whose reader rests while it is full.
    """

    def __init__(
        self,
        tail: Tail,
        spill: TailStore,
        limits: TailLimits,
        disk: WorkerDisk,
        metrics: TailMetrics,
        *,
        on_pause: Callable[[bool], None] | None,
    ) -> None:
        self.is_source_paused = False
        self.limit_bytes = 0
        self._tail = tail
        self._spill = spill
        self._limits = limits
        self._disk = disk
        self._metrics = metrics
        self._on_pause = on_pause
        self._used_bytes = 0

    async def run(self) -> None:
        """Measure for ever; the first time at once."""
        while True:
            if self.look():
                await asyncio.get_running_loop().run_in_executor(None, self._spill.reclaim)
            await asyncio.sleep(TICK_S)

    def look(self) -> bool:
        """Measure and decide; whether the last batch has just left the disk."""
        before, self._used_bytes = self._used_bytes, self._tail.spilled_bytes
        free_bytes = self._disk.free_bytes(self._limits.folder.parent)
        self.limit_bytes = self._limits.disk.limit_bytes(free_bytes, self._used_bytes)
        self._tail.spill_limit_bytes = self.limit_bytes
        used = max(
            used_share(self._used_bytes, self.limit_bytes),
            used_share(self._tail.index_bytes, self._tail.index_limit_bytes),
        )
        paused = pauses_source(self.is_source_paused, used)
        if self._on_pause is not None and paused is not self.is_source_paused:
            self.is_source_paused = paused
            log.warning(
                "source paused: the tail is full"
                if paused
                else "source resumed: the tail has room",
                topic=self._tail.topic,
                spilled_bytes=self._used_bytes,
                limit_bytes=self.limit_bytes,
                used=round(used, 3),
            )
            self._on_pause(paused)
        self._metrics.tail_spilled_bytes.set(self._used_bytes)
        self._metrics.tail_spill_limit_bytes.set(self.limit_bytes)
        return before > 0 and self._used_bytes == 0
