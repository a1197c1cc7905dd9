"""What the faults happen to: a stage whose processes are counted, waited for and started again."""

import asyncio
import contextlib
import random
import re
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.offsets import end_offsets
from k2_streams.kafka.topics import RAW
from k2_streams.testing.local.loopback import HOST
from k2_streams.testing.local.stage import Stage, log_file_of
from k2_streams.testing.local.workers import LocalWorker, WorkerError
from k2_streams.testing.waiting import WAIT_TIMEOUT_S, StuckError, wait_until

ROOT = Path(__file__).resolve().parents[1]
#: What every producer mixes in: each fault of a feed, and 1 % of invalid records of every kind.
MIXED_IN = [
    "--gaps", "0.001", "--duplicates", "0.001", "--disorder", "0.001", "--late", "0.001",
    "--resets", "0.0005", "--invalid", "0.01",
]  # fmt: skip


class FaultStage(Stage):
    """Workers by their id, started again after each fault.

    Args:
        directory: everything is in there, the stage's data in `data`.
        seed: of all that is left to chance.
        brokers: 1 or 3.
        host: of the brokers.
        settings: more of the environment of every process.
    """

    def __init__(
        self, directory: Path, seed: int, brokers: int = 1, host: str = HOST, **settings: str
    ) -> None:
        self.random = random.Random(seed)
        self.hits = directory / "failpoints"
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []  # what a segment measured beside its recoveries
        every = {
            "K2_REPLICATION": str(brokers),
            "K2_RATE_LIMIT_PER_S": "100000",
            "K2_LAKE_COMMIT_INTERVAL_S": "1",
            # What recovers is tried soon, and a level left soon.
            "K2_BREAKER_OPEN_S": "5",
            "K2_COOL_DOWN_S": "2",
            "K2_FAILPOINTS_RECORD": str(self.hits),
            "NO_COLOR": "1",
            **settings,
        }
        super().__init__(directory / "data", every, brokers=brokers, host=host)

    @contextlib.contextmanager
    def running(self, workers: int = 2) -> Iterator[None]:
        """Brokers and workers, ready; ended afterwards, whatever happened."""
        with self:
            self.brokers.start()
            for worker_id in range(workers):
                self.start(worker_id)
            self.all_ready()
            yield

    # -- workers ---------------------------------------------------------------------------------

    def start_at(self, worker_id: int, failpoints: str, **settings: str) -> LocalWorker:
        """Start a worker with a plan of failpoints; it is not ready yet."""
        return self.start(worker_id, K2_FAILPOINTS=failpoints, **settings)

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
        """End a worker in order; one that does not end in time is killed, and counted."""
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
        """Every worker ready, and all partitions owned by one of them."""
        for worker_id in sorted(self.workers):
            self.wait_ready(worker_id)
        wait_until(self._all_owned, "all partitions owned")

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
        """A worker's own status; None: no answer."""
        try:
            found: dict[str, Any] = self.workers[worker_id].get("/v1/status", within_s=5.0)
        except OSError:
            return None
        return found

    def statuses(self) -> list[dict[str, Any]]:
        """Of the workers that answer."""
        return [status for worker in self.workers if (status := self.status(worker)) is not None]

    def raw_ends(self) -> dict[str, int]:
        """The end offset of each partition of the source; waits for a leader of each."""
        config = KafkaConfig(bootstrap=self.bootstrap)
        source = [TopicPartition(RAW, partition) for partition in range(4)]
        ends: dict[str, int] = {}

        def asked() -> bool:
            with contextlib.suppress(KafkaError, OSError):
                found = asyncio.run(end_offsets(config, source))
                ends.update({str(partition): end for (_, partition), end in found.items()})
            return bool(ends)

        wait_until(asked, "the ends of the source")
        return ends

    def _all_owned(self) -> bool:
        owned: Counter[str] = Counter()
        for status in self.statuses():
            parts = status["partitions"]
            owned.update(p for p, part in parts.items() if part["state"] == "running")
        return len(owned) == 4 and set(owned.values()) == {1}

    # -- brokers ---------------------------------------------------------------------------------

    def kill_broker(self, node: int = 0) -> None:
        """Kill -9 of a broker's process."""
        self.brokers.kill(node)
        self.counts["kill -9 of a broker"] += 1

    def generations(self) -> int:
        """Rebalances that the brokers completed: their logs name each new generation."""
        return len(re.findall(r"Stabilized group k2 generation", self.brokers.logs()))

    # -- the flow --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def flow(self, rate: float, seed: int) -> Iterator[Path]:
        """A producer at this rate while the block runs; the truth of what it sent afterwards."""
        truth, number = self.next_truth(), len(self.truths)
        arguments = ["--exchange", f"F{number:03}", "--seed", str(seed), "--rate", f"{rate:g}"]
        before = sum(self.raw_ends().values())
        producer = self.start_produce(truth, *arguments, "--symbols", "500", *MIXED_IN)
        wait_until(
            lambda: producer.poll() is not None or sum(self.raw_ends().values()) > before,
            "the producer sends",
        )
        try:
            yield truth
        finally:
            producer.send_signal(signal.SIGTERM)
            producer.wait(WAIT_TIMEOUT_S)
            # Its messages are there, also if the block did not come to its end.
            self.truths.append(truth)
        if producer.returncode:
            output = log_file_of(truth).read_text(errors="replace")
            raise StuckError(f"the producer ended with {producer.returncode}\n{output}")

    def restart_everything(self) -> None:
        """After something got stuck: kill whatever runs, and start all of it again."""
        self.kill_all()
        self.brokers.start()
        self.start_all()
        self.all_ready()

    def points_hit(self) -> Counter[tuple[str, str]]:
        """How often each action happened at each failpoint."""
        if not self.hits.exists():
            return Counter()
        lines = [line.split() for line in self.hits.read_text().splitlines()]
        return Counter((point, action) for _, _, point, action in lines)
