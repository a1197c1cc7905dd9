"""An hour under mixed faults, and what one worker takes meanwhile: memory, files, threads, disk.

That worker is never killed: what happens to the others, to the brokers and to the catalog happens
to it. Its memory's slope is by least squares over what was seen after the warm-up, and once more
without what has a bound and says how much it is: the footers of the lake's files, which DuckDB
keeps, and RocksDB's cache and buffers. A burst goes within a minute or so; the least of each few
minutes says what stays. The last half hour has a slope of its own: what fills up bends, what leaks
does not. What the comparison at the end asks for is no part of it. Each sample is a line of
`watched.csv` as soon as it was taken.
"""

import csv
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from faults import injections, waits
from faults.segment import Group, Segment
from faults.stage import FaultStage

#: The one that is watched, and whom the faults spare.
WATCHED = 0
SAMPLE_EVERY_S = 5.0
#: The default of a worker: what is in memory until then counts here.
COMMIT_EVERY_S = "10"
#: The allocator's arenas fill meanwhile, and what has a bound comes to it: of the table's snapshots
#: there are 200 after 17 minutes, RocksDB's buffers are first put into files after 20.
WARM_UP_S = 1_200.0
#: Of a run that is shorter than two warm-ups, so much is one.
WARM_UP_SHARE = 0.5
#: Of each of these the least is what stays when bursts are over.
FLOOR_S = 300.0
#: At the end: everything that has a bound has had the time to come to it.
LAST_S = 1_800.0
MIB = 1024 * 1024


class Bounded(NamedTuple):
    """What a worker reports of memory that has a bound of its own, in bytes."""

    footers: int
    stores: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What the watched worker took at a moment."""

    at_s: float
    memory_mib: float
    footers_mib: float
    stores_mib: float
    files: int
    threads: int
    disk_mib: float


class Watch(threading.Thread):
    """Samples one process until told to stop.

    Args:
        pid: of the process.
        folder: its data.
        bounded: asks the worker; None: it did not answer.
        table: where the samples go.
    """

    def __init__(
        self, pid: int, folder: Path, bounded: Callable[[], Bounded | None], table: Path
    ) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self._process = psutil.Process(pid)
        self._folder = folder
        self._bounded = bounded
        self._table = table
        self._over = threading.Event()

    def run(self) -> None:
        """One sample every few seconds, while the process is there."""
        began = time.monotonic()
        with self._table.open("w", newline="", buffering=1) as file:
            table = csv.writer(file)
            table.writerow(field.name for field in fields(Sample))
            while self._process.is_running() and not self._over.wait(SAMPLE_EVERY_S):
                sample = self._sample(time.monotonic() - began)
                if sample is not None:
                    self.samples.append(sample)
                    table.writerow(astuple(sample))

    def _sample(self, at_s: float) -> Sample | None:
        """None: the worker did not answer."""
        bounded = self._bounded()
        if bounded is None:
            return None
        with self._process.oneshot():
            return Sample(
                at_s,
                self._process.memory_info().rss / MIB,
                bounded.footers / MIB,
                bounded.stores / MIB,
                self._process.num_fds(),
                self._process.num_threads(),
                _size_mib(self._folder),
            )

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


def floors(at_s: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """When and what the least of each few minutes was; the last ones, not whole, do not count."""
    parts: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for at, value in zip(at_s, values, strict=True):
        parts[int((at - at_s[0]) // FLOOR_S)].append((value, at))
    least = [min(part) for _, part in sorted(parts.items())[:-1]]
    return [at for _, at in least], [value for value, _ in least]


def _row(name: str, at_s: list[float], values: list[float]) -> str:
    last = [number for number, at in enumerate(at_s) if at >= at_s[-1] - LAST_S]
    slope = slope_per_hour(at_s, values)
    slope_last = slope_per_hour([at_s[n] for n in last], [values[n] for n in last])
    return (
        f"| {name} | {values[0]:.0f} | {values[-1]:.0f} | {max(values):.0f} "
        f"| {slope:+.1f} | {slope_last:+.1f} |"
    )


def findings(samples: list[Sample]) -> list[str]:
    """The samples after the warm-up, as a table."""
    if not samples:
        return [f"Worker {WATCHED} never answered: nothing is known of its memory."]
    ran_s = samples[-1].at_s
    warm_s = min(WARM_UP_S, ran_s * WARM_UP_SHARE)
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    lines = [
        (
            f"Worker {WATCHED}, never restarted in {ran_s / 60:.0f} minutes; "
            f"{len(warm)} samples after {warm_s / 60:.0f} minutes of warm-up:"
        ),
        "",
        (
            "| | after the warm-up | at the end | most | slope an hour "
            f"| of the last {LAST_S / 60:.0f} minutes |"
        ),
        "|---|---:|---:|---:|---:|---:|",
    ]
    columns = {
        "memory MiB": [sample.memory_mib for sample in warm],
        "of it footers of the lake's files": [sample.footers_mib for sample in warm],
        "of it RocksDB's cache and buffers": [sample.stores_mib for sample in warm],
        "memory without both": [
            sample.memory_mib - sample.footers_mib - sample.stores_mib for sample in warm
        ],
        "open files": [float(sample.files) for sample in warm],
        "threads": [float(sample.threads) for sample in warm],
        "its own disk MiB": [sample.disk_mib for sample in warm],
    }
    at_s = [sample.at_s for sample in warm]
    rows = [(name, at_s, values) for name, values in columns.items()]
    least = floors(at_s, columns["memory without both"])
    if len(least[0]) > 1:
        rows.insert(4, (f"of that the least of each {FLOOR_S / 60:.0f} minutes", *least))
    return lines + [_row(*row) for row in rows]


class HourStage(FaultStage):
    """Watches a worker from when it was ready."""

    watch: Watch
    #: Of the samples, those that were taken under faults.
    counted = 0

    def begin(self) -> None:
        """From now on."""
        process = self.workers[WATCHED].process
        assert process is not None
        self.watch = Watch(
            process.pid,
            self.directory / f"worker-{WATCHED}",
            self._bounded,
            self.directory / "watched.csv",
        )
        self.watch.start()

    def _bounded(self) -> Bounded | None:
        status = self.status(WATCHED)
        if status is None:
            return None
        return Bounded(int(status["query"]["footers_bytes"]), sum(status["stores"].values()))


@contextmanager
def _watched(directory: Path, seed: int) -> Iterator[HourStage]:
    stage = HourStage(directory, seed, K2_LAKE_COMMIT_INTERVAL_S=COMMIT_EVERY_S)
    with stage.running():
        stage.begin()
        yield stage
        lived = stage.watch.is_alive()  # it ends with the process
        stage.watch.stop()
        stage.notes += findings(stage.watch.samples[: stage.counted])
        assert lived, f"worker {WATCHED} ended by itself"


def _kill_another(stage: FaultStage, _number: int) -> float:
    victim = stage.random.choice([one for one in stage.workers if one != WATCHED])
    began = time.monotonic()
    stage.kill(victim)
    stage.start(victim)
    return injections.recovered(stage, began)


def _kill_the_broker(stage: FaultStage, _number: int) -> float:
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
    stage.counted = len(stage.watch.samples)
    return seconds


GROUP = Group(
    "an hour",
    _watched,
    (Segment("an hour of mixed faults", a_minute, 60, {"hour": 60}),),
)
