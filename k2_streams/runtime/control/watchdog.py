"""Bounds what must not last.

A partition without an owner, a rebalance that waits for this worker, a group that is there and does
not take it in, a loop that stands still, a task of a library that has ended.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence

import structlog

from k2_streams.clock import Clock
from k2_streams.core.types import TopicPartition
from k2_streams.runtime.assignment import Ownership
from k2_streams.runtime.control.stale_assignment import StaleAssignment
from k2_streams.runtime.control.status import Status
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.ports import Threads
from k2_streams.runtime.sinks.runner import SinkRunner
from k2_streams.runtime.task.lifecycle import TaskState

log = structlog.get_logger(__name__)

#: The group's session ends first, and with it a new assignment comes. Where it does not come, the
#: group counts on a worker that may write nothing: better a new process.
FENCED_FOR_S_MAX = 60.0
#: Tasks end their transactions within seconds; the whole group waits for them meanwhile, a minute
#: at the most, and then goes on without this worker.
RELEASE_FOR_S_MAX = 30.0
#: The group decides within its session, or the minute it waits for its members, and once more.
UNASSIGNED_FOR_S_MAX = 120.0
#: Heartbeats come from a thread of their own, so a hanging event loop keeps its partitions: it
#: must end by itself.
LOOP_STALL_S_MAX = 60.0
EXIT_FENCED = 71
EXIT_STALLED = 72
EXIT_UNASSIGNED = 73
EXIT_TASK_LOST = 74
EXIT_FENCED_INSTANCE = 75


class LoopWatch:
    """Ends a process whose event loop stands still, from a thread of its own."""

    def __init__(
        self, clock: Clock, threads: Threads, end: Callable[[int, str], None], tick_s: float
    ) -> None:
        self._clock = clock
        self._end = end
        self._tick_s = tick_s
        self._beat_s = clock.monotonic()
        self._stop = threading.Event()
        self._has_begun = False
        self._thread = threads.thread("watchdog", self._run)

    def beat(self) -> None:
        """The loop runs; the first call begins the watch."""
        self._beat_s = self._clock.monotonic()
        if not self._has_begun:
            self._has_begun = True
            self._thread.start()

    @property
    def is_lost(self) -> bool:
        """Whether the thread has ended by nobody's will."""
        return self._has_begun and not self._stop.is_set() and not self._thread.is_alive()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._tick_s):
            stalled_s = self._clock.monotonic() - self._beat_s
            if stalled_s > LOOP_STALL_S_MAX:
                self._end(EXIT_STALLED, f"the event loop stood still for {stalled_s:.0f} s")


class Watchdog:
    """Looks once a second, from the event loop.

    Args:
        owner: of the tasks.
        sinks: of the worker.
        status: shown in the metrics with each look.
        clock: of this machine.
        threads: for the watch of the event loop itself.
        stale: of partitions that do not exist.
        end: ends the process.
        hold_source: pause and resume the sources.
        waits_for_group: whether the coordinator answers and has assigned nothing yet.
        lost_task: what a library lost without which the worker stands still.
        limits: for how often it looks.
    """

    def __init__(  # noqa: PLR0913 - called once, where everything is wired
        self,
        owner: Ownership,
        sinks: Sequence[SinkRunner],
        status: Status,
        clock: Clock,
        threads: Threads,
        *,
        stale: StaleAssignment,
        end: Callable[[int, str], None],
        hold_source: Callable[[bool], None],
        waits_for_group: Callable[[], bool],
        lost_task: Callable[[], str | None],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._sinks = sinks
        self._stale = stale
        self._tick_s = limits.watchdog_tick_s
        self._hold_source = hold_source
        self._waits_for_group = waits_for_group
        self._lost_task = lost_task
        self._unassigned_since: float | None = None
        self._held = False
        self._owner = owner
        self._status = status
        self._clock = clock
        self._end = end
        self._fenced_since: dict[TopicPartition, float] = {}
        self._release: tuple[int | None, float] = (None, 0.0)  # the one under way, and since when
        self._loop = LoopWatch(clock, threads, end, limits.watchdog_tick_s)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self._loop.beat()
            await asyncio.sleep(self._tick_s)
            self.look()

    def close(self) -> None:
        """Stop watching the event loop."""
        self._loop.close()

    def look(self) -> None:
        """Look once, and end the process if something has lasted too long."""
        now = self._clock.monotonic()
        self._status.tick()
        is_far_behind = any(sink.is_far_behind for sink in self._sinks)
        if is_far_behind != self._held:
            self._held = is_far_behind
            self._hold_source(self._held)
        self._stale.look()
        self._watch_release(now)
        self._watch_group(now)
        self._watch_tasks()
        self._watch_fenced(now)

    def _watch_fenced(self, now: float) -> None:
        fenced = {tp for tp, task in self._owner.tasks.items() if task.state is TaskState.FENCED}
        self._fenced_since = {tp: self._fenced_since.get(tp, now) for tp in fenced}
        for tp, since in self._fenced_since.items():
            if now - since > FENCED_FOR_S_MAX:
                self._end(
                    EXIT_FENCED,
                    f"partition {tp.partition} was taken over by someone else, and the group "
                    f"still assigns it here after {FENCED_FOR_S_MAX:.0f} s",
                )

    def _watch_release(self, now: float) -> None:
        under_way = self._owner.releasing
        if under_way != self._release[0]:
            self._release = (under_way, now)
        elif under_way is not None and now - self._release[1] > RELEASE_FOR_S_MAX:
            self._end(
                EXIT_STALLED,
                f"tasks did not stop within {RELEASE_FOR_S_MAX:.0f} s of a rebalance",
            )

    def _watch_group(self, now: float) -> None:
        if not self._waits_for_group():
            self._unassigned_since = None
        elif self._unassigned_since is None:
            self._unassigned_since = now
        elif now - self._unassigned_since > UNASSIGNED_FOR_S_MAX:
            self._end(
                EXIT_UNASSIGNED,
                f"no partition assignment for {UNASSIGNED_FOR_S_MAX:.0f} s although the group's "
                "coordinator answers",
            )

    def _watch_tasks(self) -> None:
        lost = self._lost_task()
        if lost is None and self._loop.is_lost:
            lost = "the thread that watches the event loop has ended"
        if lost is not None:
            self._end(EXIT_TASK_LOST, lost)
