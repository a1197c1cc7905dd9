"""Venues' recorded messages through the whole platform give the figures measured from them."""

import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import Cluster, LocalWorker, eventually, verdicts  # type: ignore[import-not-found]

pytestmark = [pytest.mark.integration, pytest.mark.recorded]

EVERYTHING = "start=0&limit=100000"


def venues(recordings: Path, name: str) -> str:
    return str(recordings / "venue-messages" / name)


def rows(worker: LocalWorker, exchange: str) -> list[dict]:
    """All rows of an exchange, wherever they are now."""
    end = time.time_ns() + 86_400_000_000_000
    return worker.get(f"/v1/trades?exchange={exchange}&{EVERYTHING}&end={end}")["data"]


@pytest.mark.parametrize("decoder", ["auto", pytest.param("off", marks=pytest.mark.long)])
def test_numbered_trades(k2: Cluster, recordings: Path, decoder: str) -> None:
    """Coinbase's matches and Binance's futures, trades and aggregates: each row, and no event."""
    with k2.worker(K2_NATIVE=decoder) as worker:
        futures = str(recordings / "binance-2024-08-08" / "usdm-btcusdt_20240808.gz")
        truths = [
            k2.produce("--feed", "coinbase.exchange", venues(recordings, "COINBASE.ws.28.0")),
            k2.produce("--feed", "binance.usdm", venues(recordings, "BINANCE_FUTURES.jsonl.zst")),
            k2.produce("--feed", "binance.usdm", futures),
        ]
        k2.verify(worker, *truths)
        found = {(one["exchange"], one["symbol"]): one for one in worker.get("/v1/symbols")["data"]}
        assert found["BINANCE", "usdm:BTCUSDT"]["trades"] == 21_313
        aggregates = [one for (_, name), one in found.items() if name.endswith("@aggTrade")]
        assert sum(one["trades"] for one in aggregates) == 91
        matches = rows(worker, "COINBASE")
        assert Counter(tuple(row["conditions"] or ()) for row in matches) == {
            (): 97,
            ("last_match",): 10,
        }
        assert worker.get("/v1/gaps")["data"] == []
        assert "duplicate" not in {name for name, count in verdicts(worker).items() if count}
        assert worker.get("/v1/status")["dead_letters"] == 0


def test_messages_of_many_trades_and_of_none(k2: Cluster, recordings: Path) -> None:
    """Counted by connection, by a book's topic, or not at all: every trade once, and no event."""
    with k2.worker() as worker:
        for feed, file in (
            ("coinbase.advanced", "COINBASE.jsonl.zst"),
            ("bybit.v5", "BYBIT.jsonl.zst"),
            ("kraken.v1", "KRAKEN.jsonl.zst"),
        ):
            truth = k2.produce("--feed", feed, venues(recordings, file))
            k2.verify(worker, truth, also=None if feed == "kraken.v1" else "--sql")
        refused = k2.k2("verify", "--truth", str(truth), "--sql")
        assert refused.returncode == 2
        assert "need rows with a sequence number or an id" in refused.stderr
        counted = {"first": 1 + 6, "in_order": 1_029 + 2_148 - 6}
        eventually(lambda: counted.items() <= verdicts(worker).items(), 120, "all counted")
        for exchange, count in (("COINBASE", 279), ("BYBIT", 347), ("KRAKEN", 10)):
            found = eventually(lambda x=exchange, n=count: len(got := rows(worker, x)) == n and got)
            ids = {
                (row["source_offset"], row["source_partition"], row["source_index"])
                for row in found
            }
            assert len(ids) == count
        assert {name: n for name, n in verdicts(worker).items() if n}.keys() <= {
            *counted,
            "unsequenced",
        }
        assert worker.get("/v1/gaps")["data"] == []
        assert worker.get("/v1/status")["dead_letters"] == 0


def test_four_lines_of_hitbtc(k2: Cluster, recordings: Path) -> None:
    """517 of 2,068 book updates are new, snapshots change nothing, and each trade is one row."""
    with k2.worker() as worker:
        folder = recordings / "ab-lines-2021-07-15"
        lines = [str(folder / f"HITBTC.ws.{line}.0") for line in (1, 2, 3, 4)]
        k2.verify(worker, k2.produce("--feed", "hitbtc.v2", "--lines", *lines))
        updates = {"first": 10, "in_order": 517, "duplicate": 4 * 537 - 527}
        eventually(lambda: updates.items() <= verdicts(worker).items(), 120, "all counted")
        assert not verdicts(worker).get("reset")
        assert worker.get("/v1/gaps")["data"] == []

        def trades() -> int:
            return len({(row["symbol"], row["trade_id"]) for row in rows(worker, "HITBTC")})

        # What was counted is committed; a query sees it as soon as the tail has read it.
        eventually(lambda: trades() == 1_000, 120, "all trades")
        assert worker.get("/v1/status")["dead_letters"] == 0
