"""A recorded feed that lost one percent, repaired from the recording, killed in the middle."""

import json
import random
import signal
import time
import urllib.parse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]

from k2_streams.testing.client import StatusError
from k2_streams.testing.local.workers import LocalWorker

pytestmark = [pytest.mark.integration, pytest.mark.long]

SYMBOLS, NUMBERS = 5, 6_000
EVERY = SYMBOLS * NUMBERS


def recorded(file: Path, *, numbered: bool = True) -> Path:
    """A feed as it was, whole: canonical trades of some symbols, with numbers or with ids."""
    start_ns = time.time_ns() - 3_600 * 10**9
    chance = random.Random(7)
    with file.open("w") as out:
        for number in range(1, NUMBERS + 1):
            for symbol in range(SYMBOLS):
                body = {
                    "exchange": "REC", "symbol": f"S{symbol}",
                    "price": f"{chance.randint(1, 999)}.5", "quantity": "2",
                    "exchange_time_ns": start_ns + number * 10**6, "session": "day",
                    **({"sequence": number} if numbered else {"trade_id": f"t{number}"}),
                }  # fmt: skip
                out.write(json.dumps(body) + "\n")
    return file


def open_gaps(worker: LocalWorker, **more: str) -> list[dict[str, Any]]:
    question = urllib.parse.urlencode({"exchange": "REC", "state": "open", "limit": "10000"} | more)
    found: list[dict[str, Any]] = worker.get(f"/v1/gaps?{question}")["data"]
    return found


def gaps_known(worker: LocalWorker, at: str) -> list[dict[str, Any]] | None:
    """The open gaps as they were known; None: a silent partition is not read so far yet."""
    try:
        return open_gaps(worker, known_at=at)
    except StatusError:
        return None


def counted(worker: LocalWorker) -> tuple[int, int]:
    """Rows, and distinct numbers or ids of symbols."""
    query = (
        "SELECT count(*) AS rows, "
        "count(DISTINCT symbol || ':' || coalesce(trade_id, sequence::VARCHAR)) AS numbers "
        "FROM trades WHERE exchange = 'REC'"
    )
    question = urllib.parse.urlencode({"query": query, "full": "true"})
    (row,) = worker.get(f"/v1/sql?{question}")["data"]
    return row["rows"], row["numbers"]


def test_gaps_are_filled_from_the_recording_once(k2: Cluster, tmp_path: Path) -> None:
    """0 open gaps, rows equal the recording, 0 doubled; as known before, the gaps are there."""
    worker = k2.worker()
    worker.start()
    file = recorded(tmp_path / "whole.jsonl")
    truth = k2.produce("--feed", "canonical", str(file), "--gaps", "1%", "--seed", "5")
    k2.verify(worker, truth)
    lost = open_gaps(worker)
    missing = sum(last - first + 1 for gap in lost for first, last in gap["missing"])
    assert missing > EVERY // 200
    assert counted(worker) == (EVERY - missing, EVERY - missing)
    before = datetime.now(UTC).isoformat()
    source = ("--source", f"file:{file}", "--exchange", "REC")
    killed = k2.spawn("repair", "run", *source, "--rate", "60")
    eventually(lambda: len(open_gaps(worker)) < len(lost), 180.0, "a part is filled")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert open_gaps(worker), "it was killed in the middle"
    for asks in (True, False):
        done = k2.k2("repair", "run", *source, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert bool(json.loads(done.stdout)) == asks
    assert open_gaps(worker) == []
    eventually(lambda: counted(worker) == (EVERY, EVERY), what=lambda: str(counted(worker)))
    k2.verify(worker, truth, also="--deep")
    known = eventually(lambda: gaps_known(worker, before), 120.0, "read past that time")
    assert sum(last - first + 1 for gap in known for first, last in gap["missing"]) == missing
    assert k2.k2("repair", "run", "--source", "nobody").returncode == 2
    worker.stop()


def test_trades_without_numbers_are_filled_from_the_recording_by_their_ids(
    k2: Cluster, tmp_path: Path
) -> None:
    """Killed in the middle and run again: all rows are there, once."""
    worker = k2.worker(K2_LAKE_COMMIT_INTERVAL_S="1")
    worker.start()
    file, chance = recorded(tmp_path / "whole.jsonl", numbered=False), random.Random(9)
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if chance.random() > 0.01]
    part = tmp_path / "part.jsonl"
    part.write_text("".join(kept))
    k2.produce("--feed", "canonical", str(part))
    eventually(lambda: counted(worker)[0] == len(kept), what=lambda: str(counted(worker)))
    source = ("--by", "trade-id", "--source", f"file:{file}")
    killed = k2.spawn("repair", "run", *source, "--rate", "60")
    eventually(lambda: counted(worker)[0] > len(kept), 180.0, "a part is filled")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    there = counted(worker)[0]
    assert there < EVERY, "it was killed in the middle"
    for asks in (True, False):
        done = k2.k2("repair", "run", *source, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert bool(json.loads(done.stdout)) == asks
    eventually(lambda: counted(worker) == (EVERY, EVERY), what=lambda: str(counted(worker)))
    worker.stop()
