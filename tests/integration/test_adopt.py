"""Broker and disks are lost under load: `k2 adopt` goes on from the lake, as the how-to says."""

import json
import shlex
import shutil
import signal
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]
from documents import ROOT, blocks, commands

from k2_streams.core.records.stream import TRADES
from k2_streams.lake.table import Lake
from k2_streams.testing.client import StatusError
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.installed import java_program
from k2_streams.testing.local.workers import LocalWorker

pytestmark = [pytest.mark.integration, pytest.mark.long]

#: Of the feed that is under way when all is lost: numbers per symbol, and those that never come.
SYMBOLS, NUMBERS, NEVER = 20, 400, range(100, 105)
RUNBOOK = [
    command
    for block in blocks(ROOT / "docs" / "how-to" / "adopt.md")
    if block.run == "adopt"
    for command in commands(block)
]


@dataclass
class Site:
    """A broker that can be lost, and what runs on it."""

    broker: LocalBroker
    k2: Cluster

    def lose(self) -> None:
        """Broker, disks and catalog, as a fire does it; the files of the lake stay."""
        for worker in self.k2.workers:
            worker.kill()
        self.broker.stop()
        shutil.rmtree(self.broker.directory)
        for folder in self.k2.directory.glob("worker-*"):
            if folder.is_dir():
                shutil.rmtree(folder)
        Path(self.k2.lake.catalog_uri.removeprefix("sqlite:///")).unlink()
        self.k2.bootstrap = self.broker.start()


@pytest.fixture
def site(tmp_path: Path, kafka_jars: Path) -> Iterator[Site]:
    broker = LocalBroker(tmp_path / "kafka", kafka_jars, java=java_program())
    k2 = Cluster(broker.start(), tmp_path / "k2")
    yield Site(broker, k2)
    k2.close()
    broker.stop()


def live_feed(file: Path) -> Path:
    """Trades of some symbols, number by number, with a gap in each."""
    start_ns = time.time_ns() - 3_600 * 10**9
    with file.open("w") as out:
        for number in range(1, NUMBERS + 1):
            for symbol in range(SYMBOLS):
                body = {
                    "exchange": "LIVE", "symbol": f"S{symbol}", "price": "1.5", "quantity": "2",
                    "exchange_time_ns": start_ns + number * 10**6, "trade_id": f"t{number}",
                    "sequence": number, "session": "day",
                }  # fmt: skip
                if number not in NEVER:
                    out.write(json.dumps(body) + "\n")
    return file


def found(worker: LocalWorker, path: str, **more: str) -> list[dict[str, Any]]:
    question = urllib.parse.urlencode({"limit": "10000"} | more)
    rows: list[dict[str, Any]] = worker.get(f"{path}?{question}")["data"]
    return rows


def counted(worker: LocalWorker) -> tuple[int, int]:
    """Rows of the live feed, and distinct numbers among them."""
    query = (
        "SELECT count(*) AS rows, count(DISTINCT symbol || ':' || sequence) AS numbers "
        "FROM trades WHERE exchange = 'LIVE'"
    )
    question = urllib.parse.urlencode({"query": query, "full": "true"})
    (row,) = worker.get(f"/v1/sql?{question}")["data"]
    return row["rows"], row["numbers"]


def gaps_of(worker: LocalWorker, exchange: str) -> set[tuple[Any, ...]]:
    return {
        (gap["scope"], gap["session"], gap["first"], gap["last"], gap["state"], str(gap["missing"]))
        for gap in found(worker, "/v1/gaps", exchange=exchange)
    }


def lake_rows(k2: Cluster) -> int:
    with closing(Lake(k2.lake, stream=TRADES)) as lake:
        return lake.head().rows


def is_in_lake(worker: LocalWorker, path: str) -> bool:
    meta = worker.get(f"{path}?limit=1")["meta"]
    return bool(meta["rows"]) and meta["rows_tail"] == 0


def test_a_lost_broker_is_adopted_and_nothing_is_doubled_or_lost(
    site: Site, tmp_path: Path
) -> None:
    k2 = site.k2
    worker = k2.worker(K2_LEDGER="1", K2_LAKE_COMMIT_INTERVAL_S="2")
    worker.start().wait_ready()
    sent = ("--messages", "3000", "--symbols", "5", "--gaps", "1%", "--invalid", "1%")
    before = k2.produce(*sent, "--seed", "3")
    for path in ("/v1/trades", "/v1/gap-events", "/v1/dead-letters"):
        eventually(lambda path=path: is_in_lake(worker, path), what=f"{path} in the lake")
    gaps, letters = gaps_of(worker, "SIM"), len(found(worker, "/v1/dead-letters"))
    assert gaps
    assert letters
    token = worker.get("/v1/trades?limit=1")["meta"]["token"]
    rows = found(worker, "/v1/trades", as_of=token)

    feed = live_feed(tmp_path / "live.jsonl")
    load = k2.spawn("produce", "--feed", "canonical", str(feed), "--rate", "2000")
    every = SYMBOLS * (NUMBERS - len(NEVER))
    # Behind a commit, so that the next one is two seconds away.
    in_lake = len(rows)
    eventually(lambda: lake_rows(k2) > in_lake, what="a part of the feed is in the lake")
    in_lake = lake_rows(k2) - in_lake
    eventually(lambda: counted(worker)[0] > in_lake, what="and another part is not")
    late = worker.get("/v1/trades?limit=1&exchange=LIVE")["meta"]["token"]
    load.send_signal(signal.SIGKILL)
    load.wait()
    site.lose()

    shown = k2.k2("adopt", "topologies.trades", "--dry-run")
    assert shown.returncode == 0
    assert shown.stdout.count("not in the catalog") == 5
    killed = k2.k2("adopt", "topologies.trades", K2_FAILPOINTS="adopt.restored=crash")
    assert killed.returncode not in {0, 1, 2}, killed.stdout + killed.stderr
    for command in RUNBOOK:
        done = k2.k2(*shlex.split(command)[1:])
        assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to do" in k2.k2("adopt", "topologies.trades").stdout

    again = k2.worker(K2_LEDGER="1", K2_LAKE_COMMIT_INTERVAL_S="0.5")
    again.start().wait_ready()
    assert gaps_of(again, "SIM") == gaps
    assert len(found(again, "/v1/dead-letters")) == letters
    assert found(again, "/v1/trades", as_of=token) == rows
    with pytest.raises(StatusError, match="lost with their log"):
        found(again, "/v1/trades", as_of=late)
    k2.produce("--feed", "canonical", str(feed))
    eventually(lambda: counted(again) == (every, every), what=lambda: str(counted(again)))
    missing = str([[NEVER.start, NEVER.stop - 1]])
    eventually(
        lambda: (
            {(gap[0], gap[5]) for gap in gaps_of(again, "LIVE") if gap[4] == "open"}
            == {(f"LIVE:S{symbol}", missing) for symbol in range(SYMBOLS)}
        ),
        what=lambda: str(gaps_of(again, "LIVE")),
    )
    after = k2.produce(*sent, "--seed", "4", "--start", "now", "--exchange", "AFTER")
    k2.verify(again, before, after)
    again.stop()
