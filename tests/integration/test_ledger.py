"""A worker's findings on a real broker: in their tables once, in SQL and in coverage, if killed."""

from collections import Counter
from typing import Any

import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]

from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration
MESSAGES = 3_000


def rows_of(worker: LocalWorker, path: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    answer = worker.get(f"{path}?limit=10000")
    return answer["data"], answer["meta"]


def are_in_lake(worker: LocalWorker, path: str) -> bool:
    """Whether there are rows, all of them in the table."""
    _, meta = rows_of(worker, path)
    return bool(meta["rows"]) and meta["rows_tail"] == 0


def test_findings_reach_tables_sql_and_coverage_through_a_kill(k2: Cluster) -> None:
    options = ("--messages", str(MESSAGES), "--symbols", "5", "--gaps", "1%", "--invalid", "1%")
    with k2.worker(K2_LEDGER="1", K2_LAKE_COMMIT_INTERVAL_S="0.2") as worker:
        k2.produce(*options, "--seed", "3")
        eventually(lambda: rows_of(worker, "/v1/gap-events")[0], what="some gap events")
        worker.kill()
        worker.start().wait_ready()
        k2.produce(*options, "--seed", "4", "--start", "now")
        eventually(lambda: k2.has_answered_all(worker), what="all processed")
        for path in ("/v1/gap-events", "/v1/dead-letters"):
            eventually(lambda path=path: are_in_lake(worker, path), what=f"{path} in the lake")

        events, meta = rows_of(worker, "/v1/gap-events")
        assert meta["complete"]
        places = Counter((row["log_partition"], row["log_offset"]) for row in events)
        assert set(places.values()) == {1}
        gaps, meta = rows_of(worker, "/v1/gaps")
        assert meta["complete"]
        opened = Counter(
            (row["scope"], row["first"]) for row in events if row["type"] == "gap_opened"
        )
        assert set(opened) == {(gap["scope"], gap["first"]) for gap in gaps}
        letters, _ = rows_of(worker, "/v1/dead-letters")
        total = worker.get("/v1/trades?limit=1")["meta"]["dead_letters"]
        assert len(letters) == total
        coverage, _ = rows_of(worker, "/v1/coverage")
        trades, _ = rows_of(worker, "/v1/trades")
        for row in coverage:
            lacking = row["missing"] + row["abandoned"] + row["dead"]
            assert row["expected"] == row["received"] + lacking
        missing = sum(last - first + 1 for gap in gaps for first, last in gap["missing"])
        assert sum(row["missing"] for row in coverage) == missing > 0
        assert sum(row["rows"] for row in coverage) == len(trades)
        (found,) = worker.get(
            "/v1/sql?query=SELECT+sum(missing)+AS+missing,+sum(rows)+AS+rows+FROM+coverage"
        )["data"]
        assert (int(found["missing"]), int(found["rows"])) == (missing, len(trades))
