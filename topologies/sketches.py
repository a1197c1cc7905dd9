"""Sketches of trades: distinct ids and symbols, heavy hitters, quantiles of delay and quantity.

k2.trades --> summarise --> k2.sketches --> Iceberg k2.sketches, /v1/distinct, /v1/top,
                  |                              /v1/quantiles
              table open

Each exchange and minute has a sketch per measure and partition. Until the minute is closed it is
kept in the table; rows of sketches are merged when they are asked for. This is an app of its own,
so that nothing of it is on the way from a venue to the lake: leave it out where it is not wanted.

faust -A topologies.sketches worker -l info
"""

import msgspec
import pyarrow as pa

import k2_streams as k2
from k2_streams.core.sketches.measures import (
    MEASURES,
    SKETCHES,
    SKETCHES_KEY,
    SKETCHES_NAME,
    SKETCHES_TIME,
    minutes_of,
)


class OpenSketch(msgspec.Struct):
    """The sketch of one measure while its minute is open."""

    trades: int
    sketch: bytes


app = k2.App("sketches", web_port=6266)
trades = app.stream("trades")
opened = app.Table("open", value=OpenSketch)
sketches = app.output(SKETCHES_NAME, schema=SKETCHES, key=SKETCHES_KEY, time=SKETCHES_TIME)


def close(minute: str, _due_ns: int, ctx: k2.Context) -> None:
    """A row per measure of the minute, which leaves the table."""
    table, found = ctx.table(opened), []
    exchange, start_ns = minute.split(" ")
    for measure in MEASURES:
        one = table.get(f"{minute} {measure.name}")
        found.append((exchange, measure.name, int(start_ns), one.trades, one.sketch))
        table.delete(f"{minute} {measure.name}")
    columns = zip(*found, strict=True)
    rows = pa.record_batch([pa.array(column) for column in columns], schema=SKETCHES)
    ctx.emit(sketches, rows)


@app.agent(trades, tables=[opened], outputs=[sketches], on_timer=close)
def summarise(batch: pa.RecordBatch, ctx: k2.Context) -> None:
    """Add trades to the sketches of their minutes."""
    table = ctx.table(opened)
    for exchange, minute_ns, due_ns, rows in minutes_of(batch, ctx.watermark_ns):
        minute = f"{exchange} {minute_ns}"
        if ctx.timers.get(minute) is None:
            ctx.timers.set(minute, due_ns)
        for measure in MEASURES:
            one = table.get(f"{minute} {measure.name}") or OpenSketch(0, b"")
            content = measure.added(one.sketch or None, rows)
            table.put(f"{minute} {measure.name}", OpenSketch(one.trades + rows.num_rows, content))
