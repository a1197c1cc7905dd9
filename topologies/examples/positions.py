"""Positions from own fills: per account, exchange and symbol what is held, and what it has cost.

k2.trades --> positions --> k2.positions --> Iceberg k2.positions, /v1/positions
                  |
                table held

An own fill is a trade whose vendor fields name an `account`. All figures are exact: the profit is
the cash that was paid and received, and the position at the price of the last fill. A fill without
a side, or one that 18 places cannot hold exactly, is a dead letter, and no figure is rounded.

faust -A topologies.examples.positions worker -l info
"""

from decimal import Context, Decimal, Inexact

import msgspec
import pyarrow as pa

import k2_streams as k2

EXACT = Context(prec=76, traps=[Inexact])
DECIMAL = pa.decimal128(38, 18)
#: Places of a column: a product of two has twice as many.
PLACES = Decimal(1).scaleb(-18)
POSITIONS = pa.schema(
    [
        pa.field("account", pa.string(), nullable=False),
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("exchange_time_ns", pa.int64(), nullable=False),
        pa.field("position", DECIMAL, nullable=False),
        pa.field("cash", DECIMAL, nullable=False),
        pa.field("profit", DECIMAL, nullable=False),
        pa.field("fills", pa.int64(), nullable=False),
    ]
)
SIGNS = {"buy": Decimal(1), "sell": Decimal(-1)}


class Holding(msgspec.Struct):
    """What is held; below zero: it was sold short."""

    position: Decimal = Decimal(0)
    cash: Decimal = Decimal(0)
    profit: Decimal = Decimal(0)
    fills: int = 0

    def fill(self, price: Decimal, quantity: Decimal) -> None:
        """One fill; of a sale the quantity is below zero."""
        self.position = EXACT.add(self.position, quantity)
        paid = EXACT.multiply(price, quantity)
        self.cash = EXACT.quantize(EXACT.subtract(self.cash, paid), PLACES)
        self.profit = EXACT.quantize(EXACT.fma(price, self.position, self.cash), PLACES)
        self.fills += 1


app = k2.App("positions")
trades = app.stream("trades")
held = app.Table("held", value=Holding)
positions = app.output(
    "positions",
    schema=POSITIONS,
    key=("account", "exchange", "symbol"),
    time="exchange_time_ns",
)


@app.agent(trades, tables=[held], outputs=[positions], on_error="dead-letter")
def fill(batch: pa.RecordBatch, ctx: k2.Context) -> None:
    """A row per own fill."""
    table, found = ctx.table(held), []
    for number, row in enumerate(batch.to_pylist()):
        account = dict(row["vendor"] or ()).get("account")
        if account is None or row["action"] is not None:
            continue
        sign = SIGNS.get(row["side"])
        if sign is None:
            ctx.dead_letter(number, "no-side", f"fill of account {account}: buy or sell?")
            continue
        key = f"{account}\0{row['exchange']}\0{row['symbol']}"
        position = table.get(key) or Holding()
        position.fill(row["price"], EXACT.multiply(sign, row["quantity"]))
        table.put(key, position)
        row |= {"account": account, **msgspec.structs.asdict(position)}
        found.append({name: row[name] for name in POSITIONS.names})
    ctx.emit(positions, pa.RecordBatch.from_pylist(found, schema=POSITIONS))
