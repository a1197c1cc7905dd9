"""An hour under mixed faults, and what one worker takes meanwhile: memory, files, threads, disk.

That worker is never killed: what happens to the others, to the brokers and to the catalog happens
to it. Its memory's slope is by least squares over what was seen after the warm-up.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from faults import injections, waits
from faults.segment import Group, Segment
from faults.stage import Stage

#: The one that is watched, and whom the faults spare.
WATCHED = 0
SAMPLE_EVERY_S = 5.0
#: As where nothing else is said: what is in memory until then counts here.
COMMIT_EVERY_S = "10"
#: Caches, RocksDB's buffers and the allocator's arenas fill meanwhile.
WARM_UP_S = 600.0
#: Of a run that is shorter than two warm-ups, so much is one.
WARM_UP_SHARE = 0.5
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """What the watched worker took at a moment."""

    at_s: float
    memory_mib: float
    files: int
    threads: int
    disk_mib: float


class Watch(threading.Thread):
    """Samples one process until told to stop."""

    def __init__(self, pid: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self._process = psutil.Process(pid)
        self._folder = folder
        self._over = threading.Event()

    def run(self) -> None:
        """One sample every few seconds, while the process is there."""
        began = time.monotonic()
        while self._process.is_running() and not self._over.wait(SAMPLE_EVERY_S):
            with self._process.oneshot():
                sample = Sample(
                    time.monotonic() - began,
                    self._process.memory_info().rss / MIB,
                    self._process.num_fds(),
                    self._process.num_threads(),
                    _size_mib(self._folder),
                )
            self.samples.append(sample)

    def stop(self) -> None:
        """Take no more."""
        self._over.set()
        self.join()


def _size_mib(folder: Path) -> float:
    sizes = 0
    for file in folder.rglob("*"):
        try:
            sizes += file.stat().st_size
        except FileNotFoundError:
            continue  # RocksDB removed it meanwhile
    return sizes / MIB


def slope_per_hour(at_s: list[float], values: list[float]) -> float:
    """By least squares, to a tenth."""
    slope = float(np.polyfit(np.array(at_s) / 3_600, np.array(values), 1)[0])
    return round(slope, 1) + 0.0  # not "-0.0"


def findings(samples: list[Sample]) -> list[str]:
    """What the samples say after the warm-up, as a table."""
    ran_s = samples[-1].at_s
    warm_s = min(WARM_UP_S, ran_s * WARM_UP_SHARE)
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    lines = [
        (
            f"Worker {WATCHED}, never restarted in {ran_s / 60:.0f} minutes; "
            f"{len(warm)} samples after {warm_s / 60:.0f} minutes of warm-up:"
        ),
        "",
        "| | after the warm-up | at the end | most | slope an hour |",
        "|---|---:|---:|---:|---:|",
    ]
    columns = {
        "memory MiB": [sample.memory_mib for sample in warm],
        "open files": [float(sample.files) for sample in warm],
        "threads": [float(sample.threads) for sample in warm],
        "its own disk MiB": [sample.disk_mib for sample in warm],
    }
    at_s = [sample.at_s for sample in warm]
    lines += [
        f"| {name} | {values[0]:.0f} | {values[-1]:.0f} | {max(values):.0f} "
        f"| {slope_per_hour(at_s, values):+.1f} |"
        for name, values in columns.items()
    ]
    return lines


class HourStage(Stage):
    """Watches a worker from when it was ready."""

    watch: Watch

    def begin(self) -> None:
        """From now on."""
        process = self.workers[WATCHED].process
        assert process is not None
        self.watch = Watch(process.pid, self.directory / f"worker-{WATCHED}")
        self.watch.start()


@contextmanager
def _watched(directory: Path, seed: int) -> Iterator[HourStage]:
    stage = HourStage(directory, seed, K2_COMMIT_EVERY_S=COMMIT_EVERY_S)
    with stage.running():
        stage.begin()
        yield stage
        lived = stage.watch.is_alive()  # it ends with the process
        stage.watch.stop()
        stage.notes += findings(stage.watch.samples)
        assert lived, f"worker {WATCHED} ended by itself"


def _kill_another(stage: Stage, _number: int) -> float:
    victim = stage.random.choice([one for one in stage.workers if one != WATCHED])
    began = time.monotonic()
    stage.kill(victim)
    stage.start(victim)
    return injections.recovered(stage, began)


def _kill_the_broker(stage: Stage, _number: int) -> float:
    began = time.monotonic()
    stage.kill_broker()
    stage.brokers.start()
    return injections.recovered(stage, began)


_FAULTS = (_kill_another, _kill_another, injections.storm, _kill_the_broker, waits.locked_catalog)


def a_minute(stage: HourStage, number: int) -> float:
    """A minute of load with one fault in it."""
    began = time.monotonic()
    time.sleep(stage.random.uniform(5.0, 30.0))
    seconds = stage.random.choice(_FAULTS)(stage, number)
    time.sleep(max(0.0, 60.0 - (time.monotonic() - began)))
    return seconds


GROUP = Group(
    "an hour",
    _watched,
    (Segment("an hour of mixed faults", a_minute, 60, {"hour": 60}),),
)
