"""A day of one-minute bars of one symbol, over some million rows of that day in the lake."""

import datetime as dt
import json
import random
import time

from bench.stage import STAYS_NORMAL, lake_of, percentile, stage
from k2_streams.testing.waiting import wait_until

MESSAGES = 3_000_000
SYMBOLS = 100
QUESTIONS = 100


def run(
    messages: int = MESSAGES, symbols: int = SYMBOLS, questions: int = QUESTIONS
) -> dict[str, float]:
    """p50 and p99 in milliseconds over HTTP, symbols at random; 1,440 bars per answer."""
    now = dt.datetime.now(dt.UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = midnight - dt.timedelta(days=1), midnight
    with stage() as at:
        worker = at.start(0, **STAYS_NORMAL).wait_ready()
        at.produce(
            "--messages", str(messages), "--symbols", str(symbols), "--seed", "1",
            "--start", start.isoformat(), "--event-rate", str(messages / 86_400),
        )  # fmt: skip
        lake = lake_of(at)
        wait_until(lambda: lake.head().rows >= messages, "all rows in the lake", 900, 0.5)
        rng, elapsed, bars, trades = random.Random(1), [], 0, 0
        for _ in range(questions):
            question = (
                f"/v1/bars?symbol=S{rng.randrange(symbols):04d}&exchange=SIM&interval=1m&fill=prev"
                f"&start={start:%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}&limit=2000"
            )
            began = time.perf_counter()
            body = worker.fetch(question).body
            elapsed.append((time.perf_counter() - began) * 1000)
            found = json.loads(body)["data"]
            bars += len(found)
            trades += sum(bar["trade_count"] for bar in found)
        files = len(list((at.directory / "warehouse").rglob("*.parquet")))
        worker.stop()
    return {
        "p50 ms": percentile(elapsed, 0.5),
        "p99 ms": percentile(elapsed, 0.99),
        "bars per answer": bars / questions,
        "trades per answer": trades / questions,
        "files": float(files),
    }
