"""Where statements of users run: in processes of their own, which reach what they are given alone.

Two statements run at a time; answers and sinks do not wait behind them. What a statement reads has
been read before, by the engine of answers, and is sent to its process. A process is started with
the first statement, since most workers are never asked one, and ended when none came for a while.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.query.errors import BusyError, QueryTimeoutError
from k2_streams.query.jobs import Job
from k2_streams.query.sql.process import StatementProcess

#: Statements at once, and those that may wait for them.
WORKERS = 2
MAX_WAITING = 8
#: Of each, above what it is given.
MEMORY_BYTES = 128 << 20
TIMEOUT_S = 10.0
#: Processes without a statement for so long end: each holds some 100 MB.
IDLE_S = 60.0
#: A process starts in half a second, and on a machine that has much to do in some.
START_TIMEOUT_S = 30.0

_T = TypeVar("_T")


class Sandbox:
    """The processes of a worker's statements. For one event loop.

    Args:
        clock: of the time limit.
        memory_bytes: that DuckDB may take for a statement.
        timeout_s: of a statement, its wait for another included, the start of a process not.
    """

    def __init__(
        self,
        clock: Clock = SYSTEM_CLOCK,
        memory_bytes: int = MEMORY_BYTES,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._processes = [StatementProcess(memory_bytes, timeout_s, clock) for _ in range(WORKERS)]
        self._free = list(self._processes)
        self._turns = asyncio.Semaphore(WORKERS)
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="k2-sql")
        self._asking = 0
        self._ending: asyncio.TimerHandle | None = None

    @property
    def timeout_s(self) -> float:
        """Of a statement."""
        return self._timeout_s

    @property
    def running(self) -> int:
        """Processes that run."""
        return sum(process.pid is not None for process in self._processes)

    async def run(self, work: Callable[[StatementProcess], _T]) -> _T:
        """Do `work` with a process, on a thread.

        Raises:
            BusyError: too many wait already, or no process could be started.
            QueryTimeoutError: it waited or worked longer than it may.
            InvalidParameter, TooMuchError: as `StatementProcess`.
        """
        if self._asking >= WORKERS + MAX_WAITING:
            raise BusyError(f"{MAX_WAITING} statements wait already")
        self._asking += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turns.acquire()
        except TimeoutError as error:
            self._asking -= 1
            raise QueryTimeoutError(self._timeout_s, "wait for a worker") from error
        except BaseException:
            self._asking -= 1
            raise
        process = self._free.pop()
        await self._started(process)
        job = Job(self._threads, work, process.begin, self._timeout_s, self._clock)
        job.future.add_done_callback(lambda done: self._give_back(process, done))
        return await job.result()

    async def _started(self, process: StatementProcess) -> None:
        opening = asyncio.get_running_loop().run_in_executor(self._threads, process.open)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.shield(opening)
        except BaseException as error:
            opening.add_done_callback(lambda done: self._give_back(process, done))
            if isinstance(error, OSError | TimeoutError):
                raise BusyError("no process for statements could be started") from error
            raise

    def _give_back(self, process: StatementProcess, done: "asyncio.Future[Any]") -> None:
        if not done.cancelled():
            done.exception()  # fetched, so that an abandoned one is not reported twice
        self._free.append(process)
        self._asking -= 1
        self._turns.release()
        if self._ending is not None:
            self._ending.cancel()
        self._ending = done.get_loop().call_later(IDLE_S, self._end_free)

    def _end_free(self) -> None:
        """End what has had nothing to do; it is started again when it is needed."""
        for process in self._free:
            process.close()

    def close(self) -> None:
        """End the processes, whatever they run, and their threads."""
        for process in self._processes:
            process.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
