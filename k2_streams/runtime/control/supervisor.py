"""Supervises every asyncio task of the worker: none of them ends unnoticed.

- `keep` runs work that never ends. If it ends all the same (an exception, a cancellation by
  somebody else, a return), the failure is logged with its traceback, counted, shown in
  `/v1/status`, `/health/ready` and the metrics, and the work starts again after a backoff.
- `spawn` runs work that ends once, for an owner. A failure is logged and counted, and the owner is
  told, who replaces what the work was for.

Nothing here is a task itself: ends are noticed by callbacks and restarts are timers of the loop.
What happens to the tasks of libraries is the watchdog's: see `runtime.control.library_tasks`.
"""

import asyncio
import enum
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from k2_streams.clock import Clock
from k2_streams.core.load import backoff
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

#: Of an error's text in status and readiness.
ERROR_TEXT_MAX = 500

_NUMBERED = re.compile(r"-\d+$")


class TaskLostError(Exception):
    """A background task ended without an exception of its own; the text says how."""


class BackgroundState(enum.Enum):
    """Whether a background task does its work."""

    RUNNING = "running"
    FAILED = "failed"  # waits to start again, or has not run long enough since
    CLOSED = "closed"


@dataclass(slots=True)
class _Report:
    """What status says of the tasks of one name."""

    state: BackgroundState = BackgroundState.RUNNING
    failures: int = 0
    error: str | None = None
    restart_at_s: float | None = field(default=None)


