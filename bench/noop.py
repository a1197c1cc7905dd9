"""An app whose agent does nothing with the trades: what remains is the cost of reading them."""

import pyarrow as pa

import k2_streams as k2

SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("exchange_time_ns", pa.int64(), nullable=False),
    ]
)

app = k2.App("noop")
none = app.output("none", schema=SCHEMA, key=("symbol",), time="exchange_time_ns")


@app.agent(app.stream("trades"), outputs=[none])
def nothing(batch: pa.RecordBatch, ctx: k2.Context) -> None:
    """Emit nothing; the position advances in the same transactions as any agent's."""
