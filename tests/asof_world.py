"""A node that serves trades and quotes: a quote per trade, one second before it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from asof_rows import T0, quote_row
from output_world import OutputWorld
from query_world import World

from k2_streams.core.records.stream import QUOTES
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.gaps import GapsView

SECOND_NS = 10**9


def quoted(time_ns: int, bid: int) -> dict[str, Any]:
    return {
        "exchange": "X",
        "symbol": "A",
        "exchange_time_ns": time_ns,
        "bid_price": Decimal(bid),
        "bid_quantity": Decimal(5),
        "ask_price": Decimal(bid) + 1,
        "ask_quantity": Decimal(6),
    }


@asynccontextmanager
async def with_quotes(folder: Path) -> AsyncIterator[tuple[World, OutputWorld]]:
    """Six trades, half of them in the lake, and one quote per trade, one second before it."""
    engine = Engine(EngineConfig(allowed=(str(folder),)))
    trades = World(folder / "trades", engine)
    trades.add(0, [("A", T0 + n * 10 * SECOND_NS) for n in range(3)])
    trades.commit()
    await trades.query.refresh()
    trades.add(0, [("A", T0 + n * 10 * SECOND_NS) for n in range(3, 6)])
    (folder / "quotes").mkdir()
    quotes = OutputWorld(QUOTES, folder / "quotes", engine, gaps=GapsView())
    rows = [quote_row(n, quoted(T0 + (10 * n - 1) * SECOND_NS, 100 + n)) for n in range(6)]
    quotes.add(0, rows)
    quotes.gaps.cover({0: 1, 1: 0})
    yield trades, quotes
    await trades.query.close()
    await quotes.close()
    engine.close()
