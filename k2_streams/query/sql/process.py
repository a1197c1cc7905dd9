"""A process that runs statements, as its worker sees it."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import pyarrow as pa
import structlog

from k2_streams.clock import Clock
from k2_streams.query.engine import NO_TABLES
from k2_streams.query.errors import QueryError, QueryTimeoutError, TooMuchError
from k2_streams.query.sql.calls import refused
from k2_streams.query.sql.frames import (
    CallAnswer,
    EndOfFramesError,
    decoded,
    encoded,
    read_frame,
    write_frame,
)

log = structlog.get_logger(__name__)

#: Of the rows of an answer: a limit of rows says nothing of texts, lists and maps.
RESULT_BYTES = 64 << 20
#: Of an answer's head: trees of statements, values of constants.
_HEAD_BYTES = 64 << 20
#: A process that has been told to end a statement, and has not by then, is ended itself.
KILL_AFTER_S = 1.0
_END_S = 5.0
_NO_ROWS = pa.table({})
_ANSWER = msgspec.json.Decoder(CallAnswer)
#: A process that ended, or is not what it was.
_BROKEN = (OSError, ValueError, EndOfFramesError, msgspec.MsgspecError, pa.ArrowException)


class StatementProcess:
    """Runs one statement at a time, for one thread at a time.

    Args:
        memory_bytes: that DuckDB may take for a statement; the process has bounds of its own above.
        timeout_s: of a statement; whoever asks keeps to it, errors name it.
        clock: of how long it is waited for after it was told to end.
    """

    def __init__(self, memory_bytes: int, timeout_s: float, clock: Clock) -> None:
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._told_s: float | None = None

    @property
    def pid(self) -> int | None:
        """Of the process while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def open(self) -> None:
        """Start it unless it runs; returns when it answers."""
        if self.pid is not None:
            return
        self.close()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "k2_streams.query.sql.child", str(self._memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                "PYTHONPATH": os.pathsep.join(one for one in sys.path if one),
                "ARROW_DEFAULT_MEMORY_POOL": "system",
                "MALLOC_ARENA_MAX": "2",
            },
        )
        self.fetch("SELECT 1")

    def close(self) -> None:
        """End it, and what it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not sent yet has no reader
                    pipe.close()
        process.wait(_END_S)

    def begin(self) -> "StatementProcess":
        """For work that begins: nobody has told it to end."""
        self._told_s = None
        return self

    def interrupt(self) -> None:
        """End the statement that runs, or the process if that does not help. From any thread."""
        process, now_s = self._process, self._clock.monotonic()
        if process is None:
            return
        if self._told_s is None:
            self._told_s = now_s
        try:
            if now_s - self._told_s > KILL_AFTER_S:
                process.kill()
            else:
                process.send_signal(signal.SIGINT)
        except OSError:
            return  # it has ended

    def kinds(self, text: str) -> list[str]:
        """The kinds of a text's statements.

        Raises:
            InvalidParameter: it cannot be read.
        """
        return [kind for (kind,) in self._call("kinds", text)[0].rows]

    def fetch(self, text: str, parameters: Any = None) -> list[list[Any]]:
        """The rows of a query whose values are numbers and texts.

        Raises:
            InvalidParameter: DuckDB refused it.
            TooMuchError: it needs more memory than it may take.
            QueryTimeoutError: it was interrupted.
        """
        return self._call("fetch", text, parameters)[0].rows

    def select(
        self,
        text: str,
        parameters: Mapping[str, object],
        tables: Mapping[str, pa.Table],
        at_most: int,
    ) -> pa.Table:
        """The first rows of a statement that was checked, over these tables.

        Raises:
            InvalidParameter: it names what is not there, or its types do not fit.
            TooMuchError: it needs more memory, or has more bytes, than it may.
            QueryTimeoutError: it was interrupted.
        """
        limits = (at_most, RESULT_BYTES)
        return self._call("select", text, dict(parameters), limits, tables=tables)[1]

    def _call(
        self, call: str, *arguments: Any, tables: Mapping[str, pa.Table] = NO_TABLES
    ) -> tuple[CallAnswer, pa.Table]:
        """What became of a call, and its rows: none but for a statement."""
        try:
            answer, rows = self._exchange((call, *arguments, list(tables)), tables.values())
        except _BROKEN as error:
            told = self._told_s is not None
            log.warning("process of statements ended", error=f"{error!r}", interrupted=told)
            self.close()
            raise (
                QueryTimeoutError(self._timeout_s, "statement") if told else _too_much()
            ) from error
        if answer.error is not None:
            raise self._of_error(answer)
        return answer, rows

    def _exchange(
        self, call: tuple[Any, ...], tables: Iterable[pa.Table]
    ) -> tuple[CallAnswer, pa.Table]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise EndOfFramesError("it has not been started")
        write_frame(process.stdin, pickle.dumps(call))
        for table in tables:
            write_frame(process.stdin, encoded(table))
        answer = _ANSWER.decode(read_frame(process.stdout, _HEAD_BYTES))
        if not answer.has_table:
            return answer, _NO_ROWS
        rows = decoded(read_frame(process.stdout, 2 * RESULT_BYTES))
        rows.validate(full=True)
        return answer, rows

    def _of_error(self, answer: CallAnswer) -> QueryError:
        match answer.error:
            case "interrupted":
                return QueryTimeoutError(self._timeout_s, "statement")
            case "memory":
                return _too_much()
            case "large":
                return TooMuchError(
                    f"its rows have more than {RESULT_BYTES >> 20} MiB: select less of each, or "
                    f"lower limit"
                )
        return refused(reason_of(answer.text))


def _too_much() -> TooMuchError:
    return TooMuchError("the statement needs more memory than it may take: narrow what it reads")


def reason_of(text: str) -> str:
    """What DuckDB says, without its kind of error and its drawing of the place."""
    first = text.split("\n\nLINE", maxsplit=1)[0].strip()
    return " ".join(first.partition(": ")[2].split()) or first
