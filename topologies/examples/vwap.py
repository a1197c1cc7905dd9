"""The volume-weighted average price of the day, per exchange and symbol, behind each trade.

k2.trades --> vwap --> k2.vwap --> Iceberg k2.vwap, /v1/vwap
               |
             table day

Sums are exact; the average is rounded once, to 18 places. A new trading date of a symbol begins
anew, and a trade of an earlier one changes nothing. Cancels and corrections of trades are left out.

faust -A topologies.examples.vwap worker -l info
"""

import datetime as dt
from decimal import Context, Decimal, Inexact
from fractions import Fraction

import msgspec
import pyarrow as pa

import k2_streams as k2

#: Of 38 digits times 38 digits a day's sum is exact.
EXACT = Context(prec=100, traps=[Inexact])
DECIMAL = pa.decimal128(38, 18)
VWAP = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("exchange_time_ns", pa.int64(), nullable=False),
        pa.field("trading_date", pa.date32(), nullable=False),
        pa.field("vwap", DECIMAL, nullable=False),
        pa.field("volume", DECIMAL, nullable=False),
        pa.field("trades", pa.int64(), nullable=False),
    ]
)


class Day(msgspec.Struct):
    """The trades of one symbol on its newest trading date."""

    date: dt.date
    turnover: Decimal = Decimal(0)
    volume: Decimal = Decimal(0)
    trades: int = 0

    def add(self, price: Decimal, quantity: Decimal) -> None:
        """One more trade."""
        self.turnover = EXACT.fma(price, quantity, self.turnover)
        self.volume = EXACT.add(self.volume, quantity)
        self.trades += 1

    @property
    def vwap(self) -> Decimal:
        """Rounded half to even."""
        exact = Fraction(self.turnover) / Fraction(self.volume)
        return Decimal(round(exact * 10**18)).scaleb(-18, EXACT)


app = k2.App("vwap")
trades = app.stream("trades")
days = app.Table("day", value=Day)
averages = app.output("vwap", schema=VWAP, key=("exchange", "symbol"), time="exchange_time_ns")


@app.agent(trades, tables=[days], outputs=[averages])
def vwap(batch: pa.RecordBatch, ctx: k2.Context) -> None:
    """A row per trade."""
    table, found = ctx.table(days), []
    for trade in batch.to_pylist():
        date, key = trade["trading_date"], f"{trade['exchange']}:{trade['symbol']}"
        day = table.get(key)
        if day is None or day.date < date:
            day = Day(date)
        if trade["action"] is not None or date < day.date:
            continue
        day.add(trade["price"], trade["quantity"])
        table.put(key, day)
        row = {name: trade[name] for name in ("exchange", "symbol", "exchange_time_ns")}
        found.append(
            row
            | {"trading_date": date, "vwap": day.vwap, "volume": day.volume, "trades": day.trades}
        )
    ctx.emit(averages, pa.RecordBatch.from_pylist(found, schema=VWAP))
