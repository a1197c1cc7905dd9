"""An event loop whose time, threads and processes are virtual: one thread, no clock of its own.

- Time is virtual: where nothing is ready, it is the time of the next timer.
- A process is a context. What runs in it carries it, as tasks inherit a context variable. Of a
  killed process nothing ever runs again; of a stopped one nothing until it is continued.
- What production runs in a thread runs in a greenlet: `pause` inside of it lets time pass and
  others run, as a blocking call does. Of one executor one piece of work runs at a time.

Handles run in the order in which they became ready, as asyncio has it, so a run is the same each
time. How long work waits for its thread is up to whoever makes the loop.
"""

import asyncio
import contextlib
import enum
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, NoReturn

from greenlet import getcurrent, greenlet

#: A run of this many handles without an end is a loop that spins.
HANDLES_MAX = 3_000_000
#: The shortest timer. With none a wait for the rest of a rounding error would never end.
TIMER_S_MIN = 1e-6
#: Tasks that are kept before those that have ended are dropped.
TASKS_KEPT = 4_096
#: Times an unfinished coroutine is told to end.
UNWINDINGS = 3


class ProcessState(enum.Enum):
    """Whether a process runs."""

    RUNNING = "running"
    STOPPED = "stopped"
    KILLED = "killed"


class VirtualProcess:
    """What is killed, stopped and continued as one."""

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.state = ProcessState.RUNNING
        self._loop = loop
        self._held: deque[asyncio.Handle] = deque()

    def start(self, main: Any) -> "asyncio.Task[Any]":
        """Run a coroutine as the process's first."""
        context = Context()
        context.run(PROCESS.set, self)
        return self._loop.new_task(main, context)

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
            self._loop.make_ready(self._held)
            self._held.clear()

    def hold(self, handle: asyncio.Handle) -> None:
        """Keep what became ready while it does not run."""
        if self.state is ProcessState.STOPPED:
            self._held.append(handle)


PROCESS: ContextVar[VirtualProcess | None] = ContextVar("process", default=None)


class LoopStuckError(Exception):
    """Nothing is ready and nothing will be, or it never ends."""


@dataclass(eq=False, slots=True)
class _ThreadWork:
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


