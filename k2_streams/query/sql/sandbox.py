"""Where statements of users run: a DuckDB of its own, which reaches nothing but what it is given.

It has no folder that it may read, one thread per statement, two statements at a time, and memory of
its own; answers and sinks do not wait behind it. What a statement reads has been read before, by
the engine of answers, and is registered as tables.
"""

from collections.abc import Callable, Mapping
from contextlib import closing

import duckdb
import pyarrow as pa

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.query.engine import Engine, EngineConfig, QuerySession
from k2_streams.query.errors import QueryError, QueryTimeoutError, TooMuchError
from k2_streams.query.sql.calls import refused
from k2_streams.query.sql.parsing import reason_of

#: Statements at once, and those that may wait for them.
WORKERS = 2
MAX_WAITING = 8
#: Of both together, above what they are given.
MEMORY_BYTES = 256 << 20
TIMEOUT_S = 10.0
#: Rows taken from DuckDB at a time.
_ROWS_AT_ONCE = 8_192


class Sandbox:
    """Opened with the first statement: most workers are never asked one.

    Args:
        new_engine: opens it.
        clock: of the time limit.
        memory_bytes: of all statements together.
    """

    def __init__(
        self,
        new_engine: Callable[[EngineConfig, Clock], Engine] = Engine,
        clock: Clock = SYSTEM_CLOCK,
        memory_bytes: int = MEMORY_BYTES,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._new_engine = new_engine
        self._clock = clock
        self._config = EngineConfig(
            workers=WORKERS,
            threads=1,
            memory_bytes=memory_bytes,
            timeout_s=timeout_s,
            max_waiting=MAX_WAITING,
        )
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """Runs what is done in it."""
        if self._engine is None:
            self._engine = self._new_engine(self._config, self._clock)
        return self._engine

    def close(self) -> None:
        """Let its workers end."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


def select(
    session: QuerySession,
    text: str,
    parameters: Mapping[str, object],
    tables: Mapping[str, pa.Table],
    at_most: int,
) -> pa.Table:
    """The first rows of a statement that was checked, over these tables.

    With one thread and the same tables the same rows come in the same order.

    Raises:
        InvalidParameter: it names what is not there, or its types do not fit.
        TooMuchError: it needs more memory than it may take.
        QueryTimeoutError: it was interrupted.
    """
    connection = session.connection
    for name, table in tables.items():
        connection.register(name, table)
    try:
        relation = connection.sql(text, params=dict(parameters) or None)
        batches, rows = [], 0
        # What is not taken is closed, before the connection does anything else.
        with closing(relation.to_arrow_reader(_ROWS_AT_ONCE)) as reader:
            for batch in reader:
                batches.append(batch)
                rows += batch.num_rows
                if rows >= at_most:
                    break
            schema = reader.schema
        return pa.Table.from_batches(batches, schema).slice(0, at_most)
    except (duckdb.Error, pa.ArrowException, MemoryError) as error:
        raise _of_statement(error) from error
    finally:
        for name in tables:
            connection.unregister(name)


def _of_statement(error: Exception) -> QueryError:
    """What became of a statement: while its rows are taken, DuckDB's errors come as Arrow's."""
    text = str(error)
    if isinstance(error, duckdb.InterruptException) or "Interrupted!" in text:
        return QueryTimeoutError(TIMEOUT_S, "statement")
    is_memory = isinstance(error, duckdb.OutOfMemoryException | MemoryError)
    if is_memory or "Out of Memory" in text:
        return TooMuchError(
            "the statement needs more memory than it may take: narrow what it reads"
        )
    return refused(reason_of(error))
