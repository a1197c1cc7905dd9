"""An agent that begins in the lake, killed again and again, equals one that had the whole log."""

import asyncio
import random
import threading
from typing import Any

import pytest
from conftest import PARTITIONS, Cluster, eventually  # type: ignore[import-not-found]
from log_rows import rows_of_log

from faults.topics import truncate
from k2_streams.testing.local.workers import LocalWorker

pytestmark = [pytest.mark.integration, pytest.mark.long]

LOG = "k2.trades"
TRAFFIC = ("--symbols", "20", "--gaps", "0.001", "--late", "0.01", "--duplicates", "0.01")


def in_lake(trades: LocalWorker) -> bool:
    """Whether the table holds every row of the answers."""
    parts = trades.get("/v1/status")["tail"]["partitions"].values()
    return bool(parts) and all(part["evicted"] >= part["end"] for part in parts)


def has_processed(worker: LocalWorker, output: str, trades: LocalWorker) -> bool:
    """Whether an app's answers hold what follows from all accepted trades."""
    ends = trades.get("/v1/trades?limit=1")["meta"]["offsets"]
    marks = worker.get("/v1/status")["streams"][output]["watermark"]
    return all(marks.get(partition, 0) >= end for partition, end in ends.items())


def totals(k2: Cluster, output: str) -> dict[int, list[dict[str, Any]]]:
    return asyncio.run(rows_of_log(k2.bootstrap, f"k2.{output}", PARTITIONS))


def test_an_agent_from_the_lake_equals_one_from_the_beginning(k2: Cluster) -> None:
    """What the lake-born one reads first is in the log no more; it is killed there, and behind."""
    chance, kills, messages = random.Random(7), 10, 60_000
    whole = k2.worker(1, app="totals_app", TOTALS_START="log")
    with k2.worker() as trades, whole:
        whole.wait_ready()
        k2.produce("--messages", str(messages), "--seed", "7", *TRAFFIC)
        eventually(lambda: k2.has_answered_all(trades), 120, "trades accepted")
        eventually(lambda: has_processed(whole, "totals_log", trades), 120, "totals of the log")
        eventually(lambda: in_lake(trades), 60, "trades in the lake")
        asyncio.run(truncate(k2.bootstrap, LOG, PARTITIONS))
        more = k2.spawn(
            "produce", "--messages", str(messages // 2), "--rate", str(messages // 60),
            "--seed", "8", "--start", "now", *TRAFFIC,
        )  # fmt: skip
        born_late = k2.worker(2, app="totals_app", TOTALS_START="lake").start()
        for _ in range(kills):
            threading.Event().wait(chance.uniform(1.0, 6.0))
            born_late.kill()
            born_late.start()
        born_late.wait_ready()
        output, _ = more.communicate(timeout=300)
        assert more.returncode == 0, output
        eventually(lambda: k2.has_answered_all(trades), 120, "all trades accepted")
        for worker, name in ((whole, "totals_log"), (born_late, "totals_lake")):
            eventually(lambda: has_processed(worker, name, trades), 120, name)  # noqa: B023 - now
    wanted, found = totals(k2, "totals_log"), totals(k2, "totals_lake")
    assert sum(map(len, wanted.values())) > messages
    assert found == wanted
