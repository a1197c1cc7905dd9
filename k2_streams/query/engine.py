"""DuckDB behind a wall: a few threads, bounded memory, time and queue, no reach beyond the lake.

1. The instance reaches the warehouse's folders alone (`walled`).
2. Each worker thread has a connection of its own, made once.
3. A statement runs on one of them; past its time it is interrupted.

Files in an object store are read through `store_files`, by a statement like any other. It waits for
a network then, so such statements have workers of their own: questions to the tail alone do not
queue behind a store that is slow.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.core.load.admission import units_of
from k2_streams.query import walled
from k2_streams.query.errors import BusyError, QueryTimeoutError, TooMuchError
from k2_streams.query.jobs import Job
from k2_streams.query.statement import TAIL, Statement
from k2_streams.query.store_files import SCHEMES, StoreFiles
from k2_streams.query.turns import Turns

log = structlog.get_logger(__name__)
_T = TypeVar("_T")

#: What a statement finds beside the tail.
NO_TABLES: Mapping[str, pa.Table] = MappingProxyType({})
#: Rows of a piece of a column.
_PIECE_ROWS = 65_536
#: What DuckDB raises of a file that is gone or damaged.
_OF_FILES = (duckdb.IOException, duckdb.HTTPException, duckdb.InvalidInputException)
_MEMORY = "SELECT tag, memory_usage_bytes FROM duckdb_memory()"


class FilesUnreadableError(Exception):
    """A file of the plan is gone or cannot be read.

    Attributes:
        away: whether it is the store that did not answer as it should, rather than the file.
    """

    def __init__(self, message: str, *, away: bool = False) -> None:
        super().__init__(message)
        self.away = away


def _quiet_end() -> None:
    """DuckDB's bindings list what they did not free, forty lines, when the interpreter is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_quiet_end)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The limits of queries.

    Attributes:
        allowed: absolute folders that files may be read from: the warehouse.
        store: the warehouse, if it is an object store; then there is no folder.
        workers: statements at once: of each query that has its turn (`query.turns`), and one that
            adds up the totals of symbols. They share the cores with the pipeline.
        store_workers: the same of statements that read from a store: they wait more than they work.
        threads: of all statements together.
        store_threads: the same with a store, which answers a request in some 20 to 50 ms.
        memory_bytes: of all statements together; above it a statement fails, nothing goes to disk.
            What was read from a store, and the footers of the files that were read (some 50 KiB
            each), are kept in what they leave of it.
        timeout_s: of one statement, its waiting included.
        max_waiting: statements that may wait for a worker; more are refused at once.
    """

    allowed: tuple[str, ...] = ()
    store: StoreFiles | None = None
    workers: int = 4
    store_workers: int = 4
    threads: int = 2
    store_threads: int = 8
    memory_bytes: int = 512 << 20
    timeout_s: float = 10.0
    max_waiting: int = 64


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """What DuckDB holds.

    Attributes:
        used_bytes: in all; at most the limit.
        footers_bytes: of it, the footers of files, which make room for statements.
    """

    used_bytes: int
    footers_bytes: int


class QuerySession:
    """One worker's connection while it works on one question."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: StoreFiles | None = None,
        *,
        timeout_s: float,
    ) -> None:
        self._connection = connection
        self._store = store
        self._timeout_s = timeout_s

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection, for as long as the work runs; to be left as it was found."""
        return self._connection

    def table(
        self, statement: Statement, tail: pa.Table, others: Mapping[str, pa.Table] = NO_TABLES
    ) -> pa.Table:
        """The statement's rows; it finds `tail` under `TAIL`, and `others` under their names.

        Raises:
            FilesUnreadableError: a file is gone or damaged.
            TooMuchError: it needs more memory than it may take.
            QueryTimeoutError: it was interrupted.
        """
        given = {TAIL: tail, **others}
        for name, table in given.items():
            self._connection.register(name, table)
        try:
            with self._errors_of(statement):
                rows: pa.Table = self._of(statement).to_arrow_table()
        finally:
            for name in given:
                self._connection.unregister(name)
        return rows

    def integers(self, statement: Statement) -> Iterator[npt.NDArray[np.int64]]:
        """The one column of a statement over files alone, a piece at a time: no more is in memory.

        The column has integers or times, as integers of their unit; it has no nulls. No other
        statement may run before all pieces are taken.

        Raises:
            FilesUnreadableError, TooMuchError, QueryTimeoutError: as `table`.
        """
        with (
            self._errors_of(statement),
            closing(self._of(statement).to_arrow_reader(_PIECE_ROWS)) as reader,
        ):
            for batch in reader:
                yield batch.column(0).cast(pa.int64()).to_numpy()

    def _of(self, statement: Statement) -> duckdb.DuckDBPyRelation:
        return self._connection.sql(statement.sql, params=list(statement.values))

    @contextmanager
    def _errors_of(self, statement: Statement) -> Iterator[None]:
        """What DuckDB raises of a statement, as this class does.

        An error that comes while pieces are taken is Arrow's, with DuckDB's text.
        """
        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            why = walled.failure_of(error)
            if why is walled.StatementFailure.INTERRUPTED:
                raise QueryTimeoutError(self._timeout_s) from error
            if why is walled.StatementFailure.MEMORY:
                raise TooMuchError(
                    "the query needs more memory than one query may use: narrow it, or lower limit"
                ) from error
            unreadable = self._of_store(error, statement)
            if unreadable is not None:
                raise unreadable from None  # its traceback is in the other's text
            if isinstance(error, duckdb.Error) and not isinstance(error, _OF_FILES):
                raise
            # The statements are our own: what else goes wrong is in a file.
            raise FilesUnreadableError(str(error)) from error

    def interrupt(self) -> None:
        """End the statement that runs; from any thread."""
        self._connection.interrupt()

    def _of_store(self, error: Exception, statement: Statement) -> FilesUnreadableError | None:
        """The store's error, if it was the store: what Python raised comes as DuckDB's base."""
        is_own = isinstance(error, duckdb.Error) and type(error) is not duckdb.Error
        if self._store is None or is_own:
            return None
        lists = (value for value in statement.values if isinstance(value, list))
        files = [text for texts in lists for text in texts if isinstance(text, str)]
        cause = self._store.failure(files)
        if cause is None:
            return None
        away = not isinstance(cause, FileNotFoundError)
        return FilesUnreadableError(f"{type(cause).__name__}: {cause}", away=away)


class Engine:
    """A pool of DuckDB connections for questions asked from one event loop."""

    def __init__(self, config: EngineConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        self._config = config
        self._clock = clock
        self._instance = _instance_of(config)
        self._local = threading.local()
        self._near = _Lane(config.workers, "k2-query")
        self._far = self._near if config.store is None else _Lane(config.store_workers, "k2-store")
        self._turns = Turns(clock)
        self._teller: duckdb.DuckDBPyConnection | None = self._instance.cursor()

    @property
    def store_waits_s(self) -> float:
        """How long the store has kept a request waiting that it has not answered yet."""
        return 0.0 if self._config.store is None else self._config.store.waits_s

    @property
    def timeout_s(self) -> float:
        """Of one statement."""
        return self._config.timeout_s

    def memory(self) -> EngineMemory:
        """Now; takes a millisecond or less, and waits for no statement."""
        if self._teller is None:
            return EngineMemory(0, 0)
        held = dict(self._teller.execute(_MEMORY).fetchall())
        return EngineMemory(sum(held.values()), held.get("OBJECT_CACHE", 0))

    def turn(
        self, rows: int, scanned: int, *, reads_lake: bool
    ) -> AbstractAsyncContextManager[None]:
        """A query's turn, to be taken before its first statement and kept until its last.

        Args:
            rows: that it answers at most.
            scanned: that it may have to look at.
            reads_lake: as of `run`.

        Raises:
            BusyError: on entry: it would wait for longer than it may.
        """
        far = reads_lake and self._far is not self._near
        return self._turns.take(units_of(rows, scanned), far=far)

    async def run(self, work: Callable[[QuerySession], _T], *, reads_lake: bool = False) -> _T:
        """Do `work` on a worker's connection.

        Raises:
            BusyError: too many wait already.
            QueryTimeoutError: it waited or worked longer than it may.
            FilesUnreadableError, TooMuchError: as `QuerySession.table`.
        """
        lane = self._far if reads_lake else self._near
        if lane.working >= lane.workers + self._config.max_waiting:
            raise BusyError(f"{self._config.max_waiting} queries wait already")
        lane.working += 1
        job = Job(lane.pool, work, self._session, self._config.timeout_s, self._clock)
        job.future.add_done_callback(lane.done)
        return await job.result()

    def close(self) -> None:
        """Let the workers end and close the instance."""
        for lane in {self._near, self._far}:
            lane.pool.shutdown(wait=True, cancel_futures=True)
        self._teller = None
        self._instance.close()

    def _session(self) -> QuerySession:
        connection: duckdb.DuckDBPyConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._instance.cursor()
        return QuerySession(connection, self._config.store, timeout_s=self._config.timeout_s)


class _Lane:
    """Workers, and how many questions they have and will have."""

    def __init__(self, workers: int, name: str) -> None:
        self.workers = workers
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self.working = 0

    def done(self, future: "asyncio.Future[_T]") -> None:
        """One less."""
        self.working -= 1
        if not future.cancelled():
            future.exception()  # fetched, so that an abandoned one is not reported twice


def _instance_of(config: EngineConfig) -> duckdb.DuckDBPyConnection:
    threads = config.threads if config.store is None else config.store_threads
    instance = walled.connect(threads=threads, memory_bytes=config.memory_bytes)
    instance.execute("SET GLOBAL parquet_metadata_cache = true")
    allowed = list(config.allowed)
    if config.store is not None:
        # What lies below these names is what the store gives: the files of one table.
        instance.register_filesystem(config.store)
        allowed += [f"{scheme}://" for scheme in SCHEMES]
    walled.wall(instance, allowed)
    return instance
