"""An agent whose every row depends on all rows before it; TOTALS_START says where it begins."""

import os
from decimal import Decimal

import msgspec
import pyarrow as pa

import k2_streams as k2

START = os.environ["TOTALS_START"]
DECIMAL = pa.decimal128(38, 18)
TOTALS = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("event_time_ns", pa.int64(), nullable=False),
        pa.field("trades", pa.int64(), nullable=False),
        pa.field("volume", DECIMAL, nullable=False),
    ]
)


class Total(msgspec.Struct):
    """Of a symbol, up to a trade."""

    trades: int = 0
    volume: Decimal = Decimal(0)


app = k2.App(f"totals-{START}")
trades = app.stream("trades", start=START)
so_far = app.Table("so-far", value=Total)
totals = app.output(f"totals_{START}", schema=TOTALS, key=("symbol",), time="event_time_ns")


@app.agent(trades, tables=[so_far], outputs=[totals])
def total(batch: pa.RecordBatch, ctx: k2.Context) -> None:
    """One row per trade."""
    table, found = ctx.table(so_far), []
    names = ["symbol", "exchange_time_ns", "quantity"]
    for symbol, time_ns, quantity in zip(
        *(batch.column(name).to_pylist() for name in names), strict=True
    ):
        one = table.get(symbol) or Total()
        one.trades += 1
        one.volume += quantity
        table.put(symbol, one)
        found.append((symbol, time_ns, one.trades, one.volume))
    rows = [dict(zip(TOTALS.names, row, strict=True)) for row in found]
    ctx.emit(totals, pa.RecordBatch.from_pylist(rows, schema=TOTALS))
