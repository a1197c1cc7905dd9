"""A batch that cannot be read stops its partition alone, named, and nothing is skipped."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import (  # type: ignore[import-not-found]
    PARTITIONS,
    Cluster,
    eventually,
    reset_topics,
)

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.testing.client import StatusError
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.installed import java_program
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

#: Base offset and length: what a batch in a segment begins with.
_HEAD = struct.Struct(">qi")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[LocalBroker]:
    """A broker whose files a test may damage, and repairs."""
    broker = LocalBroker(tmp_path_factory.mktemp("damaged"), kafka_jars, java=java_program())
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def own(damaged: LocalBroker, tmp_path: Path) -> Iterator[Cluster]:
    """Workers on that broker, and new topics."""
    bootstrap = damaged.status().bootstrap
    assert bootstrap is not None
    reset_topics(bootstrap)
    cluster = Cluster(bootstrap, tmp_path)
    yield cluster
    cluster.close()


def flip_in_last_batch(folder: Path, topic: str, partition: int) -> int:
    """Flip one bit of the records of a partition's last data batch, or flip it back; its offset."""
    (segment,) = folder.rglob(f"{topic}-{partition}/{0:020}.log")
    content = bytearray(segment.read_bytes())
    at, last = 0, (0, 0, 0)
    while at < len(content):
        offset, length = _HEAD.unpack_from(content, at)
        is_marker = content[at + 22] & 0x20
        if not is_marker:
            last = (offset, at, length)
        at += _HEAD.size + length
    offset, at, length = last
    content[at + _HEAD.size + length - 1] ^= 1
    with segment.open("r+b") as file:
        file.write(content)
    return offset


def readiness(worker: LocalWorker) -> str:
    """Why it is not ready; empty: it is."""
    try:
        worker.get("/health/ready")
    except StatusError as error:
        return error.body.decode()
    return ""


def unreadable(worker: LocalWorker) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = worker.get("/v1/status")["unreadable_partitions"]
    return found


@pytest.mark.parametrize("topic", [TRADES_INPUT.raw, TRADES_INPUT.stream.log])
def test_a_corrupt_batch_stops_its_partition_alone_and_goes_on_when_it_is_repaired(
    own: Cluster, damaged: LocalBroker, topic: str
) -> None:
    never = {
        "K2_LAKE_COMMIT_INTERVAL_S": "3600"
    }  # what the sink has to read is still unread after it
    with own.worker(**never) as first:
        if topic == TRADES_INPUT.stream.log:
            truth = own.produce("--messages", "2000", "--seed", "5")
            eventually(lambda: all(is_worked(first, p) for p in range(PARTITIONS)))
    if topic == TRADES_INPUT.raw:
        truth = own.produce("--messages", "2000", "--seed", "5")
    broken = 1
    offset = flip_in_last_batch(damaged.directory, topic, broken)
    worker = own.worker().start()
    eventually(lambda: is_named(worker, topic, broken, offset), what="named in status")
    why = readiness(worker)
    assert f"{topic}-{broken} cannot be read at offset {offset}" in why
    others = [p for p in range(PARTITIONS) if p != broken]
    eventually(lambda: all(is_worked(worker, p) for p in others), what="the others go on")
    assert worker.process is not None
    assert worker.process.poll() is None
    log = worker.log_file.read_text()
    assert f"topic='{topic}' partition={broken} offset={offset}" in log
    assert flip_in_last_batch(damaged.directory, topic, broken) == offset
    eventually(lambda: not unreadable(worker) and not readiness(worker))
    own.verify(worker, truth)


def is_named(worker: LocalWorker, topic: str, partition: int, offset: int) -> bool:
    try:
        found = unreadable(worker)
    except OSError:
        return False
    wanted = {"topic": topic, "partition": partition, "offset": offset}
    return any(wanted.items() <= fault.items() and fault["remedy"] for fault in found)


def is_worked(worker: LocalWorker, partition: int) -> bool:
    task = worker.get("/v1/status")["partitions"].get(str(partition), {})
    return task.get("state") == "running" and task["lag_records"] == 0 and task["next_offset"] > 0
