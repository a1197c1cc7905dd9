"""DuckDB behind a wall: a few threads, bounded memory, time and queue, no reach beyond the lake.

1. The instance is configured, then its external access is turned off but for the warehouse's
   folders, then its configuration is locked: in this order, since each step forbids the one
   before it.
2. Each worker thread has a connection of its own, made once.
3. A statement runs on one of them; past its time it is interrupted.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import duckdb
import pyarrow as pa
import structlog

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.query.errors import BusyError, QueryTimeoutError, TooMuchError
from k2_streams.query.statement import SOUGHT, TAIL, Statement

log = structlog.get_logger(__name__)
_T = TypeVar("_T")

#: An interrupt that comes before a statement has begun is lost, so it is repeated.
_INTERRUPT_EVERY_S = 0.05


class FilesUnreadableError(Exception):
    """A file of the plan is gone or cannot be read."""


def _quiet_end() -> None:
    """DuckDB's bindings list what they did not free, forty lines, when the interpreter is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_quiet_end)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The limits of queries.

    Attributes:
        allowed: absolute folders that files may be read from: the warehouse.
        workers: statements at once; two cores are shared with the pipeline.
        threads: of all statements together.
        memory_mb: of all statements together; above it a statement fails, nothing goes to disk.
        timeout_s: of one statement, its waiting included.
        max_waiting: statements that may wait for a worker; more are refused at once.
    """

    allowed: tuple[str, ...]
    workers: int = 2
    threads: int = 2
    memory_mb: int = 512
    timeout_s: float = 10.0
    max_waiting: int = 64


class Session:
    """One worker's connection while it works on one question."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def table(
        self, statement: Statement, tail: pa.Table, sought: pa.Table | None = None
    ) -> pa.Table:
        """The statement's rows; `tail` and `sought` are what it finds under their names.

        Raises:
            FilesUnreadableError: a file is gone or damaged.
            TooMuchError: it needs more memory than it may take.
            QueryTimeoutError: it was interrupted.
        """
        given = {TAIL: tail} if sought is None else {TAIL: tail, SOUGHT: sought}
        for name, table in given.items():
            self._connection.register(name, table)
        try:
            relation = self._connection.sql(statement.sql, params=list(statement.values))
            rows: pa.Table = relation.to_arrow_table()
        except duckdb.InterruptException as error:
            raise QueryTimeoutError("the query took longer than it may") from error
        except duckdb.OutOfMemoryException as error:
            raise TooMuchError("the query needs more memory than it may take") from error
        except (duckdb.IOException, duckdb.HTTPException, duckdb.InvalidInputException) as error:
            # The last one is what a damaged Parquet file raises; the statements are our own.
            raise FilesUnreadableError(str(error)) from error
        finally:
            for name in given:
                self._connection.unregister(name)
        return rows


class Engine:
    """A pool of DuckDB connections for questions asked from one event loop."""

    def __init__(self, config: EngineConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        self._config = config
        self._clock = clock
        self._instance = _walled(config)
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(config.workers, thread_name_prefix="k2-query")
        self._working = 0

    async def run(self, work: Callable[[Session], _T]) -> _T:
        """Do `work` on a worker's connection.

        Raises:
            BusyError: too many wait already.
            QueryTimeoutError: it waited or worked longer than it may.
            FilesUnreadableError, TooMuchError: as `Session.table`.
        """
        if self._working >= self._config.workers + self._config.max_waiting:
            raise BusyError(f"{self._config.max_waiting} queries wait already")
        loop = asyncio.get_running_loop()
        job = _Job(work, self._clock.monotonic() + self._config.timeout_s, self._clock)
        self._working += 1
        future = loop.run_in_executor(self._pool, job.run, self._connection)
        future.add_done_callback(self._done)
        try:
            # Shielded: the thread can only be told to stop, and must be left to.
            return await asyncio.wait_for(asyncio.shield(future), self._config.timeout_s)
        except TimeoutError as error:
            raise QueryTimeoutError("the query took longer than it may") from error
        finally:
            if not future.done():
                job.stop(loop, future)

    def close(self) -> None:
        """Let the workers end and close the instance."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._instance.close()

    def _done(self, future: "asyncio.Future[_T]") -> None:
        self._working -= 1
        if not future.cancelled():
            future.exception()  # fetched, so that an abandoned one is not reported twice

    def _connection(self) -> duckdb.DuckDBPyConnection:
        connection: duckdb.DuckDBPyConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._instance.cursor()
        return connection


class _Job(Generic[_T]):
    """One piece of work, which can be told to stop at any moment."""

    def __init__(self, work: Callable[[Session], _T], deadline_s: float, clock: Clock) -> None:
        self._work = work
        self._deadline_s = deadline_s
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._stopped = False

    def run(self, connection: Callable[[], duckdb.DuckDBPyConnection]) -> _T:
        """On a worker's thread."""
        with self._lock:
            if self._stopped or self._clock.monotonic() >= self._deadline_s:
                raise QueryTimeoutError("the query waited longer than it may")
            self._connection = connection()
        try:
            return self._work(Session(self._connection))
        finally:
            with self._lock:
                self._connection = None

    def stop(self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[_T]") -> None:
        """Interrupt it until it is done."""
        with self._lock:
            self._stopped = True
            if self._connection is not None:
                self._connection.interrupt()
        if not future.done():
            loop.call_later(_INTERRUPT_EVERY_S, self.stop, loop, future)


def _walled(config: EngineConfig) -> duckdb.DuckDBPyConnection:
    instance = duckdb.connect(
        ":memory:",
        config={
            "threads": config.threads,
            "memory_limit": f"{config.memory_mb}MB",
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        },
    )
    instance.execute("SET GLOBAL TimeZone = 'UTC'")
    instance.execute("SET GLOBAL parquet_metadata_cache = true")
    instance.execute("SET GLOBAL allowed_directories = ?", [list(config.allowed)])
    instance.execute("SET GLOBAL enable_external_access = false")
    instance.execute("SET GLOBAL lock_configuration = true")
    return instance
