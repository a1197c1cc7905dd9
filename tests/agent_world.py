"""An agent with a table, timers and an output, and what it must do, row by row."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from k2_streams.core.records.stream import Stream
from k2_streams.topology.context import NO_EVENT_TIME_NS, Context
from k2_streams.topology.declarations import Agent, OnError, Output, StreamSource, Table
from k2_streams.topology.errors import AgentFailedError
from k2_streams.topology.running import MAX_TIMERS_PER_ROW, AgentRunner, Effects

ROWS = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("amount", pa.int64(), nullable=False),
    ]
)
FOUND = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("total", pa.int64(), nullable=False),
        pa.field("watermark_ns", pa.int64(), nullable=False),
    ]
)
POISON = 13
SOURCE = StreamSource(Stream.of_output("ticks", ROWS, key=("symbol",), time="time_ns"))


class Total(msgspec.Struct):
    """Mutable on purpose: what a call that is discarded has changed in it must not be seen."""

    total: int = 0


TOTALS = Table("totals", Total)
OUTPUT = Output.of("found", FOUND, key=("symbol",), time="time_ns")


class Row(NamedTuple):
    symbol: str
    time_ns: int
    amount: int


class MemoryRows:
    """`KeyedRows` in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.rows.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.rows[key] = value

    def delete(self, key: str) -> None:
        self.rows.pop(key, None)

    def items(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        yield from sorted(one for one in self.rows.items() if one[0].startswith(prefix))


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([row._asdict() for row in rows], schema=ROWS)


def emit(ctx: Context, symbol: str, time_ns: int, total: int, watermark_ns: int) -> None:
    found = {"symbol": symbol, "time_ns": time_ns, "total": total, "watermark_ns": watermark_ns}
    ctx.emit(OUTPUT, pa.RecordBatch.from_pylist([found], schema=FOUND))


def totals(batch: pa.RecordBatch, ctx: Context) -> None:
    """Adds up per symbol; every third amount sets a timer, every fifth deletes it."""
    watermark_ns = ctx.watermark_ns
    for row in (Row(**one) for one in batch.to_pylist()):
        view = ctx.table(TOTALS)
        state = view.get(row.symbol) or Total()
        state.total += row.amount
        if row.amount == POISON:
            raise ValueError("poison")
        view.put(row.symbol, state)
        if row.amount % 3 == 0:
            ctx.timers.set(row.symbol, row.time_ns + 10 * (row.amount - 6))
        if row.amount % 5 == 0:
            ctx.timers.delete(row.symbol)
        emit(ctx, row.symbol, row.time_ns, state.total, watermark_ns)
        watermark_ns = max(watermark_ns, row.time_ns)


def on_timer(key: str, event_time_ns: int, ctx: Context) -> None:
    """Emits the total and forgets it; one that is odd sets the next timer."""
    state = ctx.table(TOTALS).get(key) or Total()
    emit(ctx, key, event_time_ns, -state.total, ctx.watermark_ns)
    ctx.table(TOTALS).delete(key)
    if state.total % 2:
        ctx.timers.set(f"{key}!", event_time_ns + 15)


class Model:
    """The same, one row after the other, with nothing of the engine's."""

    def __init__(self) -> None:
        self.found: list[tuple[str, int, int, int]] = []
        self.totals: dict[str, int] = {}
        self.timers: dict[str, int] = {}
        self.dead: list[int] = []
        self.watermark_ns = NO_EVENT_TIME_NS

    def process(self, number: int, row: Row) -> None:
        reached_ns = max(self.watermark_ns, row.time_ns)
        while self.timers:
            time_ns, key = min((time_ns, key) for key, time_ns in self.timers.items())
            if time_ns > reached_ns:
                break
            del self.timers[key]
            total = self.totals.pop(key, 0)
            self.found.append((key, time_ns, -total, self.watermark_ns))
            if total % 2:
                self.timers[f"{key}!"] = time_ns + 15
        if row.amount == POISON:
            self.dead.append(number)
        else:
            total = self.totals[row.symbol] = self.totals.get(row.symbol, 0) + row.amount
            if row.amount % 3 == 0:
                self.timers[row.symbol] = row.time_ns + 10 * (row.amount - 6)
            if row.amount % 5 == 0:
                self.timers.pop(row.symbol, None)
            self.found.append((row.symbol, row.time_ns, total, self.watermark_ns))
        self.watermark_ns = reached_ns


class World:
    """One partition; `restart` keeps what a checkpoint would have kept."""

    def __init__(
        self,
        on_error: OnError = OnError.DEAD_LETTER,
        max_timers_per_row: int = MAX_TIMERS_PER_ROW,
        **changes: Any,
    ) -> None:
        self._max_timers_per_row = max_timers_per_row
        given: dict[str, Any] = {"function": totals, "on_timer": on_timer} | changes
        self.agent = Agent(
            "totals", SOURCE, tables=(TOTALS,), outputs=(OUTPUT,), on_error=on_error, **given
        )
        self.table, self.timers = MemoryRows(), MemoryRows()
        self.effects, self.rows = Effects(), 0
        self.runner = self._runner(NO_EVENT_TIME_NS)

    def _runner(self, watermark_ns: int) -> AgentRunner:
        tables = {TOTALS.name: self.table}
        return AgentRunner(
            (self.agent,), "time_ns", 0, tables, self.timers, watermark_ns, self._max_timers_per_row
        )

    def restart(self) -> None:
        self.runner = self._runner(self.runner.watermark_ns)

    def process(self, rows: Sequence[Row]) -> None:
        """As a task does: on a failure the row at fault is looked for."""
        batch, times_ms = batch_of(rows), np.zeros(len(rows), np.int64)
        try:
            found = self.runner.process(batch, times_ms)
        except AgentFailedError as error:
            found = self.runner.isolate(batch, times_ms, error)
        self.effects.add(found, self.rows)
        self.rows += len(rows)

    def state(self) -> dict[str, Any]:
        """All that lasts, and all that was sent."""
        return {
            "found": [
                tuple(row.values()) for _, one in self.effects.emitted for row in one.to_pylist()
            ],
            "totals": {key: TOTALS.decode(one).total for key, one in self.table.items()},
            "timers": {
                key.partition("\0")[2]: int.from_bytes(one, signed=True)
                for key, one in self.timers.items()
            },
            "dead": [one.row for one in self.effects.dead],
            "watermark_ns": self.runner.watermark_ns,
        }