class BackgroundTask:
    """A task of an owner, who closes it or takes its outcome."""

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        name: str,
        on_end: Callable[["BackgroundTask"], None],
    ) -> None:
        self.name = name
        self.is_closing = False
        self._on_end = on_end
        self._task = asyncio.get_running_loop().create_task(work, name=name)
        self._task.add_done_callback(self._ended)

    def _ended(self, _task: "asyncio.Task[Any]") -> None:
        self._on_end(self)

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._task.done()

    def is_current(self) -> bool:
        """Whether the caller runs in it."""
        return self._task is asyncio.current_task()

    @property
    def error(self) -> BaseException | None:
        """How it failed; None: it has not, or its owner closed it."""
        if not self._task.done() or (self._task.cancelled() and self.is_closing):
            return None
        if self._task.cancelled():
            return TaskLostError(f"{self.name} was cancelled, and not by its owner")
        return self._task.exception()

    def result(self) -> None:
        """Take the outcome of a task that has ended.

        Raises:
            TaskLostError: it was cancelled, and not by its owner.
            Exception: what it raised.
        """
        error = self.error
        if error is not None:
            raise error

    async def wait(self) -> None:
        """Until it has ended; its outcome is not raised."""
        await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Tell it to end."""
        self.is_closing = True
        self._task.cancel()

    async def close(self) -> None:
        """End it, and wait until it has."""
        self.cancel()
        if not self.is_current():
            await self.wait()


class Kept:
    """Work that never ends: started again whenever it does, until it is closed."""

    def __init__(
        self, supervisor: "Supervisor", name: str, work: Callable[[], Awaitable[None]]
    ) -> None:
        self.name = name
        self._supervisor = supervisor
        self._work = work
        self._attempts = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task = self._start()

    def _start(self) -> BackgroundTask:
        self._timer = asyncio.get_running_loop().call_later(
            self._supervisor.limits.steady_after_s, self._steady
        )
        return BackgroundTask(self._run(), self.name, self._ended)

    async def _run(self) -> None:
        await self._work()
        raise TaskLostError(f"{self.name} returned, and it should never end")

    def _restart(self) -> None:
        self._task = self._start()

    def _steady(self) -> None:
        self._attempts = 0
        self._supervisor.report_up(self.name)

    def _ended(self, task: BackgroundTask) -> None:
        if task.is_closing:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._attempts += 1
        error = task.error or TaskLostError(self.name)
        wait_s = self._supervisor.report_failure(self.name, error, self._attempts)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._restart)

    async def close(self) -> None:
        """End it for good."""
        if self._timer is not None:
            self._timer.cancel()
        await self._task.close()
        self._supervisor.report_closed(self.name)


class Supervisor:
    """Knows the worker's background tasks.

    Args:
        clock: for when a task starts again.
        metrics: of the worker.
        chance: from 0 to 1, so that what failed together does not start together.
        limits: for when a task starts again, and when it counts as up.
    """

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        chance: Callable[[], float] = lambda: 0.5,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._metrics = metrics
        self._chance = chance
        self._kept: dict[str, _Report] = {}
        self._spawned: dict[str, _Report] = {}  # by kind: `task-0` and `task-1` share one

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> Kept:
        """Run work that never ends."""
        self._kept[name] = _Report()
        self._metrics.process.background_task_up.labels(name).set(1)
        return Kept(self, name, work)

    def spawn(
        self,
        name: str,
        work: Coroutine[Any, Any, Any],
        on_failed: Callable[[BaseException], None] | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> BackgroundTask:
        """Run work that ends.

        Args:
            name: with the partition's number at its end, if it belongs to one.
            work: what is run.
            on_failed: told of an exception, or of a cancellation that was not the owner's. None:
                the owner takes the outcome with `BackgroundTask.result`, and logs it.
            on_end: told when it has ended, in whatever way; after `on_failed`.
        """

        def ended(task: BackgroundTask) -> None:
            error = task.error
            if error is not None:
                report = self._spawned.setdefault(_kind(name), _Report())
                self._count(name, report, error)
                if on_failed is not None:
                    self._log(name, report, error)
                    on_failed(error)
            on_end()

        return BackgroundTask(work, name, ended)

    @property
    def failing(self) -> dict[str, str]:
        """Tasks that are down now, and why."""
        return {
            name: report.error or "not known"
            for name, report in self._kept.items()
            if report.state is BackgroundState.FAILED
        }

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Of `/v1/status`: each background task, and failures of those that run once by kind."""
        now_s = self._clock.monotonic()
        return {
            name: {
                "state": report.state.value if name in self._kept else None,
                "failures": report.failures,
                "last_error": report.error,
                "retry_in_s": None
                if report.restart_at_s is None
                else round(max(report.restart_at_s - now_s, 0.0), 3),
            }
            for name, report in sorted((self._spawned | self._kept).items())
        }

    # -- told by the tasks -----------------------------------------------------------------------

    def report_failure(self, name: str, error: BaseException, attempts: int) -> float:
        """A kept task ended; seconds until it starts again."""
        # About 0.5, 1, 2 ... seconds.
        first_s, most_s = self.limits.restart_first_s, self.limits.restart_most_s
        wait_s = backoff.wait_s(attempts, first_s * 2, most_s, self._chance())
        report = self._kept[name]
        report.state = BackgroundState.FAILED
        report.restart_at_s = self._clock.monotonic() + wait_s
        self._metrics.process.background_task_up.labels(name).set(0)
        self._count(name, report, error)
        self._log(name, report, error, retry_in_s=round(wait_s, 3))
        return wait_s

    def report_up(self, name: str) -> None:
        """A kept task has run long enough to count as up."""
        report = self._kept[name]
        if report.state is BackgroundState.FAILED:
            log.info("background task is up again", task=name, failures=report.failures)
        report.state, report.restart_at_s = BackgroundState.RUNNING, None
        self._metrics.process.background_task_up.labels(name).set(1)

    def report_closed(self, name: str) -> None:
        """A kept task was ended by its owner."""
        self._kept[name].state = BackgroundState.CLOSED

    def _count(self, name: str, report: _Report, error: BaseException) -> None:
        report.failures += 1
        report.error = f"{type(error).__name__}: {error}"[:ERROR_TEXT_MAX]
        self._metrics.process.background_task_failures_total.labels(_kind(name)).inc()

    def _log(self, name: str, report: _Report, error: BaseException, **more: Any) -> None:
        log.error("background task failed", task=name, error=report.error, exc_info=error, **more)


def _kind(name: str) -> str:
    """A name without its partition: what a metric's label may take."""
    return _NUMBERED.sub("", name)
