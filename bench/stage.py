"""A stage for a benchmark: a broker, a folder and workers of its own."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from k2_streams.core.records.stream import TRADES
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.installed import java_program, kafka_jars
from k2_streams.testing.local.workers import LocalWorker

ROOT = Path(__file__).resolve().parents[1]
K2 = [sys.executable, "-m", "k2_streams.cli.main"]


#: A backlog that is there on purpose would be put off: these triggers are not reached by it.
STAYS_NORMAL = {
    "K2_LAG_TRIGGERS_RECORDS": "1e10,1e11,1e12",
    "K2_LAG_TRIGGERS_S": "86000,86100,86200",
}


class Stage:
    """What a benchmark works with."""

    def __init__(self, directory: Path, bootstrap: str) -> None:
        self.directory = directory
        self.bootstrap = bootstrap
        self._workers: list[LocalWorker] = []

    @property
    def environment(self) -> dict[str, str]:
        """Of every process on the stage."""
        return {
            **os.environ,
            "K2_BOOTSTRAP": self.bootstrap,
            "K2_DATA_DIR": str(self.directory),
            "K2_RATE_LIMIT_PER_S": "100000",
            "NO_COLOR": "1",
        }

    def worker(self, worker_id: int = 0, **settings: str) -> LocalWorker:
        """A worker, not started."""
        return self.worker_under((), settings, worker_id)

    def worker_under(
        self, command: tuple[str, ...], settings: Mapping[str, str], worker_id: int = 0
    ) -> LocalWorker:
        """A worker, not started; a command becomes it."""
        settings = {"K2_RATE_LIMIT_PER_S": "100000", **settings}
        worker = LocalWorker(self.directory, self.bootstrap, worker_id, settings, under=command)
        self._workers.append(worker)
        return worker

    def lake_rows(self, worker: LocalWorker) -> int:
        """Rows of the newest snapshot that a worker knows."""
        newest = worker.get("/v1/snapshots?limit=1")["data"]
        return int(newest[0]["rows_total"]) if newest else 0

    def lake(self) -> Lake:
        """The lake that the workers write."""
        folder = self.directory
        return Lake(
            LakeConfig(f"sqlite:///{folder / 'catalog.db'}", f"file://{folder / 'warehouse'}"),
            stream=TRADES,
        )

    def produce(self, *arguments: str) -> Path:
        """Send, and give the truth file."""
        truth = self.directory / f"truth-{time.monotonic_ns()}.jsonl.gz"
        command = [*K2, "produce", *arguments, "--truth", str(truth)]
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL)
        return truth

    def spawn_produce(
        self, truth: Path, *arguments: str, **settings: str
    ) -> subprocess.Popen[bytes]:
        """Send, beside what comes next."""
        command = [*K2, "produce", *arguments, "--truth", str(truth)]
        environment = {**self.environment, **settings}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def verify(self, worker: LocalWorker, *truths: Path) -> int:
        """The verifier's exit code; it prints its table."""
        named = [argument for truth in truths for argument in ("--truth", str(truth))]
        command = [*K2, "verify", *named, "--url", worker.url, "--timeout", "300"]
        return subprocess.run(command, env=self.environment, check=False).returncode

    def close(self) -> None:
        """End the workers that still run."""
        for worker in self._workers:
            worker.kill()


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A stage that is taken down at the end, whatever happens."""
    jars = kafka_jars()
    with tempfile.TemporaryDirectory(prefix="k2-bench-") as folder:
        broker = LocalBroker(Path(folder) / "kafka", jars, java=java_program())
        try:
            built = Stage(Path(folder) / "data", broker.start())
            built.directory.mkdir()
            try:
                yield built
            finally:
                built.close()
        finally:
            broker.stop()


def wait_until(condition: Callable[[], object], within_s: float, every_s: float = 0.05) -> float:
    """Wait; the moment (monotonic) at which it was so."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s")
        time.sleep(every_s)
    return time.monotonic()


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def peak_memory_mib(process: psutil.Process) -> float:
    """The largest resident set so far."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
