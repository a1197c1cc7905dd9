"""An app of a user's own, for the test driver and a real broker: a table, timers, dead letters.

faust -A differential_app worker
"""

from decimal import Decimal

import msgspec
import pyarrow as pa

import k2_streams as k2

KEY = ("exchange", "symbol")
#: How long a symbol's count is open, in event time.
OPEN_NS = 2_000_000


class Count(msgspec.Struct):
    """Of one symbol since its timer was set."""

    first_time_ns: int
    trades: int = 0
    volume: Decimal = Decimal(0)
    numbers: list[int] = []


_WHO = [
    pa.field("exchange", pa.string(), nullable=False),
    pa.field("symbol", pa.string(), nullable=False),
    pa.field("event_time_ns", pa.int64(), nullable=False),
]
RUNNING = pa.schema(
    [
        *_WHO,
        pa.field("trades", pa.int64(), nullable=False),
        pa.field("volume", pa.decimal128(38, 18), nullable=False),
        pa.field("numbers", pa.list_(pa.int64())),
    ]
)
CLOSED = pa.schema([*_WHO, pa.field("trades", pa.int64(), nullable=False)])

app = k2.App("k2-differential")
trades = app.stream("trades")
counts = app.Table("counts", value=Count)
running = app.output("running_counts", schema=RUNNING, key=KEY, time="event_time_ns")
closed = app.output("closed_counts", schema=CLOSED, key=KEY, time="event_time_ns")


def close(key: str, time_ns: int, ctx: k2.Context) -> None:
    """Emit a symbol's count, and begin again."""
    count = ctx.table(counts).get(key)
    ctx.table(counts).delete(key)
    exchange, _, symbol = key.partition(":")
    row = {
        "exchange": exchange, "symbol": symbol, "event_time_ns": time_ns, "trades": count.trades
    }  # fmt: skip
    ctx.emit(closed, pa.RecordBatch.from_pylist([row], schema=CLOSED))


@app.agent(
    trades, tables=[counts], outputs=[running, closed], on_error="dead-letter", on_timer=close
)
def count_trades(batch: pa.RecordBatch, ctx: k2.Context) -> None:
    """Count the trades of each symbol; a late one is refused, and an odd quantity is a failure."""
    rows = []
    table = ctx.table(counts)
    for number, row in enumerate(batch.to_pylist()):
        if row["late"] and row["sequence"] % 2:
            ctx.dead_letter(number, "late", f"number {row['sequence']}")
            continue
        if row["quantity"] > 10**15:
            raise ValueError(f"quantity {row['quantity']}")
        key, time_ns = f"{row['exchange']}:{row['symbol']}", row["exchange_time_ns"]
        count = table.get(key)
        if count is None:
            count = Count(time_ns)
            ctx.timers.set(key, time_ns + OPEN_NS)
        count.trades += 1
        count.volume += row["quantity"]
        count.numbers = [*count.numbers, row["sequence"] or 0][-3:]
        table.put(key, count)
        rows.append(
            {
                "exchange": row["exchange"],
                "symbol": row["symbol"],
                "event_time_ns": time_ns,
                "trades": count.trades,
                "volume": count.volume,
                "numbers": count.numbers,
            }
        )
    if rows:
        ctx.emit(running, pa.RecordBatch.from_pylist(rows, schema=RUNNING))
