"""A stage for a benchmark, and what is measured of its processes."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from k2_streams.core.records.stream import TRADES
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.local.workers import LocalWorker

#: A backlog that is there on purpose would be deferred: these triggers are not reached by it.
STAYS_NORMAL = {
    "K2_LAG_TRIGGERS_RECORDS": "1e10,1e11,1e12",
    "K2_LAG_TRIGGERS_S": "86000,86100,86200",
}
#: How long `k2 verify` waits for the worker.
VERIFY_OPTIONS = ("--timeout", "300")


@contextlib.contextmanager
def stage(under: Sequence[str] = ()) -> Iterator[Stage]:
    """A broker that runs and a folder, both gone at the end.

    Args:
        under: a command that each worker is run under.
    """
    settings = {"K2_RATE_LIMIT_PER_S": "100000", "NO_COLOR": "1"}
    with (
        tempfile.TemporaryDirectory(prefix="k2-bench-") as folder,
        Stage(Path(folder) / "data", settings, under=under) as built,
    ):
        built.brokers.start()
        yield built


def lake_rows(worker: LocalWorker) -> int:
    """Rows of the newest snapshot that a worker knows."""
    newest = worker.get("/v1/snapshots?limit=1")["data"]
    return int(newest[0]["rows_total"]) if newest else 0


def lake_of(at: Stage) -> Lake:
    """The lake that the workers of a stage write."""
    folder = at.directory
    config = LakeConfig(f"sqlite:///{folder / 'catalog.db'}", f"file://{folder / 'warehouse'}")
    return Lake(config, stream=TRADES)


def partitions_of(worker: LocalWorker) -> list[dict[str, Any]]:
    """Its tasks, as its status has them; none while it does not answer."""
    try:
        return list(worker.get("/v1/status")["partitions"].values())
    except OSError:
        return []


def process_of(worker: LocalWorker) -> psutil.Process:
    """The process of a worker that has been started."""
    if worker.process is None:
        raise RuntimeError("the worker has not been started")
    return psutil.Process(worker.process.pid)


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def peak_memory_mib(process: psutil.Process) -> float:
    """The largest resident set so far."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def metric_of(worker: LocalWorker, name: str) -> float:
    """What a worker's metrics say of a name, over all its labels; 0: it is not there yet."""
    lines = worker.fetch("/metrics").body.decode().splitlines()
    found = [line for line in lines if line.partition(" ")[0].partition("{")[0] == name]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
