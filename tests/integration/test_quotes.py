"""Quotes beside trades: two topologies on one broker and one catalog, each counted on its own."""

from pathlib import Path

import pytest
from conftest import (  # type: ignore[import-not-found]
    Cluster,
    create_topics,
    eventually,
    verdicts,
)

from k2_streams.core.records.source import QUOTES_INPUT
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


@pytest.mark.long
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


def test_a_worker_of_trades_joins_them_with_the_quotes_of_another_app(k2: Cluster) -> None:
    """Every trade has the quote at or before it that the log of quotes has, from lake and tail."""
    create_topics(k2.bootstrap, QUOTES_INPUT)
    with k2.worker(K2_STREAMS="quotes") as trades, k2.worker(topology="quotes") as quotes:
        sent = ("--messages", "2000", "--symbols", "3", "--rate", "2000", "--start", "now")
        k2.verify(quotes, k2.produce(*sent, "--seed", "2", "--stream", "quotes"))
        k2.verify(trades, k2.produce(*sent, "--seed", "1"))
        end = quotes.get("/v1/quotes?limit=1")["meta"]["offsets"]
        asked = "symbol=S0001&exchange=SIM&limit=100000"

        def joined() -> dict | None:
            answer = trades.get(f"/v1/trades/quotes?{asked}&tolerance=1h")
            return answer if answer["meta"]["quotes"]["offsets"] == end else None

        answer = eventually(joined)
        found = quotes.get(f"/v1/quotes?{asked}")["data"]
        assert answer["data"]
        assert found
        for trade in answer["data"]:
            time_ns = trade["exchange_time_ns"]
            before = [quote for quote in found if quote["exchange_time_ns"] <= time_ns]
            last = before[-1] if before else {"exchange_time_ns": None, "bid_price": None}
            assert trade["quote_time_ns"] == last["exchange_time_ns"]
            assert trade["bid_price"] == last["bid_price"]
        assert trades.get("/v1/quotes?limit=1")["meta"]["rows"] == 1


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
