"""Trades that a supervisor looks at: possible wash trades, and prints far above the usual size.

k2.trades --> watch --> k2.alerts --> Iceberg k2.alerts, /v1/alerts
                |                        '--> /pages/alerts
              table recent

- `wash`: the same price and quantity as a trade of the other side, at most ten seconds away.
- `large`: more than ten times the mean quantity of the last 50 trades of the symbol.

faust -A topologies.examples.surveillance worker -l info
"""

from decimal import Context, Decimal, Inexact

import msgspec
import pyarrow as pa

import k2_streams as k2

WASH_WITHIN_NS = 10 * 10**9
#: Trades that are kept of a symbol; before there are as many, none is large.
KEPT = 50
TIMES_LARGER = 10
#: A sum of 50 quantities of 38 digits.
EXACT = Context(prec=60, traps=[Inexact])
DECIMAL = pa.decimal128(38, 18)
ALERTS = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("exchange_time_ns", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("price", DECIMAL, nullable=False),
        pa.field("quantity", DECIMAL, nullable=False),
        pa.field("other_time_ns", pa.int64()),  # of a wash trade's other side
    ]
)


class Print(msgspec.Struct, frozen=True, array_like=True):
    """A trade, as far as later ones are compared with it."""

    time_ns: int
    price: Decimal
    quantity: Decimal
    side: str | None


def other_side(trade: Print, recent: list[Print]) -> Print | None:
    """The newest trade of the other side that may have been a wash trade with this one."""
    for one in reversed(recent):
        is_other = None not in (trade.side, one.side) and trade.side != one.side
        is_same = (one.price, one.quantity) == (trade.price, trade.quantity)
        if is_other and is_same and abs(one.time_ns - trade.time_ns) <= WASH_WITHIN_NS:
            return one
    return None


def is_large(trade: Print, recent: list[Print]) -> bool:
    """Whether its quantity is far above the mean of those before it."""
    total = Decimal(0)
    for one in recent:
        total = EXACT.add(total, one.quantity)
    usual = EXACT.multiply(total, Decimal(TIMES_LARGER))
    return len(recent) == KEPT and EXACT.multiply(trade.quantity, Decimal(KEPT)) > usual


app = k2.App("surveillance")
trades = app.stream("trades")
recents = app.Table("recent", value=list[Print])
alerts = app.output("alerts", schema=ALERTS, key=("exchange", "symbol"), time="exchange_time_ns")


@app.agent(trades, tables=[recents], outputs=[alerts])
def watch(batch: pa.RecordBatch, ctx: k2.Context) -> None:
    """Compare each trade with the last ones of its symbol."""
    table, found = ctx.table(recents), []
    for row in batch.to_pylist():
        if row["action"] is not None:
            continue
        trade = Print(row["exchange_time_ns"], row["price"], row["quantity"], row["side"])
        key = f"{row['exchange']}:{row['symbol']}"
        recent = table.get(key) or []
        alert = {name: row[name] for name in ALERTS.names if name in row}
        other = other_side(trade, recent)
        if other is not None:
            found.append(alert | {"kind": "wash", "other_time_ns": other.time_ns})
        if is_large(trade, recent):
            found.append(alert | {"kind": "large"})
        table.put(key, [*recent, trade][-KEPT:])
    ctx.emit(alerts, pa.RecordBatch.from_pylist(found, schema=ALERTS))


@app.page("/alerts")
async def newest(request: k2.PageRequest) -> list[dict[str, str]]:
    """The newest alerts, as JSON."""
    answer = await request.rows("alerts", order="desc", limit=100)
    return [
        {name: str(row[name]) for name in ("exchange", "symbol", "kind", "price", "quantity")}
        for row in answer.rows.to_pylist()
    ]
