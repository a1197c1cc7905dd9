"""Quotes beside trades: two topologies on one broker and one catalog, each counted on its own."""

from pathlib import Path

import pytest
from conftest import Cluster, eventually, verdicts  # type: ignore[import-not-found]

from k2_streams.testing.client import StatusError

pytestmark = pytest.mark.integration

BHP_QUOTES, BHP_CROSSED, BHP_ONE_SIDED = 77_849, 323, 5


def count(worker, condition) -> tuple[int, int]:
    """Rows of all pages, and those that meet the condition."""
    rows, meet, cursor = 0, 0, None
    while True:
        query = f"cursor={cursor}" if cursor else "symbol=BHP&exchange=ASX&limit=100000"
        answer = worker.get(f"/v1/quotes?{query}")
        rows += len(answer["data"])
        meet += sum(condition(row) for row in answer["data"])
        cursor = answer["meta"]["next_cursor"]
        if cursor is None:
            return rows, meet


@pytest.mark.recorded
def test_recorded_quotes_sent_twice_are_there_once_and_flagged(
    k2: Cluster, recordings: Path
) -> None:
    """BHP: 77,849 quotes, 323 crossed, 5 one-sided; a replay adds no row."""
    with k2.worker(topology="quotes") as worker:
        file = recordings / "asx-2014-03" / "quotes" / "7078.csv"
        truth = k2.produce(
            "--stream", "quotes", "--feed", "asx.quotes.csv", str(file), "--repeat", "2"
        )
        k2.verify(worker, truth)
        assert count(worker, lambda row: row["crossed"]) == (BHP_QUOTES, BHP_CROSSED)
        assert count(worker, lambda row: row["one_sided"]) == (BHP_QUOTES, BHP_ONE_SIDED)
        assert verdicts(worker)["duplicate"] == BHP_QUOTES
        (symbol,) = worker.get("/v1/symbols")["data"]
        assert symbol["quotes"] == BHP_QUOTES
        assert worker.get("/v1/gaps")["data"] == []


def test_trades_and_quotes_do_not_touch_each_other(k2: Cluster) -> None:
    """The same symbols and numbers on both; gaps, rows and dead letters stay apart."""
    with k2.worker() as trades, k2.worker(topology="quotes") as quotes:
        faults = ("--messages", "4000", "--symbols", "7", "--gaps", "1%", "--late", "1%")
        of_trades = k2.produce(*faults, "--seed", "1", "--invalid", "1%")
        of_quotes = k2.produce(*faults, "--seed", "2", "--stream", "quotes")
        k2.verify(trades, of_trades)
        k2.verify(quotes, of_quotes, also="--deep")
        assert eventually(lambda: trades.get("/v1/status")["dead_letters"])
        assert quotes.get("/v1/status")["dead_letters"] == 0
        assert trades.get("/v1/gaps")["data"] != quotes.get("/v1/gaps")["data"]
        for worker, other in ((trades, "quotes"), (quotes, "trades")):
            with pytest.raises(StatusError, match="404"):
                worker.get(f"/v1/{other}")


def test_a_killed_quotes_worker_goes_on_where_it_was(k2: Cluster) -> None:
    """kill -9 in the middle: every quote once."""
    worker = k2.worker(topology="quotes")
    worker.start().wait_ready()
    sending = k2.spawn(
        "produce", "--stream", "quotes", "--rate", "2000", "--messages", "20000", "--seed", "5",
        "--duplicates", "1%", "--disorder", "1%", "--truth", str(k2.directory / "q.jsonl"),
    )  # fmt: skip
    eventually(lambda: sum(verdicts(worker).values()) > 5_000)
    worker.kill()
    worker.start().wait_ready()
    assert sending.wait(120) == 0
    k2.verify(worker, k2.directory / "q.jsonl")
    worker.stop()
