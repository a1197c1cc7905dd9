"""Bars of one minute per exchange and symbol, exact, and revised by trades that come late.

k2.trades --> bars --> k2.bars_1m --> Iceberg k2.bars_1m, /v1/bars_1m
               |
             table open-bars

A bar is emitted when event time reaches its end, as revision 0. A trade that comes later emits the
bar again, with the next revision: the highest one counts. After a day without being asked for a bar
takes no more trades.

faust -A topologies.examples.bars worker -l info
"""

from decimal import Context, Decimal, Inexact

import msgspec
import pyarrow as pa

import k2_streams as k2

MINUTE_NS = 60 * 10**9
#: How long a bar is open to late trades.
LATE_NS = 24 * 3600 * 10**9

DECIMAL = pa.decimal128(38, 18)
#: Python's own context rounds to 28 digits.
EXACT = Context(prec=38, traps=[Inexact])
BARS = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("start_ns", pa.int64(), nullable=False),
        *(pa.field(name, DECIMAL, nullable=False) for name in ("open", "high", "low", "close")),
        pa.field("volume", DECIMAL, nullable=False),
        pa.field("trades", pa.int64(), nullable=False),
        pa.field("revision", pa.int64(), nullable=False),
    ]
)


class Bar(msgspec.Struct):
    """A bar so far; of trades at one time the first opens it and the last closes it."""

    exchange: str
    symbol: str
    start_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    first_ns: int
    last_ns: int
    volume: Decimal = Decimal(0)
    trades: int = 0
    revision: int = -1  # -1: it was not emitted yet

    def add(self, price: Decimal, quantity: Decimal, time_ns: int) -> None:
        """One more trade."""
        self.high, self.low = max(self.high, price), min(self.low, price)
        if time_ns < self.first_ns:
            self.open, self.first_ns = price, time_ns
        if time_ns >= self.last_ns:
            self.close, self.last_ns = price, time_ns
        self.volume = EXACT.add(self.volume, quantity)
        self.trades += 1


app = k2.App("bars")
trades = app.stream("trades")
open_bars = app.Table("open-bars", value=Bar)
bars_1m = app.output("bars_1m", schema=BARS, key=("exchange", "symbol"), time="start_ns")


def emit(bar: Bar, ctx: k2.Context) -> None:
    """The bar as it is now, as its next revision."""
    bar.revision += 1
    row = {name: getattr(bar, name) for name in BARS.names}
    ctx.emit(bars_1m, pa.RecordBatch.from_pylist([row], schema=BARS))


def on_timer(key: str, event_time_ns: int, ctx: k2.Context) -> None:
    """The end of a bar, then the end of the time for which it is open to late trades."""
    table = ctx.table(open_bars)
    bar = table.get(key)
    if bar.revision >= 0:
        table.delete(key)
        return
    emit(bar, ctx)
    table.put(key, bar)
    ctx.timers.set(key, event_time_ns + LATE_NS)


@app.agent(trades, tables=[open_bars], outputs=[bars_1m], on_timer=on_timer)
def bars(batch: pa.RecordBatch, ctx: k2.Context) -> None:
    """Add trades to their bars. Cancels and corrections of trades are left out."""
    table = ctx.table(open_bars)
    watermark_ns = ctx.watermark_ns  # in front of each trade
    names = ["exchange", "symbol", "exchange_time_ns", "price", "quantity", "action"]
    for exchange, symbol, time_ns, price, quantity, action in zip(
        *(batch.column(name).to_pylist() for name in names), strict=True
    ):
        start_ns = time_ns - time_ns % MINUTE_NS
        is_too_late = start_ns + MINUTE_NS + LATE_NS <= watermark_ns
        watermark_ns = max(watermark_ns, time_ns)
        if action is not None or is_too_late:
            continue
        key = f"{exchange}\0{symbol}\0{start_ns}"
        bar = table.get(key)
        if bar is None:
            bar = Bar(exchange, symbol, start_ns, price, price, price, price, time_ns, time_ns)
            ctx.timers.set(key, start_ns + MINUTE_NS)
        bar.add(price, quantity, time_ns)
        if bar.revision >= 0:
            emit(bar, ctx)
        table.put(key, bar)
