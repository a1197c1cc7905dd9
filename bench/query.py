"""15 minutes of one symbol, at 10 K msg/s of history: 9 M rows of 1,000 symbols in the lake."""

import datetime as dt
import random
import time

from bench.stage import STAYS_NORMAL, lake_of, percentile, stage
from k2_streams.testing.waiting import wait_until

MESSAGES = 9_000_000
MINUTES = 15
QUESTIONS = 200


def run(messages: int = MESSAGES, questions: int = QUESTIONS) -> dict[str, float]:
    """p50 and p99 in milliseconds over HTTP, first page of 1,000 rows, symbols at random."""
    start = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=MINUTES)
    rate = messages / (MINUTES * 60)
    with stage() as at:
        worker = at.start(0, **STAYS_NORMAL).wait_ready()
        at.produce(
            "--messages", str(messages), "--seed", "1",
            "--start", start.isoformat(), "--event-rate", str(rate),
        )  # fmt: skip
        lake = lake_of(at)
        wait_until(lambda: lake.head().rows >= messages, "all rows in the lake", 900, 0.5)
        rng, elapsed, rows = random.Random(1), [], 0
        for _ in range(questions):
            symbol = f"S{rng.randrange(1000):04d}"
            question = f"/v1/trades?symbol={symbol}&window=15m&end=last&limit=1000"
            began = time.perf_counter()
            rows += worker.fetch(question).body.count(b'"message_id"')
            elapsed.append((time.perf_counter() - began) * 1000)
        files = len(list((at.directory / "warehouse").rglob("*.parquet")))
        worker.stop()
    return {
        "p50 ms": percentile(elapsed, 0.5),
        "p99 ms": percentile(elapsed, 0.99),
        "rows per answer": rows / questions,
        "files": float(files),
    }
