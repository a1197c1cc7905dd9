"""A stream through kills of the worker and of its reader has what an answer at its end has."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]
from stream_reader import PLACE, places_of

import k2_client
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import TopicSpec, ensure_topics
from k2_streams.replay.checked import CheckedRows
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

PATIENCE_S = 120.0


class Reader(threading.Thread):
    """A client that takes a stream, and drops its connection now and then.

    Args:
        url: of the worker.
        every: frames of rows after which it reconnects.
    """

    def __init__(self, url: str, every: int) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.every = every
        self.places: list[tuple[int, ...]] = []
        self.checked = CheckedRows()
        self.reconnected = 0
        self.as_of: str | None = None
        self.stop = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Read until it is told to stop."""
        token = "begin"  # noqa: S105 - a word, no secret
        try:
            while not self.stop.is_set():
                token = self.read(token)
                self.reconnected += 1
        except BaseException as error:
            self.error = error
            raise

    def read(self, token: str) -> str:
        """One connection; the token of its last frame."""
        with k2_client.connect(self.url, patience_s=PATIENCE_S) as client:
            frames: Iterator[Any] = client.stream("trades", start=token)
            for number, frame in enumerate(frames):
                token = frame.token
                if frame.kind == "rows":
                    columns = (frame.rows.column(name).to_pylist() for name in PLACE)
                    self.places += zip(*columns, strict=True)
                    self.checked.take(frame.rows)
                elif frame.kind == "progress":
                    self.as_of = frame.fields["as_of"]
                if self.stop.is_set() or number == self.every:
                    break
        return token


def run(k2: Cluster, kills: int, messages: int, seed: int) -> None:
    chance = random.Random(seed)
    worker: LocalWorker = k2.worker(K2_LAKE_COMMIT_INTERVAL_S="1").start().wait_ready()
    reader = Reader(worker.url, every=7)
    reader.start()
    sent = k2.spawn(
        "produce", "--messages", str(messages), "--rate", str(messages // (5 * kills + 5)),
        "--seed", str(seed), "--symbols", "20",
    )  # fmt: skip
    for _ in range(kills):
        eventually(lambda: reader.places, 60)
        reader.stop.wait(chance.uniform(1.0, 3.0))
        worker.kill()
        worker.start().wait_ready()
    assert sent.wait(300) == 0
    wanted = eventually(
        lambda: len(reader.places) >= messages and reader.places, 120, lambda: len(reader.places)
    )
    reader.stop.set()
    reader.join(60)
    assert reader.error is None
    with k2_client.connect(worker.url) as client:
        answer = client.trades().arrow()
        end = list(client.stream("trades", start="begin", end="end"))[-1]
    places = list(zip(*(answer.column(name).to_pylist() for name in PLACE), strict=True))
    assert sorted(wanted) == sorted(places)
    assert len(set(wanted)) == len(wanted)
    assert reader.checked.difference(end.fields) is None
    assert reader.reconnected > 0
    assert sorted(replayed(k2, worker, kills // 2, chance)) == sorted(places)


def replayed(k2: Cluster, worker: LocalWorker, kills: int, chance: random.Random) -> list[Any]:
    """The places of the rows that replays write to a topic, killed so often before the last."""
    config = KafkaConfig(bootstrap=k2.bootstrap)
    asyncio.run(ensure_topics(config, [TopicSpec("k2-replayed", 2, {})]))
    command = ("replay", "--to-topic", "k2-replayed", "--resume", "--url", worker.url)
    for _ in range(kills):
        process = k2.spawn(*command)
        threading.Event().wait(chance.uniform(0.2, 2.0))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    for _ in range(2):  # the second has nothing left to write
        done = k2.k2(*command)
        assert done.returncode == 0, done.stderr
    return asyncio.run(_places_in(config))


async def _places_in(config: KafkaConfig) -> list[Any]:
    tps = [TopicPartition("k2-replayed", number) for number in range(2)]
    found = []
    async with LogReader(config) as reader:
        ends = await reader.end_offsets(tps)
        reader.assign(await reader.begin_offsets(tps))
        while any(reader.position(*tp) < end for tp, end in ends.items()):
            for chunk in await reader.poll():
                rows = (json.loads(record.value or b"") for record in chunk.records)
                found += [tuple(row[name] for name in PLACE) for row in rows]
    return found


def test_a_stream_goes_on_through_a_kill_of_the_worker_and_reconnects(k2: Cluster) -> None:
    run(k2, kills=1, messages=3_000, seed=1)


@pytest.mark.long
def test_a_stream_goes_on_through_many_kills(k2: Cluster) -> None:
    run(k2, kills=20, messages=60_000, seed=2)


@pytest.mark.long
def test_a_stream_goes_on_through_a_hundred_kills_of_all_that_has_part_in_it(k2: Cluster) -> None:
    """Of its reader, of the node that it reads from, of the worker that writes.

    A third of the messages is history when the reader begins; it is killed while it reads them, at
    the hand-over, and while it follows those that come.
    """
    chance, messages, kills = random.Random(3), 60_000, 100
    settings = {"K2_LAKE_COMMIT_INTERVAL_S": "1"}
    worker = k2.worker(0, **settings).start()
    nodes = [k2.worker(number, K2_ROLE="query", **settings).start() for number in (1, 2)]
    for one in (worker, *nodes):
        one.wait_ready()
    traffic = ("--symbols", "20", "--start", "now")
    k2.produce("--messages", str(messages // 3), "--seed", "3", *traffic)
    rest = 2 * messages // 3
    sent = k2.spawn(
        "produce", "--messages", str(rest), "--rate", str(rest // (4 * kills)), "--seed", "4",
        *traffic,
    )  # fmt: skip
    file = k2.directory / "frames"
    urls = [node.url for node in nodes]
    counts = dict.fromkeys(("reader", "node", "worker"), 0)
    reader = start_reader(file, urls)
    try:
        while sum(counts.values()) < kills:
            what = chance.choice(tuple(counts))
            counts[what] += 1
            threading.Event().wait(chance.uniform(0.2, 3.0))
            if what == "reader":
                reader.kill()
                reader.wait(10)
                reader = start_reader(file, urls)
                continue
            killed = worker if what == "worker" else chance.choice(nodes)
            killed.kill()
            killed.start()
            if what == "node":  # the reader has one that answers, whichever is killed next
                killed.wait_ready()
        assert sent.wait(600) == 0
        worker.wait_ready()
        with k2_client.connect(urls, patience_s=120.0) as client:
            eventually(lambda: client.trades().arrow().num_rows >= messages, 120)
            answer = client.trades().arrow()
        wanted = sorted(zip(*(answer.column(name).to_pylist() for name in PLACE), strict=True))
        eventually(lambda: len(places_of(file)) >= len(wanted), 120, lambda: len(places_of(file)))
    finally:
        reader.kill()
        reader.wait(10)
    found = places_of(file)
    assert len(set(found)) == len(found)
    assert sorted(found) == wanted
    assert min(counts.values()) > kills // 5


def start_reader(file: Path, urls: list[str]) -> "subprocess.Popen[bytes]":
    """A process of its own: a kill leaves what it has written, and nothing else."""
    program = [sys.executable, "-m", "stream_reader", str(file), *urls]
    path = os.pathsep.join(one for one in sys.path if one)
    return subprocess.Popen(program, env={**os.environ, "PYTHONPATH": path})
