"""CPU of a query by the number of data files in its window, as a live worker writes them.

A worker that commits every 10 s writes a file of a few thousand rows each time, with all symbols in
each: no bound of a file leaves any of them out. Asked is for one symbol over all of them, of the
query alone: no HTTP, no broker, an empty tail.
"""

import asyncio
import datetime as dt
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.stage import percentile
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.request import RowsRequest
from k2_streams.query.tail.store import Tail

FILES = (25, 100, 500)
SYMBOLS = 1_000
COMMIT_EVERY_S = 10
START_NS = 1_763_899_200_000_000_000  # 2025-11-23 12:00 UTC
#: Asked before anything is counted: what is read once (manifests, footers) is read then.
FIRST_QUESTIONS = 5
TOPIC_ID = "topic-1"


def run(rows: int = 20_000, questions: int = 40, most: int = FILES[-1]) -> dict[str, float]:
    """Milliseconds of CPU and of time per query, and of CPU per file.

    Args:
        rows: of each file; 10 s at 2,000 messages per second by default.
        questions: of each number of files, symbols at random.
        most: files; more are not tried.
    """
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="k2-bench-") as folder:
        config = LakeConfig(f"sqlite:///{folder}/catalog.db", f"file://{folder}/warehouse")
        lake = Lake(config, stream=TRADES)
        lake.ensure()
        committed = 0
        for files in [count for count in FILES if count <= most]:
            for number in range(committed, files):
                lake.append(
                    _rows(number, rows),
                    {0: Range(number, number + 1)},
                    topic_id=TOPIC_ID,
                    commit_id=str(number),
                )
            committed = files
            cpu_ms, elapsed_ms = asyncio.run(_ask(config, files, questions))
            figures |= {
                f"{files} files: CPU ms per query": statistics.median(cpu_ms),
                f"{files} files: CPU ms per file": statistics.median(cpu_ms) / files,
                f"{files} files: p50 ms": percentile(elapsed_ms, 0.5),
                f"{files} files: p99 ms": percentile(elapsed_ms, 0.99),
            }
        lake.close()
    return figures


async def _ask(config: LakeConfig, files: int, questions: int) -> tuple[list[float], list[float]]:
    """CPU and time of each query, in milliseconds."""
    engine = Engine(EngineConfig(allowed=(str(Path(config.warehouse)),)))
    tail = Tail(TRADES, topic_id=TOPIC_ID, memory_bytes=1 << 20)
    tail.seek(0, files)
    view = LakeView(lambda: Lake(config, stream=TRADES))
    query = HybridQuery(tail, view, engine, GapsView(), clock=SYSTEM_CLOCK, stream=TRADES)
    rng = np.random.default_rng(1)
    cpu_ms, elapsed_ms = [], []
    try:
        await query.refresh()
        for number in range(FIRST_QUESTIONS + questions):
            request = RowsRequest(symbols=(f"S{rng.integers(SYMBOLS):04d}",))
            cpu, began = time.process_time(), time.perf_counter()
            await query.rows(request)
            if number >= FIRST_QUESTIONS:
                cpu_ms.append((time.process_time() - cpu) * 1000)
                elapsed_ms.append((time.perf_counter() - began) * 1000)
    finally:
        await query.close()
        engine.close()
    return cpu_ms, elapsed_ms


def _rows(number: int, count: int) -> pa.Table:
    """What one commit appends: `count` trades of 10 s, all symbols in turn."""
    rng = np.random.default_rng(number)
    at = np.arange(count)
    times = START_NS + number * COMMIT_EVERY_S * 10**9 + at * (COMMIT_EVERY_S * 10**9 // count)
    names = pa.array([f"S{n:04d}" for n in range(SYMBOLS)]).take(pa.array(at % SYMBOLS))
    prices = pa.array(rng.integers(10_000, 20_000, count)).cast(pa.decimal128(38, 18))
    ids = pa.array([f"{number * count + n}" for n in range(count)])
    constant = {
        "exchange": "SYN", "session": "0", "side": "buy", "source_partition": 0,
        "log_partition": 0, "log_offset": number, "source_index": 0, "late": False,
        "tick_direction": "up", "trading_date": dt.date(2025, 11, 23),
    }  # fmt: skip
    columns: dict[str, pa.Array] = {
        "message_id": ids,
        "symbol": names,
        "trade_id": ids,
        "price": prices,
        "quantity": prices,
        "notional": prices,
        "sequence": pa.array(number * count + at),
        "exchange_time_ns": pa.array(times),
        "exchange_time": pa.array(times // 1000),
        "ingest_time": pa.array(times // 1000),
        "accepted_time": pa.array(times // 1000),
        "source_offset": pa.array(number * count + at),
        "log_row": pa.array(at.astype(np.int32)),
    }
    columns |= {name: pa.repeat(value, count) for name, value in constant.items()}
    return pa.Table.from_arrays(
        [
            columns[field.name].cast(field.type)
            if field.name in columns
            else pa.nulls(count, field.type)
            for field in TRADES.table_schema
        ],
        schema=TRADES.table_schema,
    )
