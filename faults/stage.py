"""What the faults happen to: a broker, workers, a producer, all of them real processes."""

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

import psutil

from k2_streams.cli.broker import java_program
from k2_streams.cli.workers import LocalWorker, WorkerError
from k2_streams.kafka.broker import LocalBroker
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.loopback import is_free
from k2_streams.kafka.standings import end_offsets
from k2_streams.kafka.topics import RAW

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
    """One broker and one folder; workers by their id, started again after each fault."""

    def __init__(self, directory: Path, seed: int, **settings: str) -> None:
        self.directory = directory / "data"
        self.directory.mkdir(parents=True)
        self.random = random.Random(seed)
        self.hits = directory / "failpoints"
        self.counts: Counter[str] = Counter()
        self.truths: list[Path] = []
        self.settings = {
            "K2_RATE_LIMIT": "100000",
            "K2_COMMIT_EVERY_S": "1",
            "K2_FAILPOINTS_RECORD": str(self.hits),
            **settings,
        }
        self._ports: dict[int, int] = {}
        jars = Path(os.environ.get("K2_KAFKA_JARS") or ROOT / ".cache" / "kafka" / "lib")
        self.broker = LocalBroker(directory / "kafka", jars, port=self.port(), java=java_program())
        self.bootstrap = self.broker.start()
        self.workers: dict[int, LocalWorker] = {}

    def port(self) -> int:
        """A port to come back to after a kill.

        Not an ephemeral one: clients that try again and again to connect to a port that nobody
        listens on are given it, sooner or later, as their own.
        """
        while True:
            port = self.random.randrange(12_000, 30_000)
            if is_free(port):
                return port

    # -- workers ---------------------------------------------------------------------------------

    def start(self, worker_id: int, failpoints: str = "", **settings: str) -> LocalWorker:
        """Start a worker, perhaps with a plan of failpoints; it is not ready yet."""
        port = self._ports.setdefault(worker_id, self.port())
        more = {**self.settings, **settings}
        if failpoints:
            more["K2_FAILPOINTS"] = failpoints
        worker = LocalWorker(self.directory, self.bootstrap, worker_id, more, port=port)
        self.workers[worker_id] = worker.start()
        return worker

    def alive(self, worker_id: int) -> bool:
        """Whether its process runs."""
        worker = self.workers.get(worker_id)
        return worker is not None and worker.process is not None and worker.process.poll() is None

    def kill(self, worker_id: int) -> None:
        """Kill -9."""
        self.workers[worker_id].kill()
        self.counts["kill -9 of a worker"] += 1

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
            if not self.alive(worker_id):
                self.counts["ended by itself"] += 1
                self.start(worker_id)
            return self.workers[worker_id].is_ready()

        wait_until(ready, f"worker {worker_id} ready\n{self.workers[worker_id].last_words()}")

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
        try:
            marks = self.workers[worker_id].get("/v1/status", within_s=5.0)["watermark"]
        except OSError:
            return False
        return all((marks.get(partition) or 0) >= end for partition, end in ends.items())

    def raw_ends(self) -> dict[str, int]:
        """How far each partition of the source has been sent."""
        config = KafkaConfig(bootstrap=self.bootstrap)
        ends = asyncio.run(end_offsets(config, [(RAW, partition) for partition in range(4)]))
        return {str(partition): end for (_, partition), end in ends.items()}

    def _all_owned(self) -> bool:
        owned: Counter[str] = Counter()
        for worker in self.workers.values():
            with contextlib.suppress(OSError):
                parts = worker.get("/v1/status", within_s=5.0)["partitions"]
                owned.update(p for p, part in parts.items() if part["state"] == "running")
        return len(owned) == 4 and set(owned.values()) == {1}

    # -- broker ----------------------------------------------------------------------------------

    def kill_broker(self) -> None:
        """Kill -9 of the broker's process."""
        pid = self.broker.status().pid
        assert pid is not None
        process = psutil.Process(pid)
        process.kill()
        process.wait(PATIENCE_S)  # only then are its ports free
        self.counts["kill -9 of the broker"] += 1

    def generations(self) -> int:
        """Rebalances that the broker completed: its log names each new generation."""
        found = 0
        for log in self.broker.log_file.parent.glob(f"{self.broker.log_file.name}*"):
            text = log.read_text(errors="replace")
            found += len(re.findall(r"Stabilized group k2 generation", text))
        return found

    # -- the flow --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def flow(self, rate: float, seed: int, *more: str) -> Iterator[Path]:
        """A producer at this rate while the block runs; the truth of what it sent afterwards."""
        number = len(self.truths)
        truth = self.directory / f"truth-{number}.jsonl"
        arguments = ["--exchange", f"F{number:03}", "--seed", str(seed), "--rate", f"{rate:g}"]
        command = [*K2, "produce", *arguments, "--symbols", "500", *MIXED_IN, *more]
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
        if producer.returncode:
            raise StuckError(f"the producer ended with {producer.returncode}\n{output}")
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
        self.broker.stop()
