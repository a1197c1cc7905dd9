"""A user's app over accepted trades: two outputs, one with a key of its own, and a page."""

import pyarrow as pa
import pyarrow.compute as pc

import k2_streams as k2

LARGE = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("event_time_ns", pa.int64(), nullable=False),
        pa.field("message_offset", pa.int64(), nullable=False),
        pa.field("prints", pa.list_(pa.struct([("price", pa.string()), ("size", pa.string())]))),
    ]
)
BUCKETS = pa.schema(
    [
        pa.field("bucket", pa.int64(), nullable=False),
        pa.field("event_time_ns", pa.int64(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
    ]
)

app = k2.App("k2-found")
trades = app.stream("trades")
large = app.output("large-prints", schema=LARGE, key=("exchange", "symbol"), time="event_time_ns")
buckets = app.output("buckets", schema=BUCKETS, key=("bucket",), time="event_time_ns")


def bucket_of(event_time_ns: int) -> int:
    """Negative ones too, which a key of integers may be."""
    return event_time_ns // 1_000_000 % 7 - 3


def is_large(sequence: int | None) -> bool:
    """Some of the trades."""
    return sequence is not None and sequence % 5 == 0


@app.agent(trades, outputs=[large, buckets])
def find(batch: pa.RecordBatch, ctx: k2.Context) -> None:
    """One row of `buckets` per trade, one of `large-prints` per large one."""
    rows = batch.to_pylist()
    found = [
        {
            "exchange": row["exchange"],
            "symbol": row["symbol"],
            "event_time_ns": row["exchange_time_ns"],
            "message_offset": row["source_offset"],
            "prints": [{"price": str(row["price"]), "size": str(row["quantity"])}, None],
        }
        for row in rows
        if is_large(row["sequence"])
    ]
    if found:
        ctx.emit(large, pa.RecordBatch.from_pylist(found, schema=LARGE))
    marked = [
        {
            "bucket": bucket_of(row["exchange_time_ns"]),
            "event_time_ns": row["exchange_time_ns"],
            "symbol": row["symbol"],
        }
        for row in rows
    ]
    if marked:
        ctx.emit(buckets, pa.RecordBatch.from_pylist(marked, schema=BUCKETS))


@app.page("/symbols-of-bucket")
async def symbols_of_bucket(request: k2.PageRequest) -> dict:
    """The symbols of a bucket."""
    answer = await request.rows("buckets", bucket=request.parameter("bucket"), limit=100_000)
    symbols = sorted(pc.unique(answer.rows["symbol"]).to_pylist())
    return {"symbols": symbols, "offsets": answer.meta.offsets}