class _Thread(greenlet):  # type: ignore[misc] # greenlet has no types
    """Runs what production runs in a thread."""


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module.

    Args:
        thread_wait_s: how long a piece of work waits for its thread.
    """

    #: Of asyncio's own loop: what is ready, and what is timed.
    _ready: "deque[Any]"
    _scheduled: "list[Any]"
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self, thread_wait_s: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self.now_s = 0.0
        self._thread_wait_s = thread_wait_s
        self._threads: dict[Any, deque[_ThreadWork]] = {}
        self._spent = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._frozen: list[greenlet] = []  # where processes were when they were killed
        self._begun: set[_Thread] = set()
        self._is_over = False
        self.outside = Context()  # what belongs to no process: the network, the broker
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        """Seconds since the beginning of the run."""
        return self.now_s

    def call_at(  # type: ignore[override] # whatever asyncio takes
        self, when: float, *arguments: Any, **options: Any
    ) -> asyncio.TimerHandle:
        """A timer, at least a microsecond from now: a clock moves while a program looks at it."""
        return super().call_at(max(when, self.now_s + TIMER_S_MIN), *arguments, **options)

    def later(self, delay_s: float, function: Callable[..., Any], *arguments: Any) -> None:
        """Call in no process."""
        self.call_later(delay_s, function, *arguments, context=self.outside)

    def new_task(self, coroutine: Any, context: Context) -> "asyncio.Task[Any]":
        """A task that runs in a context."""
        return self._new_task(self, coroutine, context=context)

    def make_ready(self, handles: "deque[asyncio.Handle]") -> None:
        """Run these behind what is ready."""
        self._ready.extend(handles)

    def _new_task(self, loop: Any, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - of a killed process
        self._tasks.append(task)
        if len(self._tasks) > TASKS_KEPT:
            self._tasks = [kept for kept in self._tasks if not kept.done()]
        return task

    def run_forever(self) -> None:
        """Until it is told to stop.

        Raises:
            LoopStuckError: see there.
        """
        self._spent = 0
        super().run_forever()

    def _run_once(self) -> None:
        """One turn. It runs in a greenlet, which stands still where its process is killed."""
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0]._cancelled:  # noqa: SLF001 - as asyncio does
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False  # noqa: SLF001 - as asyncio does
        if not ready and not self._stopping:
            if not scheduled:
                raise LoopStuckError("nothing is ready and no timer is set")
            self.now_s = max(self.now_s, scheduled[0]._when)  # noqa: SLF001 - as asyncio does
        while scheduled and scheduled[0]._when <= self.now_s:  # noqa: SLF001 - as asyncio does
            handle = heapq.heappop(scheduled)
            handle._scheduled = False  # noqa: SLF001 - as asyncio does
            ready.append(handle)
        self._spent += len(ready)
        if self._spent > HANDLES_MAX:
            raise LoopStuckError(f"{HANDLES_MAX} handles and no end")
        turn = greenlet(self._turn)
        turn.switch(len(ready))
        if not turn.dead:
            self._freeze(turn)

    def _turn(self, count: int) -> None:
        ready = self._ready
        for _ in range(count):
            if not ready:
                return
            handle = ready.popleft()
            if handle._cancelled:  # noqa: SLF001 - as asyncio does
                continue
            process = handle._context.get(PROCESS)  # noqa: SLF001 - as asyncio does
            if process is not None and process.state is not ProcessState.RUNNING:
                process.hold(handle)
                continue
            handle._run()  # noqa: SLF001 - as asyncio does
            if self._is_over:  # it was killed in this step, and has been unwound
                return

    def _freeze(self, turn: greenlet) -> None:
        """The process was killed in the middle of a step: the step never ends, the others go on."""
        self._frozen.append(turn)
        task = asyncio.current_task(self)
        if task is not None:
            asyncio.tasks._leave_task(self, task)  # noqa: SLF001 - as asyncio does

    def _write_to_self(self) -> None:
        """Nothing waits in a selector."""

    # -- threads -----------------------------------------------------------------------------

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, function: Callable[..., Any], *arguments: Any
    ) -> "asyncio.Future[Any]":
        """The work runs in a greenlet of the process, behind what its executor has to do."""
        work = _ThreadWork(self.create_future(), lambda: function(*arguments), copy_context())
        queue = self._threads.setdefault(executor, deque())
        queue.append(work)
        if executor is None or len(queue) == 1:
            self._begin(executor, work)
        return work.future

    def _begin(self, executor: Any, work: "_ThreadWork") -> None:
        def body() -> None:
            work.run()
            self._threads[executor].remove(work)
            if executor is not None and self._threads[executor]:
                self._begin(executor, self._threads[executor][0])

        thread = _Thread(body)
        thread.gr_context = work.context.copy()
        self.call_later(self._thread_wait_s(), self._step, thread, context=work.context)

    def _step(self, thread: _Thread) -> None:
        thread.parent = getcurrent()
        self._begun.add(thread)
        delay_s = thread.switch()
        if thread.dead:
            self._begun.discard(thread)
        elif delay_s is not None:  # else its process was killed
            self.call_later(delay_s, self._step, thread)

    async def shutdown_default_executor(self, *_: Any) -> None:
        """There is none."""

    def abandon(self) -> None:
        """Unwind all that has not ended. What it does in its end is of no run any more.

        Nothing may be left for the garbage collector, which would unwind it in the middle of
        whatever runs then.
        """
        self._is_over = True
        self.set_exception_handler(lambda _loop, _context: None)
        asyncio._set_running_loop(self)  # noqa: SLF001 - what is unwound may ask for it
        try:
            for left in (*self._frozen, *self._begun):
                left.parent = getcurrent()
                with contextlib.suppress(BaseException):
                    left.throw()
            # What catches whatever comes goes on once, and ends at its next wait; it may begin
            # others.
            for _ in range(UNWINDINGS):
                tasks, self._tasks = self._tasks, []
                for task in tasks:
                    with contextlib.suppress(Exception):
                        task.get_coro().close()
                    if not task.done():
                        self._tasks.append(task)
        finally:
            asyncio._set_running_loop(None)  # noqa: SLF001 - the same
        self._frozen.clear()
        self._begun.clear()
        self._ready.clear()
        self._scheduled.clear()
        self._tasks.clear()
        self._threads.clear()
        self.close()


def pause(delay_s: float) -> None:
    """Let time pass in a thread's work; at once where no virtual thread runs."""
    thread = getcurrent()
    if delay_s > 0 and isinstance(thread, _Thread):
        thread.parent.switch(delay_s)


def end_process() -> NoReturn:
    """Kill the process that calls: not one more step of it is made, as after SIGKILL.

    Raises:
        RuntimeError: it was called outside of every process.
    """
    process, here = PROCESS.get(), getcurrent()
    if process is None or here.parent is None:
        raise RuntimeError("end_process was called outside of a virtual process")
    process.kill()
    here.parent.switch(None)
    raise AssertionError("a killed process went on")
