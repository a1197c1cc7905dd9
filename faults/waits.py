"""What a worker must wait for: a broker, a catalog, a slow sink, memory below its limit."""

import sqlite3
import time
from contextlib import closing

from faults.injections import recovered
from faults.stage import FaultStage
from k2_streams.runtime.settings.worker import IDLE_WORKER_BYTES
from k2_streams.testing.waiting import wait_until

#: How long nothing answers.
AWAY_S = (2.0, 12.0)
LOCKED_S = (20.0, 60.0)
SLOW_S = 8.0
#: Of what a worker has in memory that has run for a while: a new one has more, too.
LIMIT_SHARE = 0.5
LIMITED_S = (2.0, 8.0)


def without_broker(stage: FaultStage, _number: int) -> float:
    """Workers start before any broker runs."""
    stage.kill_all()
    stage.kill_broker()
    stage.start_all()
    time.sleep(stage.random.uniform(*AWAY_S))
    began = time.monotonic()
    stage.brokers.start()
    return recovered(stage, began)


def retrying(stage: FaultStage) -> bool:
    """Whether a sink has failed, and tries again."""
    return any(status["sink"]["retrying"] for status in stage.statuses())


def lake_recovered(stage: FaultStage, began: float) -> float:
    """Wait until all is well and the lake holds what the answers hold; seconds since it `began`."""
    recovered(stage, began)
    stage.lake_caught_up()
    return time.monotonic() - began


def locked_catalog(stage: FaultStage, _number: int) -> float:
    """Somebody holds the catalog's lock, for longer than any attempt waits."""
    with closing(sqlite3.connect(stage.directory / "catalog.db", timeout=60.0)) as catalog:
        catalog.isolation_level = None
        catalog.execute("BEGIN EXCLUSIVE")
        wait_until(lambda: retrying(stage), "the lock is noticed")
        time.sleep(stage.random.uniform(*LOCKED_S))
        catalog.execute("ROLLBACK")
    return lake_recovered(stage, time.monotonic())


def slow_sink(stage: FaultStage, _number: int) -> float:
    """Writing files and committing them takes long, commit after commit."""
    victim = min(stage.workers)
    stage.stop(victim)
    points = ("lake.files-written", "lake.committing", "lake.acknowledged")
    plan = [f"{point}=delay:{SLOW_S:g}@{nth}" for nth in (1, 2) for point in points]
    hits = sum(stage.points_hit().values())
    began = time.monotonic()
    stage.start_at(victim, ";".join(plan))
    wait_until(lambda: sum(stage.points_hit().values()) >= hits + len(plan), "slow commits")
    return lake_recovered(stage, began)


def memory_limit(stage: FaultStage, _number: int) -> float:
    """A worker may take less memory than it needs: it stops reading, and neither grows nor ends."""
    victim = min(stage.workers)
    status = stage.status(victim)
    assert status is not None
    # A lower one is refused at start; so much is taken as soon as anything comes.
    limit_bytes = max(int(status["memory_bytes"] * LIMIT_SHARE), IDLE_WORKER_BYTES)
    stage.stop(victim)
    stage.start(victim, K2_MEMORY_LIMIT_BYTES=str(limit_bytes))

    def broken() -> bool:
        found = stage.status(victim)
        return found is not None and found["level"] == "CIRCUIT_BREAK"

    wait_until(broken, "the circuit is broken")
    until = time.monotonic() + stage.random.uniform(*LIMITED_S)
    while time.monotonic() < until:
        found = stage.status(victim)
        share = found["load"]["memory_share"] if found else 0.0
        percent = round(100 * share)
        stage.counts["memory, % of its limit at worst"] = max(
            percent, stage.counts["memory, % of its limit at worst"]
        )
        time.sleep(0.5)
    assert stage.alive(victim)
    stage.stop(victim)
    began = time.monotonic()
    stage.start(victim)
    return recovered(stage, began)
