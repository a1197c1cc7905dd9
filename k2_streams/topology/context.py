"""What an agent is given beside its rows: tables, outputs, timers, and the time so far.

What it hands in is checked here, while it runs: behind the call, an error would be nobody's.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from k2_streams.topology.declarations import Agent, Output, Table
from k2_streams.topology.emitted import check_row_sizes, check_rows
from k2_streams.topology.errors import StateReadError
from k2_streams.topology.overlay import Overlay
from k2_streams.topology.timers import Timers

#: The watermark before the first row of a partition.
NO_EVENT_TIME_NS = -(2**63)
_MAX_NS = 2**63 - 1
#: Of a table's value: a changelog's record with it goes well below the topic's limit of 1 MiB.
MAX_VALUE_BYTES = 256 * 1024
#: Of a key, with its value the changelog's record: longer ones belong into the value.
MAX_KEY_BYTES = 16 * 1024


class DeadRow(NamedTuple):
    """A row that an agent could not process."""

    agent: str
    row: int  # of the batch
    reason: str
    detail: str


class TableView:
    """A table during one call of its agent. What it changes is taken when the call has returned."""

    def __init__(self, table: Table, rows: Overlay) -> None:
        self._table = table
        self._rows = rows

    def get(self, key: str) -> Any:
        """The value of a row, an object of its own; None: there is no such row.

        Raises:
            TypeError, ValueError: the key is none.
            StateReadError: the store cannot be read.
        """
        _require_row_key(self._table, key)
        found = self._read(key)
        return None if found is None else self._table.decode(found)

    def get_many(self, keys: Sequence[str]) -> list[Any]:
        """The value of each key, in their order."""
        return [self.get(key) for key in keys]

    def put(self, key: str, value: Any) -> None:
        """Change a row.

        Raises:
            TypeError, ValueError: the value is not of the declared type or too large, or the key is
                none.
        """
        _require_row_key(self._table, key)
        encoded = self._table.encode(value)
        if len(encoded) > MAX_VALUE_BYTES:
            raise ValueError(
                f"table {self._table.name}, key {key!r}: expected a value of at most "
                f"{MAX_VALUE_BYTES} bytes, found {len(encoded)}: divide it among several keys"
            )
        self._rows.put(key, encoded)

    def put_many(self, keys: Sequence[str], values: Sequence[Any]) -> None:
        """Change a row per key."""
        for key, value in zip(keys, values, strict=True):
            self.put(key, value)

    def delete(self, key: str) -> None:
        """Delete a row, if there is one.

        Raises:
            TypeError, ValueError: the key is none.
        """
        _require_row_key(self._table, key)
        self._rows.delete(key)

    def items(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """All rows whose keys begin so, in the order of their keys."""
        try:
            found = list(self._rows.items(prefix))
        except Exception as error:
            raise StateReadError(f"table {self._table.name}: {error}") from error
        for key, value in found:
            yield key, self._table.decode(value)

    def _read(self, key: str) -> bytes | None:
        try:
            return self._rows.get(key)
        except Exception as error:
            raise StateReadError(f"table {self._table.name}, key {key!r}: {error}") from error


class TimerView:
    """The timers of an agent during one call of it."""

    def __init__(self, agent: Agent, timers: Timers) -> None:
        self._agent = agent
        self._timers = timers
        self.earliest_set_ns: int | None = None  # of all that were set, also of those replaced

    def set(self, key: str, event_time_ns: int) -> None:
        """Call `on_timer` when the event time of the rows reaches this.

        A timer of the same key is replaced. One that is set at or before the watermark is due in
        front of the next row.

        Raises:
            TypeError, ValueError: the agent has no `on_timer`, or the key or the time is none.
        """
        if self._agent.on_timer is None:
            raise ValueError(f"agent {self._agent.name} has no on_timer: declare one")
        _require_key("timer", key)
        event_time_ns = _whole(f"timer {key!r}: expected whole nanoseconds", event_time_ns)
        if not NO_EVENT_TIME_NS <= event_time_ns <= _MAX_NS:
            raise ValueError(f"timer {key!r}: expected nanoseconds in 64 bits: {event_time_ns}")
        earliest = self.earliest_set_ns
        self.earliest_set_ns = event_time_ns if earliest is None else min(earliest, event_time_ns)
        self._timers.set(key, event_time_ns)

    def delete(self, key: str) -> None:
        """Delete a timer, if there is one.

        Raises:
            TypeError, ValueError: the key is none.
        """
        _require_key("timer", key)
        self._timers.delete(key)

    def get(self, key: str) -> int | None:
        """When a timer is due; None: there is no such timer.

        Raises:
            TypeError, ValueError: the key is none.
        """
        _require_key("timer", key)
        return self._timers.get(key)


class Context:
    """One call of an agent. All that it changes is taken when the call returns, or nothing is.

    Attributes:
        partition: of the source.
        stream_time_ms: the largest append time up to and with the first row of the call.
        watermark_ns: the largest event time of the rows before the call.
        timers: in event time.
    """

    def __init__(
        self,
        agent: Agent,
        partition: int,
        overlays: Mapping[int, Overlay],
        timers: Timers,
        stream_time_ms: int,
        watermark_ns: int,
        rows: int,
    ) -> None:
        self._rows = rows  # of the call's batch; a timer's call has none
        self.partition = partition
        self.stream_time_ms = stream_time_ms
        self.watermark_ns = watermark_ns
        self.timers = TimerView(agent, timers)
        self.emitted: list[tuple[Output, pa.RecordBatch]] = []
        self.dead: list[tuple[int, str, str]] = []
        self.overlays = {of: Overlay(below) for of, below in overlays.items()}
        self._agent = agent

    def table(self, table: Table) -> TableView:
        """A table of the agent.

        Raises:
            ValueError: the agent does not declare it.
        """
        self._agent.require_table(table)
        return TableView(table, self.overlays[id(table)])

    def emit(self, output: Output, rows: pa.RecordBatch) -> None:
        """Add rows to an output.

        Raises:
            TypeError, ValueError: the agent does not declare it, or the log cannot take the rows:
                they are not of the output's schema, have a null where it allows none, or one of
                them is larger than 1 MiB.
        """
        self._agent.require_output(output)
        check_rows(output.stream, rows)
        check_row_sizes(output.stream, rows)
        if rows.num_rows:
            self.emitted.append((output, rows))

    def dead_letter(self, row: int, reason: str, detail: str = "") -> None:
        """Send a row of the call's batch to the dead letters.

        Args:
            row: its number in the batch. A call for a timer has no batch.
            reason: a short name, the same for all rows of one kind.
            detail: what is wrong with this one.

        Raises:
            TypeError, ValueError: the batch has no such row, or reason or detail are no text.
        """
        row = _whole("dead letter: expected the number of a row", row)
        if not 0 <= row < self._rows:
            raise ValueError(f"dead letter: expected one of the call's {self._rows} rows: {row}")
        if not (isinstance(reason, str) and isinstance(detail, str)):
            raise TypeError(f"dead letter of row {row}: expected text: {reason!r}, {detail!r}")
        self.dead.append((row, reason, detail))


def _require_row_key(table: Table, key: str) -> None:
    """Check the key of a row.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty, too long, or begins with a character that none begins with.
    """
    _require_key(f"table {table.name}", key)
    if not key or key[0] < " ":
        raise ValueError(
            f"table {table.name}: expected a key that begins with a printable character, found "
            f"{key!r}"
        )


def _require_key(what: str, key: str) -> None:
    """Check the key of a row or a timer.

    Raises:
        TypeError: it is no text.
        ValueError: it is too long.
    """
    if not isinstance(key, str):
        raise TypeError(f"{what}: expected a key of text, found {key!r}")
    size = len(key.encode(errors="surrogateescape"))
    if size > MAX_KEY_BYTES:
        raise ValueError(f"{what}: expected a key of at most {MAX_KEY_BYTES} bytes, found {size}")


def _whole(expected: str, number: int) -> int:
    """A number of Python's or numpy's as Python's.

    Raises:
        TypeError: it is no whole number.
    """
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{expected}, found {number!r}") from None
