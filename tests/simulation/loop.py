"""An event loop whose time, threads and processes are simulated: one thread, no clock of its own.

- Time is virtual: where nothing is ready, it is the time of the next timer.
- A process is a context. What runs in it carries it, as tasks inherit a context variable. Of a
  killed process nothing ever runs again; of a stopped one nothing until it is continued.
- What production runs in a thread runs in a greenlet: `pause` inside of it lets time pass and
  others run, as a blocking call does. Of one executor one piece of work runs at a time.

Handles run in the order in which they became ready, as asyncio has it. What is drawn from the seed
is how long things take.
"""

import asyncio
import contextlib
import enum
import heapq
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Any

from greenlet import getcurrent, greenlet

#: A run of this many handles without an end is a loop that spins.
HANDLES_MAX = 3_000_000
#: How long a piece of work waits for its thread.
THREAD_WAIT_S = 0.002
#: The shortest timer. With none a wait for the rest of a rounding error would never end.
TIMER_S_MIN = 1e-6
#: Times an unfinished coroutine is told to end.
UNWINDINGS = 3


class ProcessState(enum.Enum):
    """Whether a process runs."""

    RUNNING = "running"
    STOPPED = "stopped"
    KILLED = "killed"


class Process:
    """What is killed, stopped and continued as one."""

    def __init__(self, loop: "Loop", name: str) -> None:
        self.name = name
        self.state = ProcessState.RUNNING
        self._loop = loop
        self._held: deque[asyncio.Handle] = deque()

    def start(self, main: Any) -> "asyncio.Task[Any]":
        """Run a coroutine as the process's first."""
        context = Context()
        context.run(PROCESS.set, self)
        return self._loop.create_task(main, context=context)

    def kill(self) -> None:
        """SIGKILL: nothing of it runs again."""
        self.state = ProcessState.KILLED
        self._held.clear()

    def stop(self) -> None:
        """SIGSTOP."""
        self.state = ProcessState.STOPPED

    def go_on(self) -> None:
        """SIGCONT: everything that became ready meanwhile runs now."""
        if self.state is ProcessState.STOPPED:
            self.state = ProcessState.RUNNING
            self._loop._ready.extend(self._held)
            self._held.clear()

    def hold(self, handle: asyncio.Handle) -> None:
        """Keep what became ready while it does not run."""
        if self.state is ProcessState.STOPPED:
            self._held.append(handle)


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class StuckError(Exception):
    """Nothing is ready and nothing will be, or it never ends."""


@dataclass(eq=False, slots=True)
class _Work:
    """What a thread is to do, and whom to tell."""

    future: "asyncio.Future[Any]"
    function: Callable[[], Any]
    context: Context

    def run(self) -> None:
        try:
            result = self.function()
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            if not self.future.cancelled():
                self.future.set_exception(error)
        else:
            if not self.future.cancelled():
                self.future.set_result(result)


class Loop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.now_s = 0.0
        self._chance = chance
        self._threads: dict[Any, deque[_Work]] = {}
        self._spent = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self.outside = Context()  # what belongs to no process: the network, the broker
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        """Seconds since the beginning of the run."""
        return self.now_s

    def call_at(self, when: float, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        """A timer, at least a microsecond from now: a clock moves while a program looks at it."""
        return super().call_at(max(when, self.now_s + TIMER_S_MIN), *arguments, **options)

    def later(self, delay_s: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call in no process."""
        self.call_later(delay_s, function, *arguments, context=self.outside)

    def _new_task(self, loop: Any, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        task = asyncio.Task(coroutine, loop=loop, **options)
        task._log_destroy_pending = False
        self._tasks.append(task)
        if len(self._tasks) > 4096:
            self._tasks = [kept for kept in self._tasks if not kept.done()]
        return task

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False
        if not ready and not self._stopping:
            if not scheduled:
                raise StuckError("nothing is ready and no timer is set")
            self.now_s = max(self.now_s, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self.now_s:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        self._spent += len(ready)
        if self._spent > HANDLES_MAX:
            raise StuckError(f"{HANDLES_MAX} handles and no end")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and process.state is not ProcessState.RUNNING:
                process.hold(handle)
                continue
            handle._run()

    def _write_to_self(self) -> None:
        """Nothing waits in a selector."""

    # -- threads -----------------------------------------------------------------------------

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, function: Callable[..., Any], *arguments: Any
    ) -> "asyncio.Future[Any]":
        """The work runs in a greenlet of the process, behind what its executor has to do."""
        work = _Work(self.create_future(), lambda: function(*arguments), copy_context())
        queue = self._threads.setdefault(executor, deque())
        queue.append(work)
        if executor is None or len(queue) == 1:
            self._begin(executor, work)
        return work.future

    def _begin(self, executor: Any, work: "_Work") -> None:
        def body() -> None:
            work.run()
            self._threads[executor].remove(work)
            if executor is not None and self._threads[executor]:
                self._begin(executor, self._threads[executor][0])

        worker = greenlet(body)
        worker.gr_context = work.context.copy()
        wait_s = self._chance.uniform(0, THREAD_WAIT_S)
        self.call_later(wait_s, self._step, worker, context=work.context)

    def _step(self, worker: greenlet) -> None:
        delay_s = worker.switch()
        if not worker.dead:
            self.call_later(delay_s, self._step, worker)

    async def shutdown_default_executor(self, *_: Any) -> None:
        """There is none."""

    def abandon(self) -> None:
        """Unwind all that has not ended. What it does in its end is of no run any more."""
        for task in self._tasks:
            for _ in range(UNWINDINGS):
                # A loop that catches whatever comes goes on once, and ends at its next wait.
                with contextlib.suppress(RuntimeError):
                    task.get_coro().close()
        self._ready.clear()
        self._scheduled.clear()
        self._tasks.clear()
        self._threads.clear()
        self.close()


def pause(delay_s: float) -> None:
    """Let time pass in a thread's work; at once where no thread is simulated."""
    parent = getcurrent().parent
    if parent is not None:
        parent.switch(delay_s)
