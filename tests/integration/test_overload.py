"""More than the worker may do: put off, drained, killed in between, and nothing is missing."""

import asyncio
import random
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from conftest import PARTITIONS, Cluster, eventually  # type: ignore[import-not-found]

from k2_streams.core.load.degradation import TRANSITIONS, Level
from k2_streams.core.load.level_changes import LevelChanged, decode
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

FAULTS = [
    "--gaps", "0.001", "--duplicates", "0.001", "--disorder", "0.001", "--late", "0.001",
    "--invalid", "0.001", "--resets", "20",
]  # fmt: skip
#: The most frequent symbols are of the lowest tier.
TIERS = "SIM:S019*,1\nSIM:S01*,2\n*,3\n"


def capped(k2: Cluster, rate: int, **settings: str) -> LocalWorker:
    """A worker that may do so many records a second, and is not slow to recover."""
    tiers = k2.directory / "tiers.csv"
    tiers.write_text(TIERS)
    worker: LocalWorker = k2.worker(
        K2_MAX_RATE_PER_S=str(rate), K2_COOL_DOWN_S="1", K2_TIERS_FILE=str(tiers), **settings
    )
    return worker


def load(worker: LocalWorker) -> dict[str, Any]:
    status = worker.get("/v1/status")
    found: dict[str, Any] = status["load"] | {"level": status["level"]}
    return found


def is_calm(worker: LocalWorker) -> bool:
    now = load(worker)
    return now["level"] == "NORMAL" and now["lag_records"] == 0 and now["worked_records"] > 0


def answered(worker: LocalWorker) -> tuple[bool, bool]:
    """Whether an answer for the most frequent symbol is complete, and has records deferred."""
    answer = worker.get("/v1/trades?symbol=S0000&limit=1")["meta"]
    return answer["complete"], answer["deferred"] > 0


async def _levels(bootstrap: str) -> list[LevelChanged]:
    ats = [(TRADES_INPUT.levels, partition) for partition in range(PARTITIONS)]
    found = []
    async with LogReader(KafkaConfig(bootstrap)) as reader:
        ends = (await reader.settled_offsets(ats)).stable
        reader.assign(await reader.begin_offsets(ats))
        while any(reader.position(*at) < ends[at] for at in ats):
            for chunk in await reader.poll():
                found += [decode(record.value or b"") for record in chunk.records]
    return sorted(found, key=lambda change: change.time_us)


@pytest.mark.parametrize(
    ("kills", "messages"), [(2, 30_000), pytest.param(5, 50_000, marks=pytest.mark.long)]
)
def test_ten_times_too_much_and_kills_in_deferral_and_drain(
    k2: Cluster, kills: int, messages: int
) -> None:
    """Killed while records are put off and while they drain: no difference to the truth."""
    worker = capped(k2, 2_500)
    worker.start().wait_ready()
    truth = k2.directory / "truth.jsonl"
    rng = random.Random(7)
    producer = k2.spawn(
        "produce", "--rate", "25000", "--messages", str(messages), "--seed", "7", "--symbols",
        "200",
        *FAULTS, "--truth", str(truth),
    )  # fmt: skip
    waiting = 0
    for _ in range(kills):
        eventually(lambda: load(worker)["deferred_records"] > 100, what="records deferred")
        eventually(lambda: answered(worker) == (False, True), what="an answer that is incomplete")
        time.sleep(rng.uniform(0.1, 1.5))  # the kill comes at any moment
        waiting = max(waiting, load(worker)["deferred_records"])
        worker.kill()
        counts = k2.k2("changelog", "sequence", "--key", "@deferred:SIM:S0000", "--json")
        worker.start().wait_ready()
    output, _ = producer.communicate(timeout=240)
    assert producer.returncode == 0, output
    assert waiting > 1_000
    assert counts.returncode == 0, counts.stderr  # of the last kill: no drain went on meanwhile
    assert '"key":"@deferred:SIM:S0000"' in counts.stdout
    k2.verify(worker, truth)
    eventually(lambda: is_calm(worker), within_s=120, what="NORMAL")
    answer = worker.get("/v1/trades?symbol=S0000&limit=1")["meta"]
    assert (answer["level"], answer["deferred"]) == ("NORMAL", 0)
    assert worker.stop() == 0, worker.last_words()


