"""What the faults happen to: brokers, workers, a producer, all of them real processes."""

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from faults.cluster import Cluster
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.offsets import end_offsets
from k2_streams.kafka.topics import RAW
from k2_streams.testing.local.installed import kafka_jars
from k2_streams.testing.local.loopback import HOST, is_free
from k2_streams.testing.local.workers import LocalWorker, WorkerError

ROOT = Path(__file__).resolve().parents[1]
K2 = [sys.executable, "-m", "k2_streams.cli.main"]
#: Of everything that is waited for: the machine may be busy, and what is slow is not wrong.
PATIENCE_S = 180.0
#: What every producer mixes in: each fault of a feed, and 1 % of poison of every kind.
MIXED_IN = [
    "--gaps", "0.001", "--duplicates", "0.001", "--disorder", "0.001", "--late", "0.001",
    "--resets", "0.0005", "--invalid", "0.01",
]  # fmt: skip


class StuckError(Exception):
    """Something did not come back within `PATIENCE_S`: as bad as a loss."""


def wait_until(condition: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise StuckError(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether something does at this port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


class Stage:
    """Brokers and one folder; workers by their id, started again after each fault.

    Nothing runs before `running`.

    Args:
        directory: everything is in there.
        seed: of all that is left to chance.
        brokers: 1 or 3.
        host: of the brokers.
        settings: more of the environment of every process.
    """

    def __init__(
        self, directory: Path, seed: int, brokers: int = 1, host: str = HOST, **settings: str
    ) -> None:
        self.directory = directory / "data"
        self.directory.mkdir(parents=True)
        self.random = random.Random(seed)
        self.hits = directory / "failpoints"
        self.counts: Counter[str] = Counter()
        self.truths: list[Path] = []
        self.notes: list[str] = []  # what a segment measured beside its recoveries
        self.settings = {
            "K2_REPLICATION": str(brokers),
            "K2_RATE_LIMIT_PER_S": "100000",
            "K2_LAKE_COMMIT_INTERVAL_S": "1",
            # What recovers is looked for soon, and a level left soon.
            "K2_BREAKER_OPEN_S": "5",
            "K2_COOL_DOWN_S": "2",
            "K2_FAILPOINTS_RECORD": str(self.hits),
            **settings,
        }
        self._ports: dict[int, int] = {}
        jars = kafka_jars()
        self.brokers = Cluster(directory / "kafka", jars, self.port, brokers, host)
        self.bootstrap = self.brokers.bootstrap
        self.workers: dict[int, LocalWorker] = {}

    @contextlib.contextmanager
    def running(self, workers: int = 2) -> Iterator[None]:
        """Brokers and workers, ready; ended afterwards, whatever happened."""
        try:
            self.brokers.start()
            for worker_id in range(workers):
                self.start(worker_id)
            self.all_ready()
            yield
        finally:
            self.close()

    def port(self) -> int:
        """A port to come back to after a kill.

        Not an ephemeral one: clients that try again and again to connect to a port that nobody
        listens on are given it, sooner or later, as their own. Nor one that the seed gives: two
        runs with the same seed would race for it.
        """
        while True:
            port = random.SystemRandom().randrange(12_000, 30_000)
            if is_free(port):
                return port

    # -- workers ---------------------------------------------------------------------------------

    def start(self, worker_id: int, failpoints: str = "", **settings: str) -> LocalWorker:
        """Start a worker, perhaps with a plan of failpoints; it is not ready yet."""
        port = self._ports.setdefault(worker_id, self.port())
        more = {**self.settings, **settings}
        if failpoints:
            more["K2_FAILPOINTS"] = failpoints
        worker = self._worker(worker_id, more, port)
        self.workers[worker_id] = worker.start()
        return worker

    def _worker(self, worker_id: int, settings: Mapping[str, str], port: int) -> LocalWorker:
        return LocalWorker(self.directory, self.bootstrap, worker_id, settings, port=port)

    def alive(self, worker_id: int) -> bool:
        """Whether its process runs."""
        worker = self.workers.get(worker_id)
        return worker is not None and worker.process is not None and worker.process.poll() is None

    def kill(self, worker_id: int) -> None:
        """Kill -9."""
        self.workers[worker_id].kill()
        self.counts["kill -9 of a worker"] += 1

    def kill_all(self) -> None:
        """Kill -9 of every worker, also of one that is stopped."""
        for worker_id in sorted(self.workers):
            self.kill(worker_id)

    def start_all(self) -> None:
        """Start every worker again; none is ready yet."""
        for worker_id in sorted(self.workers):
            self.start(worker_id)

    def stop(self, worker_id: int) -> None:
        """End a worker in order; one that does not is killed, and counted."""
        try:
            self.workers[worker_id].stop()
        except WorkerError:
            self.counts["did not stop in time"] += 1

    def leave(self, worker_id: int) -> None:
        """End a worker for good: in order, and its group finds out when its session ends."""
        if self.alive(worker_id):
            self.stop(worker_id)
        del self.workers[worker_id]

    def wait_ready(self, worker_id: int) -> None:
        """Until it answers, starting it again if it has ended by itself meanwhile."""

        def ready() -> bool:
            self._start_again(worker_id)
            return self.workers[worker_id].is_ready()

        wait_until(ready, f"worker {worker_id} ready\n{self.workers[worker_id].last_words()}")

    def _start_again(self, worker_id: int) -> None:
        """If it has ended by itself, perhaps some time after it was ready."""
        if not self.alive(worker_id):
            self.counts["ended by itself"] += 1
            self.start(worker_id)

    def all_ready(self) -> None:
        """Every worker ready, and all partitions worked by one of them."""
        for worker_id in sorted(self.workers):
            self.wait_ready(worker_id)
        wait_until(self._all_owned, "all partitions worked")

    def caught_up(self) -> None:
        """Every worker answers with all that had been sent when this was called."""
        ends = self.raw_ends()
        wait_until(lambda: all(self._holds(worker, ends) for worker in self.workers), "caught up")

    def _holds(self, worker_id: int, ends: Mapping[str, int]) -> bool:
        self._start_again(worker_id)
        status = self.status(worker_id)
        marks = status["watermark"] if status else {}
        return all((marks.get(partition) or 0) >= end for partition, end in ends.items())

    def lake_caught_up(self) -> None:
        """The lake holds all that was in a worker's answers when this was called."""
        ends: dict[str, int] = {}
        for worker_id in self.workers:
            status = self.status(worker_id)
            for partition, part in (status["tail"]["partitions"] if status else {}).items():
                ends[partition] = max(part["end"], ends.get(partition, 0))
        wait_until(lambda: all(self._evicted(worker, ends) for worker in self.workers), "the lake")

    def _evicted(self, worker_id: int, ends: Mapping[str, int]) -> bool:
        status = self.status(worker_id)
        parts = status["tail"]["partitions"] if status else {}
        return all(p in parts and parts[p]["evicted"] >= end for p, end in ends.items())

    def status(self, worker_id: int) -> dict[str, Any] | None:
        """What a worker says of itself; None: nothing."""
        try:
            found: dict[str, Any] = self.workers[worker_id].get("/v1/status", within_s=5.0)
        except OSError:
            return None
        return found

    def raw_ends(self) -> dict[str, int]:
        """How far each partition of the source has been sent; waits for a leader of each."""
        config = KafkaConfig(bootstrap=self.bootstrap)
        ends: dict[str, int] = {}

        def asked() -> bool:
            with contextlib.suppress(KafkaError, OSError):
                found = asyncio.run(
                    end_offsets(config, [TopicPartition(RAW, part) for part in range(4)])
                )
                ends.update({str(partition): end for (_, partition), end in found.items()})
            return bool(ends)

        wait_until(asked, "the ends of the source")
        return ends

    def _all_owned(self) -> bool:
        owned: Counter[str] = Counter()
        for worker_id in self.workers:
            status = self.status(worker_id)
            parts = status["partitions"] if status else {}
            owned.update(p for p, part in parts.items() if part["state"] == "running")
        return len(owned) == 4 and set(owned.values()) == {1}

    # -- brokers ---------------------------------------------------------------------------------

    def kill_broker(self, node: int = 0) -> None:
        """Kill -9 of a broker's process."""
        self.brokers.kill(node)
        self.counts["kill -9 of a broker"] += 1

    def generations(self) -> int:
        """Rebalances that the brokers completed: their logs name each new generation."""
        return len(re.findall(r"Stabilized group k2 generation", self.brokers.said()))

    # -- the flow --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def flow(self, rate: float, seed: int) -> Iterator[Path]:
        """A producer at this rate while the block runs; the truth of what it sent afterwards."""
        number = len(self.truths)
        truth = self.directory / f"truth-{number}.jsonl"
        arguments = ["--exchange", f"F{number:03}", "--seed", str(seed), "--rate", f"{rate:g}"]
        command = [*K2, "produce", *arguments, "--symbols", "500", *MIXED_IN]
        producer = subprocess.Popen(
            [*command, "--truth", str(truth)],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        before = sum(self.raw_ends().values())
        wait_until(
            lambda: producer.poll() is not None or sum(self.raw_ends().values()) > before,
            "the producer sends",
        )
        try:
            yield truth
        finally:
            producer.send_signal(signal.SIGTERM)
            output, _ = producer.communicate(timeout=PATIENCE_S)
            # Its messages are there, also if the block did not come to its end.
            self.truths.append(truth)
        if producer.returncode:
            raise StuckError(f"the producer ended with {producer.returncode}\n{output}")

    def produce(self, *arguments: str) -> None:
        """Send so much at once; its truth is one of `truths`."""
        truth = self.directory / f"truth-{len(self.truths)}.jsonl"
        command = [*K2, "produce", *arguments, "--truth", str(truth)]
        subprocess.run(command, env=self.environment(), check=True, capture_output=True)
        self.truths.append(truth)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Of every process."""
        return {
            **os.environ,
            "K2_BOOTSTRAP": self.bootstrap,
            "K2_DATA_DIR": str(self.directory),
            "NO_COLOR": "1",
            **self.settings,
            **(more or {}),
        }

    def begin_anew(self) -> None:
        """After something got stuck: whatever runs is killed, and all is started again."""
        self.kill_all()
        self.brokers.start()
        self.start_all()
        self.all_ready()

    def points_hit(self) -> Counter[tuple[str, str]]:
        """How often what happened at which failpoint."""
        if not self.hits.exists():
            return Counter()
        lines = [line.split() for line in self.hits.read_text().splitlines()]
        return Counter((point, action) for _, _, point, action in lines)

    def close(self) -> None:
        """End what still runs."""
        for worker in self.workers.values():
            worker.signal(signal.SIGCONT)
            worker.kill()
        self.brokers.stop()
