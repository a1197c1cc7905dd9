"""Keeps the table of one log small, in the background, off the event loop and beside the sink."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from k2_streams import traces
from k2_streams.clock import Clock
from k2_streams.core.load import backoff
from k2_streams.lake.errors import LakeUnavailableError
from k2_streams.lake.maintenance.compaction import Compacted, Compactor
from k2_streams.lake.maintenance.deletions import delete_due
from k2_streams.lake.maintenance.expiry import Expired, expire_snapshots
from k2_streams.lake.table import Lake
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics.table import MaintenanceMetrics

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

#: A lake that is away, or a table that is refused, is asked again after at most so many intervals.
MOST_INTERVALS = 16


class TableKeeper:
    """Maintenance of one table, with a handle and a thread of its own.

    It works while `may_work` says so: of all workers one alone, the owner of the log's partition 0.
    Two that work at once, as after a take-over, do no harm: each commit is checked by itself.

    Args:
        lake: a handle of its own on the table.
        compactor: of the same handle.
        metrics: of the log.
        clock: of ages and delays.
        may_work: whether this worker is the one, and the lake is there.
        interval_s: between two looks at what is to be done.
        delete_delay_s: between the expiry of snapshots and the deletion of their files.
        thread: where the work is done.
        limits: how many groups are compacted in a row.
    """

    def __init__(
        self,
        lake: Lake,
        compactor: Compactor,
        metrics: MaintenanceMetrics,
        clock: Clock,
        *,
        may_work: Callable[[], bool],
        interval_s: float,
        delete_delay_s: float,
        thread: ThreadPoolExecutor,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.error: str | None = None
        self._lake = lake
        self._compactor = compactor
        self._metrics = metrics
        self._clock = clock
        self._may_work = may_work
        self._interval_s = interval_s
        self._delete_delay_s = delete_delay_s
        self._thread = thread
        self._limits = limits
        self._attempts = 0  # failed, in a row
        self._looked_at_s: float | None = None
        self._last: Compacted | None = None
        self._files = self._rows = self._expired = self._deleted = 0

    async def run(self) -> None:
        """Work for ever."""
        while True:
            await asyncio.sleep(self._pause_s())
            await self.look()

    async def look(self) -> None:
        """Do what is to be done, if this worker is the one that does it."""
        if not self._may_work():
            return
        failed: list[Exception] = []
        for name, work in (
            ("compaction", self._compact),
            ("expiry", self._expire),
            ("deletion", self._delete),
        ):
            # A table that cannot be compacted has old snapshots and files all the same.
            try:
                with traces.span(f"maintenance {name}", table=self._lake.stream.log):
                    await work()
            except Exception as error:  # noqa: BLE001 - small files must not make a worker unready
                failed.append(error)
                if isinstance(error, LakeUnavailableError):
                    break
        if failed:
            self._failed(failed)
        else:
            self._attempts, self.error = 0, None
            self._looked_at_s = self._clock.monotonic()

    def as_dict(self) -> dict[str, Any]:
        """Of `/v1/status`: what this worker has done since it started."""
        last, now_s = self._last, self._clock.monotonic()
        return {
            "working": self._may_work(),
            "looked_s_ago": None
            if self._looked_at_s is None
            else round(now_s - self._looked_at_s, 3),
            "compacted_files": self._files,
            "compacted_rows": self._rows,
            "last_compaction": None
            if last is None
            else {"snapshot": last.snapshot_id, "files": last.files, "rows": last.rows},
            "expired_snapshots": self._expired,
            "deleted_files": self._deleted,
            "table_files": self._compactor.files,
            "unfit_files": len(self._compactor.unfit),
            "error": self.error,
        }

    async def close(self) -> None:
        """Disconnect; a step under way is waited for."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._lake.close)
        self._thread.shutdown(wait=True)

    async def _compact(self) -> None:
        """Compact group by group, as long as there is one."""
        for _ in range(self._limits.compactions_in_a_row):
            began_s = self._clock.monotonic()
            done = await self._in_thread(self._compactor.run_once)
            self._metrics.maintenance_unfit_files.set(len(self._compactor.unfit))
            self._metrics.maintenance_table_files.set(self._compactor.files)
            if done is None:
                return
            self._last = done
            self._files += done.files
            self._rows += done.rows
            self._metrics.maintenance_compaction_seconds.observe(self._clock.monotonic() - began_s)
            self._metrics.maintenance_compacted_files_total.inc(done.files)
            self._metrics.maintenance_compacted_rows_total.inc(done.rows)
            if not self._may_work():
                return

    async def _expire(self) -> None:
        """Remove snapshots before the sink has to, who could not write down their files."""
        limits, now_ms = self._limits, self._clock.time_ns() // 1_000_000

        def expire() -> Expired:
            return expire_snapshots(
                self._lake,
                keep=limits.snapshots_kept,
                older_than_ms=now_ms,
                files_at_ms=now_ms,
                above=limits.snapshots_kept + limits.snapshots_spare // 2,
            )

        expired = len((await self._in_thread(expire)).snapshot_ids)
        self._expired += expired
        self._metrics.maintenance_expired_snapshots_total.inc(expired)

    async def _delete(self) -> None:
        done = await self._in_thread(
            lambda: delete_due(self._lake, self._clock, delay_s=self._delete_delay_s)
        )
        self._deleted += done.files
        self._metrics.maintenance_deleted_files_total.inc(done.files)

    def _failed(self, errors: Sequence[Exception]) -> None:
        self._attempts += 1
        self.error = "; ".join(f"{type(one).__name__}: {one}" for one in errors)
        self._metrics.maintenance_failures_total.inc()
        # A table that is refused waits for a person, whom the sink tells.
        log.warning(
            "maintenance failed", table=self._lake.stream.log, error=self.error, exc_info=errors[0]
        )

    def _pause_s(self) -> float:
        most_s = self._interval_s * MOST_INTERVALS
        if self._attempts == 0:
            return self._interval_s
        return self._interval_s + backoff.wait_s(self._attempts, self._interval_s, most_s, 1.0)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