def test_levels_rise_and_fall_and_tier_1_never_waits(k2: Cluster) -> None:
    """AGGRESSIVE under the load, one level down at a time, and every change published."""
    worker = capped(k2, 2_500, K2_LAG_TRIGGERS_RECORDS="60000,120000,240000")
    worker.start().wait_ready()
    truth = k2.directory / "truth.jsonl"
    producer = k2.spawn(
        "produce", "--rate", "25000", "--messages", "25000", "--seed", "9", "--symbols", "200",
        "--truth", str(truth),
    )  # fmt: skip
    eventually(lambda: load(worker)["level"] == "AGGRESSIVE", what="AGGRESSIVE")
    changed = k2.directory / "tiers.csv"
    changed.write_text(TIERS + "SIM:S0000,3\nSIM:S0001,4\n")
    eventually(lambda: "line 5" in (load(worker)["tiers_error"] or ""), what="a bad line named")
    changed.write_text(TIERS + "SIM:S0000,2\n")
    eventually(lambda: load(worker)["tier_patterns"] == 4, what="the table read again")
    output, _ = producer.communicate(timeout=240)
    assert producer.returncode == 0, output
    eventually(lambda: is_calm(worker), within_s=240, what="NORMAL")
    k2.verify(worker, truth)
    changes = asyncio.run(_levels(k2.bootstrap))
    steps = [(Level[change.previous], Level[change.level]) for change in changes]
    assert all(after in TRANSITIONS[before] for before, after in steps)
    assert [before for before, _ in steps[1:]] == [after for _, after in steps[:-1]]
    assert max(after for _, after in steps) is Level.AGGRESSIVE
    assert steps[-1][1] is Level.NORMAL
    assert {change.reason for change in changes} == {"lag", "calm"}
    assert _deferred(k2) >= {b"SIM:S0000", b"SIM:S0010"}
    assert not {key for key in _deferred(k2) if key.startswith(b"SIM:S019")}


def _deferred(k2: Cluster) -> set[bytes]:
    async def keys() -> set[bytes]:
        ats = [("k2.trades.deferred", partition) for partition in range(PARTITIONS)]
        found: set[bytes] = set()
        async with LogReader(KafkaConfig(k2.bootstrap)) as reader:
            ends = (await reader.settled_offsets(ats)).stable
            reader.assign(await reader.begin_offsets(ats))
            while any(reader.position(*at) < ends[at] for at in ats):
                for chunk in await reader.poll():
                    found |= {record.key for record in chunk.records if record.key}
        return found

    return asyncio.run(keys())


@pytest.mark.long
def test_too_little_memory_pauses_the_source_and_comes_back(k2: Cluster) -> None:
    """CIRCUIT_BREAK: 503 with Retry-After, queries go on, it resumes by itself, no difference.

    All is of tier 1, so nothing can be put off, and rows wait long for the lake: memory fills.
    """
    tiers = k2.directory / "tiers.csv"
    tiers.write_text("*,1\n")
    worker = k2.worker(
        K2_MEMORY_LIMIT_BYTES=str(540 * 2**20),
        K2_COOL_DOWN_S="1",
        K2_LAKE_COMMIT_INTERVAL_S="30",
        K2_TIERS_FILE=str(tiers),
    )
    worker.start().wait_ready()
    truth = k2.directory / "truth.jsonl"
    producer = k2.spawn(
        "produce", "--rate", "60000", "--messages", "700000", "--seed", "3", "--truth", str(truth)
    )
    broken = eventually(lambda: _not_ready(worker), within_s=240, what="a break")
    assert int(broken["Retry-After"]) >= 1
    paused = 'k2_source_paused{reason="circuit_break"} 1.0'
    eventually(lambda: paused in _scrape(worker), what=paused)
    answer = worker.get("/v1/trades?limit=1")
    assert answer["data"], "queries go on"
    output, _ = producer.communicate(timeout=240)
    assert producer.returncode == 0, output
    k2.verify(worker, truth)
    changes = asyncio.run(_levels(k2.bootstrap))
    assert any(c.level == "CIRCUIT_BREAK" and c.reason == "memory" for c in changes)
    assert any(c.previous == "CIRCUIT_BREAK" for c in changes)


def _scrape(worker: LocalWorker) -> str:
    with urllib.request.urlopen(worker.url + "/metrics", timeout=20) as answer:  # noqa: S310 - loopback
        return str(answer.read().decode())


def _not_ready(worker: LocalWorker) -> Any:
    """The headers of a 503 because of the level."""
    try:
        with urllib.request.urlopen(worker.url + "/health/ready", timeout=20):  # noqa: S310 - loopback
            return None
    except urllib.error.HTTPError as error:
        return error.headers if b"CIRCUIT_BREAK" in error.read() else None
