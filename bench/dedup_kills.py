"""Ids with 1 % repeats at any distance, and kill -9 of the worker while it works them.

Then the comparison with the truth: every id is a row once, and every repeat is counted.
"""

import random
import time
from pathlib import Path

from bench.dedup import outcomes
from bench.stage import STAYS_NORMAL, percentile, stage
from k2_streams.core.dedup.ids import BUCKETS
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

#: The slowest that was seen works so many a second; the wait for a share of them is bounded by it.
SLOWEST_PER_S = 2_000


def _worked(worker: LocalWorker) -> int:
    try:
        parts = worker.get("/v1/status")["partitions"].values()
    except OSError:
        return 0
    return sum(part["next_offset"] or 0 for part in parts)


def _wait_until_worked(worker: LocalWorker, records: int, within_s: float) -> None:
    wait_until(lambda: _worked(worker) >= records, f"{records} processed", within_s, 0.2)


def _compare(at: Stage, truth: Path) -> int:
    """Events and lake with the truth; the answers' pages would take longer than all the rest."""
    waits = ("--timeout", "600", "--lake-timeout", "600")
    return at.verify(truth, options=(*waits, "--only", "events", "--only", "lake"))


def run(messages: int = 10_000_000, kills: int = 20, seed: int = 1) -> dict[str, float]:
    """Recovery from the kill to ready again, and the verifier's exit code (0: no difference)."""
    rng, recovery = random.Random(seed), []
    # Deferral is not measured here: `overload_kills` kills in it.
    settings = {
        **STAYS_NORMAL,
        "K2_LAKE_COMMIT_INTERVAL_S": "2",
        "K2_DEDUP_EXPECTED_IDS": str(BUCKETS * messages),
    }
    with stage() as at:
        worker = at.start(0, **settings).wait_ready()
        truth = at.directory / "truth.jsonl.gz"
        arguments = ("--ids", "--duplicates", "0.01", "--messages", str(messages))
        producer = at.start_produce(truth, *arguments, "--seed", str(seed))
        bound_s = messages / SLOWEST_PER_S + 120
        for kill in range(kills):
            enough = int((kill + rng.random()) / (kills + 1) * messages)
            _wait_until_worked(worker, enough, bound_s)
            time.sleep(rng.uniform(0, 0.3))  # anywhere in a checkpoint
            worker.kill()
            began = time.monotonic()
            worker.start().wait_ready(within_s=600)
            recovery.append(time.monotonic() - began)
        sent = producer.wait()
        differences = _compare(at, truth)
        counted = outcomes(worker.url)
        remembered = sum(part["ids"] for part in worker.get("/v1/status")["partitions"].values())
        worker.stop()
    return {
        "messages": float(messages),
        "kills": float(kills),
        "producer's exit code": float(sent),
        "verifier's exit code": float(differences),
        "ids remembered": float(remembered),
        "filters MiB": counted.get("filter bytes", 0.0) / 2**20,
        "recovery p50 s": percentile(recovery, 0.5),
        "recovery worst s": max(recovery),
    }
