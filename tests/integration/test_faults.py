"""Faults of what a worker stands on: each ends in a clear refusal or in exact answers."""

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaProducer
from conftest import (  # type: ignore[import-not-found]
    PARTITIONS,
    Cluster,
    eventually,
    reset_topics,
)

from faults.topics import recreate, truncate
from k2_streams.core.records.stream import TRADES
from k2_streams.kafka.topics import RAW
from k2_streams.runtime.worker import EXIT_CONFIGURATION
from k2_streams.testing.client import StatusError
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.installed import java_program
from k2_streams.testing.local.loopback import free_port
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[LocalBroker]:
    """A broker of these tests, always at the same address."""
    folder = tmp_path_factory.mktemp("own")
    broker = LocalBroker(folder, kafka_jars, port=free_port(), java=java_program())
    yield broker
    broker.stop()


@pytest.fixture
def own_broker(local: LocalBroker) -> Iterator[LocalBroker]:
    """A broker that a test may stop and kill; it runs, and has no topics of an earlier test."""
    reset_topics(local.start())
    yield local
    pid = local.status().pid
    if pid is not None:
        psutil.Process(pid).resume()


@pytest.mark.long
def test_a_short_selection_of_faults_loses_and_doubles_nothing() -> None:
    """kill -9, a stop past the session, a dead broker, a storm: `make faults` in little."""
    done = subprocess.run(
        [sys.executable, "-m", "faults", "--plan", "short", "--seed", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| all of it together |" in done.stdout


def test_a_stop_ends_while_the_broker_stands_still(own_broker: LocalBroker, tmp_path: Path) -> None:
    """What Faust stops has no bound of its own: a consumer about to join waits for its answer."""
    cluster = Cluster(own_broker.start(), tmp_path / "data")
    worker = cluster.worker()
    try:
        worker.start().wait_ready()
        pid = own_broker.status().pid
        assert pid is not None
        psutil.Process(pid).suspend()
        assert worker.stop() in {0, 70}, worker.last_words()
    finally:
        cluster.close()


def test_a_broker_that_comes_late_or_is_killed_is_waited_for(
    own_broker: LocalBroker, tmp_path: Path
) -> None:
    """A worker started first is ready once the broker is, and goes on where a kill stopped it."""
    cluster = Cluster(own_broker.start(), tmp_path / "data")
    own_broker.stop()
    worker = cluster.worker()
    try:
        worker.start()
        eventually(lambda: "broker away" in worker.last_words(200), what="the broker is missed")
        own_broker.start()
        worker.wait_ready()
        before = cluster.produce("--messages", "2000", "--seed", "1")
        eventually(lambda: sum(worker.get("/v1/status")["watermark"].values()) > 0, what="work")
        victim = psutil.Process(own_broker.status().pid)
        victim.kill()
        psutil.wait_procs([victim])  # a dying process still counts as running
        own_broker.start()
        after = cluster.produce("--messages", "2000", "--seed", "2", "--exchange", "LATER")
        cluster.verify(worker, before, after)
    finally:
        cluster.close()


def test_a_second_worker_of_the_same_id_is_told_so_and_harms_nothing(k2: Cluster) -> None:
    """Two processes on one store would be the end of it: the directory is held."""
    first = k2.worker(0).start().wait_ready()
    second = k2.worker(0).start()
    assert second.process is not None
    assert second.process.wait(60) == EXIT_CONFIGURATION
    assert "give this worker another K2_WORKER_ID" in second.last_words()
    k2.verify(first, k2.produce("--messages", "2000", "--seed", "1"))


async def test_a_transaction_left_open_on_the_log_is_said_in_every_answer(k2: Cluster) -> None:
    """It holds each committed reader back: an answer that stands still says why, and goes on."""
    worker = k2.worker().start().wait_ready()

    def stalled() -> bool:
        found: bool = worker.get("/v1/trades?limit=1")["meta"]["stalled"]
        return found

    assert not stalled()
    stranger = AIOKafkaProducer(bootstrap_servers=k2.bootstrap, transactional_id="stranger")
    await stranger.start()
    try:
        await stranger.begin_transaction()
        await stranger.send_and_wait(TRADES.log, b"never committed", partition=0)
        truth = await asyncio.to_thread(k2.produce, "--messages", "2000", "--seed", "1")
        await asyncio.to_thread(eventually, stalled, 60, "the open transaction is said")
        await stranger.abort_transaction()
    finally:
        await stranger.stop()
    await asyncio.to_thread(eventually, lambda: not stalled(), 60, "it is said to be over")
    await asyncio.to_thread(k2.verify, worker, truth)


def test_a_source_created_anew_is_refused(k2: Cluster) -> None:
    """Its offsets mean other records: nothing is skipped, and the error says what was found."""
    worker = k2.worker()
    with worker:
        k2.verify(worker, k2.produce("--messages", "5000", "--seed", "1"))

    asyncio.run(recreate(k2.bootstrap, RAW, PARTITIONS))
    k2.produce("--messages", "5000", "--seed", "2")
    worker.start()
    refused = eventually(
        lambda: refusals(worker) if len(refusals(worker)) == PARTITIONS else None,
        what="all partitions refused",
    )
    assert all("created anew" in reason for reason in refused.values())
    assert all("k2 changelog" in reason for reason in refused.values())
    assert not worker.is_ready()
    worker.stop()


def test_a_source_that_no_longer_holds_what_comes_next_is_refused(k2: Cluster) -> None:
    """Records were removed before they were read: refused, never passed over."""
    worker = k2.worker()
    with worker:
        k2.verify(worker, k2.produce("--messages", "4000", "--seed", "1"))
    k2.produce("--messages", "4000", "--seed", "2", "--exchange", "LATER")

    asyncio.run(truncate(k2.bootstrap, RAW, PARTITIONS))
    worker.start()
    refused = eventually(
        lambda: refusals(worker) if len(refusals(worker)) == PARTITIONS else None,
        what="all partitions refused",
    )
    assert all("expected offset" in reason for reason in refused.values())
    worker.stop()


def refusals(worker: object) -> dict[str, str]:
    try:
        found: dict[str, str] = worker.get("/v1/status")["refused"]  # type: ignore[attr-defined]
    except OSError:
        return {}
    return found


def test_a_locked_catalog_delays_the_lake_and_loses_nothing(k2: Cluster) -> None:
    """Somebody holds the catalog's lock for longer than one attempt waits."""
    worker = k2.worker()
    worker.start().wait_ready()
    k2.verify(worker, k2.produce("--messages", "2000", "--seed", "1"))
    locked, free = threading.Event(), threading.Event()

    def hold() -> None:
        with sqlite3.connect(k2.directory / "catalog.db", isolation_level=None) as catalog:
            catalog.execute("BEGIN EXCLUSIVE")
            locked.set()
            free.wait(60)
            catalog.execute("ROLLBACK")

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(60)
    truth = k2.produce("--messages", "4000", "--seed", "2", "--exchange", "LOCKED")
    eventually(lambda: worker.get("/v1/status")["sink"]["retrying"], within_s=120, what="retrying")
    free.set()
    holder.join()
    k2.verify(worker, truth)
    assert worker.stop() == 0, worker.last_words()


def _newest_snapshot(worker: LocalWorker) -> int | None:
    """Its id; None: there is none, or the worker cannot say it for the moment."""
    with contextlib.suppress(StatusError):
        for found in worker.get("/v1/snapshots?limit=1")["data"]:
            return int(found["id"])
    return None


def test_a_zombie_that_wakes_in_mid_commit_lands_nothing_twice(k2: Cluster) -> None:
    """SIGSTOP between its manifests and the catalog's answer; the heir commits the same rows."""
    record = k2.directory / "failpoints"
    zombie = k2.worker(0, K2_FAILPOINTS="lake.committing=stop@2", K2_FAILPOINTS_RECORD=str(record))
    heir = k2.worker(1)
    zombie.start().wait_ready()
    heir.start().wait_ready()
    truth = k2.directory / "truth.jsonl"
    producer = k2.spawn(
        "produce", "--rate", "2000", "--messages", "30000", "--seed", "6", "--truth", str(truth)
    )
    eventually(lambda: record.exists() and "stop" in record.read_text(), 120, "stopped")
    try:
        eventually(
            lambda: len(heir.running_partitions()) == PARTITIONS,
            within_s=120,
            what="the heir owns all partitions",
        )
        held = eventually(lambda: _newest_snapshot(heir), what="the zombie's first commit")
        eventually(lambda: _newest_snapshot(heir) not in {None, held}, what="the heir commits")
    finally:
        zombie.signal(signal.SIGCONT)
    output, _ = producer.communicate(timeout=240)
    assert producer.returncode == 0, output
    k2.verify(heir, truth)
