"""Bounds what must not last.

A partition without an owner, a rebalance that waits for this worker, a group that is there and does
not take it in, a loop that stands still, a task of a library that has ended.
"""

import asyncio
import threading
from collections.abc import Callable

import structlog

from k2_streams.clock import Clock
from k2_streams.runtime.assignment import Ownership
from k2_streams.runtime.control.status import Status
from k2_streams.runtime.control.supervisor import Kept, Supervisor
from k2_streams.runtime.sinks.runner import SinkRunner
from k2_streams.runtime.task.lifecycle import TaskState

log = structlog.get_logger(__name__)

TICK_S = 1.0
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


class Watchdog:
    """Looks once a second, from the loop and, at the loop itself, from a thread."""

    def __init__(
        self,
        owner: Ownership,
        sink: SinkRunner,
        status: Status,
        clock: Clock,
        supervisor: Supervisor,
        *,
        end: Callable[[int, str], None],
        hold_source: Callable[[bool], None],
        waits_for_group: Callable[[], bool],
        lost_task: Callable[[], str | None],
    ) -> None:
        self._sink = sink
        self._hold_source = hold_source
        self._waits_for_group = waits_for_group
        self._lost_task = lost_task
        self._unassigned_since: float | None = None
        self._held = False
        self._owner = owner
        self._status = status
        self._clock = clock
        self._end = end
        self._fenced_since: dict[int, float] = {}
        self._release: tuple[int | None, float] = (None, 0.0)  # the one under way, and since when
        self._beat = clock.monotonic()
        self._stop = threading.Event()
        self._supervisor = supervisor
        self._task: Kept | None = None
        self._thread = threading.Thread(target=self._watch_loop, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._beat = self._clock.monotonic()
        self._task = self._supervisor.keep("watchdog", self._watch)
        self._thread.start()

    async def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._task is not None:
            await self._task.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self._beat = self._clock.monotonic()
            self._status.tick()
            if self._sink.is_far_behind != self._held:
                self._held = self._sink.is_far_behind
                self._hold_source(self._held)
            self._watch_release(now)
            self._watch_group(now)
            self._watch_tasks()
            fenced = {
                partition
                for partition, task in self._owner.tasks.items()
                if task.state is TaskState.FENCED
            }
            self._fenced_since = {p: self._fenced_since.get(p, now) for p in fenced}
            for partition, since in self._fenced_since.items():
                if now - since > FENCED_FOR_S_MAX:
                    self._end(
                        EXIT_FENCED,
                        f"partition {partition} was taken over by someone else, and the group "
                        f"still assigns it here after {FENCED_FOR_S_MAX:.0f} s",
                    )

    def _watch_release(self, now: float) -> None:
        under_way = self._owner.releasing
        if under_way != self._release[0]:
            self._release = (under_way, now)
        elif under_way is not None and now - self._release[1] > RELEASE_FOR_S_MAX:
            self._end(
                EXIT_STALLED,
                f"a rebalance waited {RELEASE_FOR_S_MAX:.0f} s for this worker's tasks to stop",
            )

    def _watch_group(self, now: float) -> None:
        if not self._waits_for_group():
            self._unassigned_since = None
        elif self._unassigned_since is None:
            self._unassigned_since = now
        elif now - self._unassigned_since > UNASSIGNED_FOR_S_MAX:
            self._end(
                EXIT_UNASSIGNED,
                f"the group is there, and for {UNASSIGNED_FOR_S_MAX:.0f} s did not say what is "
                "this worker's",
            )

    def _watch_tasks(self) -> None:
        lost = self._lost_task()
        has_begun = self._thread.ident is not None and not self._stop.is_set()
        if lost is None and has_begun and not self._thread.is_alive():
            lost = "the thread that watches the event loop has ended"
        if lost is not None:
            self._end(EXIT_TASK_LOST, lost)

    def _watch_loop(self) -> None:
        while not self._stop.wait(TICK_S):
            stalled_s = self._clock.monotonic() - self._beat
            if stalled_s > LOOP_STALL_S_MAX:
                self._end(EXIT_STALLED, f"the event loop stood still for {stalled_s:.0f} s")
