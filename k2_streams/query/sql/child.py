"""The process in which statements of users run: `python -m k2_streams.query.sql.child`.

DuckDB counts most of what a statement takes, and not all of it: texts that functions make of texts
are not. So what a statement may take is bounded where nothing escapes, by the address space of a
process that does nothing else. Past it an allocation fails, and the statement with it, or the
process, which is then started again. Where the system's memory is short, its killer takes this
process first.

It reaches what it is given through its standard input alone: it has no folder that it may read, no
files to open beyond its pipes, none to write, and no environment.
"""

import os
import pickle
import resource
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import msgspec
import pyarrow as pa

from k2_streams.query import walled
from k2_streams.query.sql.frames import (
    CallAnswer,
    EndOfFramesError,
    decoded,
    encoded,
    read_frame,
    write_frame,
)

#: Rows taken from DuckDB at a time.
_ROWS_AT_ONCE = 8_192
#: Above what DuckDB may count: what it does not, the rows of the answer as they are sent, stacks.
SLACK_BYTES = 256 << 20
#: A call: a statement with its parameters. Tables have frames of their own.
_FRAME_BYTES_MAX = 1 << 34
_FILES_MAX = 64
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Parameters = Mapping[str, Any] | list[Any] | None


class TooLargeError(Exception):
    """An answer has more bytes than it may."""


#: What a statement can end with: while rows are taken, DuckDB's errors come as OSError; of a number
#: or text that JSON has no form for, the last two.
_OF_STATEMENTS = (
    duckdb.Error, pa.ArrowException, OSError, MemoryError, TooLargeError, OverflowError, TypeError,
)  # fmt: skip


def kinds(connection: duckdb.DuckDBPyConnection, text: str) -> CallAnswer:
    """The kind of each statement of a text."""
    return CallAnswer(rows=[[one.type.name] for one in connection.extract_statements(text)])


def fetch(connection: duckdb.DuckDBPyConnection, text: str, parameters: Parameters) -> CallAnswer:
    """The rows of a small query."""
    rows = connection.execute(text, parameters or None).fetchall()
    return CallAnswer(rows=[list(row) for row in rows])


def select(
    connection: duckdb.DuckDBPyConnection,
    text: str,
    parameters: Parameters,
    tables: Mapping[str, pa.Table],
    at_most: tuple[int, int],
) -> pa.Table:
    """The first rows of a statement over tables; with one thread and the same tables the same.

    Args:
        connection: that sees the tables while it runs.
        text: of the statement.
        parameters: that it names.
        tables: by their names in it.
        at_most: rows, and bytes of them.

    Raises:
        TooLargeError: so many rows have more bytes.
    """
    for name, table in tables.items():
        connection.register(name, table)
    most_rows, most_bytes = at_most
    try:
        relation = connection.sql(text, params=parameters or None)
        batches, rows, size = [], 0, 0
        # What is not taken is closed, before the connection does anything else.
        with closing(relation.to_arrow_reader(_ROWS_AT_ONCE)) as reader:
            for whole in reader:
                batch = whole.slice(0, most_rows - rows)
                batches.append(batch)
                rows += batch.num_rows
                size += batch.nbytes
                if size > most_bytes:
                    raise TooLargeError
                if rows == most_rows:
                    break
            schema = reader.schema
        return pa.Table.from_batches(batches, schema)
    finally:
        for name in tables:
            connection.unregister(name)


class Child:
    """Calls, one after the other, on a thread: the main thread reads, and hears SIGINT.

    A signal that was sent before a call has been heard when the call is read.
    """

    def __init__(self, calls: BinaryIO, answers: BinaryIO, memory_bytes: int) -> None:
        self._calls = calls
        self._answers = answers
        self._memory_bytes = memory_bytes
        # With one thread a statement of the same tables gives the same rows.
        self._connection = walled.connect(threads=1, memory_bytes=memory_bytes)
        walled.wall(self._connection)

    def serve(self) -> None:
        """Until the worker ends.

        Raises:
            EndOfFramesError: it has.
        """
        signal.signal(signal.SIGINT, lambda *_: self._connection.interrupt())
        pool = ThreadPoolExecutor(1)  # nobody waits for it: whatever runs ends with the process
        while True:
            call, *arguments, names = pickle.loads(  # noqa: S301 - the worker alone writes there
                read_frame(self._calls, _FRAME_BYTES_MAX)
            )
            tables = {name: decoded(read_frame(self._calls, _FRAME_BYTES_MAX)) for name in names}
            pool.submit(self._answer, call, arguments, tables)

    def _answer(self, call: str, arguments: list[Any], tables: Mapping[str, pa.Table]) -> None:
        try:
            head, rows = self._answered(call, arguments, tables)
            write_frame(self._answers, head)
            if rows is not None:
                write_frame(self._answers, rows)
        except BaseException:  # noqa: BLE001 - a thread's end would go unseen: the worker starts another process
            os._exit(1)

    def _done(
        self, call: str, arguments: list[Any], tables: Mapping[str, pa.Table]
    ) -> CallAnswer | pa.Table:
        match call, arguments:
            case "kinds", [text]:
                return kinds(self._connection, text)
            case "fetch", [text, parameters]:
                return fetch(self._connection, text, parameters)
            case "select", [text, parameters, at_most]:
                return select(self._connection, text, parameters, tables, at_most)
        raise ValueError(call)

    def _answered(
        self, call: str, arguments: list[Any], tables: Mapping[str, pa.Table]
    ) -> tuple[bytes, pa.Buffer | None]:
        """What is sent of a call: its head, and rows if it has some."""
        _wall(self._memory_bytes + SLACK_BYTES)
        try:
            done = self._done(call, arguments, tables)
            if isinstance(done, pa.Table):
                return msgspec.json.encode(CallAnswer(has_table=True)), encoded(done)
            return msgspec.json.encode(done), None
        except _OF_STATEMENTS as error:
            return msgspec.json.encode(_of_error(error)), None
        finally:
            _wall(None)  # what comes next is the worker's


def _of_error(error: Exception) -> CallAnswer:
    if isinstance(error, TooLargeError):
        return CallAnswer(error="large")
    match walled.failure_of(error):
        case walled.StatementFailure.INTERRUPTED:
            return CallAnswer(error="interrupted")
        case walled.StatementFailure.MEMORY:
            return CallAnswer(error="memory", text=str(error))
        case walled.StatementFailure.OTHER:
            return CallAnswer(error="statement", text=str(error))


def _wall(more_bytes: int | None) -> None:
    """Bound the address space to what is taken now and so much more; None: no longer."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if more_bytes is None:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        return
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return  # not Linux: DuckDB's own limit is left
    most = pages * _PAGE_BYTES + more_bytes
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _confine() -> None:
    """Take away what no statement needs."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = _FILES_MAX if hard == resource.RLIM_INFINITY else min(_FILES_MAX, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))
    with suppress(OSError):  # another system, or it may not
        Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Answer what comes on standard input, on what was standard output, until that ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not print into the answers
    _confine()
    try:
        Child(sys.stdin.buffer, answers, int(sys.argv[1])).serve()
    except EndOfFramesError:
        os._exit(0)  # also where a statement still runs


if __name__ == "__main__":
    main()
