"""15 minutes of one symbol, at 10 K msg/s of history: 9 M rows of 1,000 symbols in the lake.

Asked as of now, as of a token, and as known at a time: the last two name rows that never change.
"""

import datetime as dt
import random
import time

from bench.stage import STAYS_NORMAL, lake_of, percentile, stage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

MESSAGES = 9_000_000
MINUTES = 15
QUESTIONS = 200
#: A time is asked about that lies so far back: every partition was read past it, also idle ones.
KNOWN_BEFORE_S = 30


def _asked(worker: LocalWorker, questions: int, more: str = "") -> tuple[list[float], int]:
    """Milliseconds of each question, symbols at random, and the rows of all answers."""
    rng, elapsed, rows = random.Random(1), [], 0
    for _ in range(questions):
        symbol = f"S{rng.randrange(1000):04d}"
        question = f"/v1/trades?symbol={symbol}&window=15m&end=last&limit=1000{more}"
        began = time.perf_counter()
        rows += worker.fetch(question).body.count(b'"message_id"')
        elapsed.append((time.perf_counter() - began) * 1000)
    return elapsed, rows


def run(messages: int = MESSAGES, questions: int = QUESTIONS) -> dict[str, float]:
    """p50 and p99 in milliseconds over HTTP, first page of 1,000 rows."""
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
        time.sleep(KNOWN_BEFORE_S)
        elapsed, rows = _asked(worker, questions)
        token = worker.get("/v1/trades?limit=1")["meta"]["token"]
        as_of, _ = _asked(worker, questions, f"&as_of={token}")
        known_ns = time.time_ns() - KNOWN_BEFORE_S * 10**9
        known_at, _ = _asked(worker, questions, f"&known_at={known_ns}")
        files = len(list((at.directory / "warehouse").rglob("*.parquet")))
        worker.stop()
    return {
        "p50 ms": percentile(elapsed, 0.5),
        "p99 ms": percentile(elapsed, 0.99),
        "as of a token, p99 ms": percentile(as_of, 0.99),
        "as known at a time, p99 ms": percentile(known_at, 0.99),
        "known at a time to as of a token, p99": percentile(known_at, 0.99)
        / percentile(as_of, 0.99),
        "rows per answer": rows / questions,
        "files": float(files),
    }
