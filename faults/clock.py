"""Clocks an hour off, and jumping while the workers run."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

from faults.injections import recovered
from faults.isolation import UnavailableError
from faults.segment import Group, Segment
from faults.stage import FaultStage
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.waiting import wait_until

HOUR_S = 3_600
#: How far off a clock may still be seen after a jump: an answer's date is in whole seconds.
SEEN_S = 5.0


def _library() -> Path:
    """The library that gives a process another time of day."""
    names = "*/faketime/libfaketimeMT.so.1"
    found = [path for lib in ("/usr/lib", "/usr/local/lib") for path in Path(lib).glob(names)]
    if not found:
        raise UnavailableError("it takes libfaketime: `apt-get install libfaketime`")
    return found[0]


class ClockStage(FaultStage):
    """Each worker's time of day is the machine's and an offset of its own."""

    def __init__(self, directory: Path, seed: int, library: Path) -> None:
        super().__init__(directory, seed)
        self._library = library

    def _offsets(self, worker_id: int) -> Path:
        return self.directory / f"clock-{worker_id}"

    def set_clock(self, worker_id: int, offset_s: int) -> None:
        """Put a worker's clock forward or back; renamed, since it is read at any time."""
        file = self._offsets(worker_id)
        new = file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}\n")
        new.replace(file)

    def _worker(self, worker_id: int, settings: Mapping[str, str], port: int) -> LocalWorker:
        self.set_clock(worker_id, self.random.choice((-HOUR_S, 0, HOUR_S)))
        faked = {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offsets(worker_id)),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # no machine's monotonic clock jumps
            "NO_FAKE_STAT": "1",
        }
        return super()._worker(worker_id, {**settings, **faked}, port)

    def clock_offset_s(self, worker_id: int) -> float:
        """How far a worker's time of day is off, as its answers are dated."""
        answer = self.workers[worker_id].fetch("/health/live", within_s=10.0)
        dated = parsedate_to_datetime(answer.headers["Date"])
        return dated.timestamp() - time.time()


@contextmanager
def _clocks(directory: Path, seed: int) -> Iterator[ClockStage]:
    stage = ClockStage(directory, seed, _library())
    with stage.running():
        yield stage


def jump(stage: ClockStage, _number: int) -> float:
    """A worker's clock jumps, up to an hour forward or back, and stays there."""
    time.sleep(stage.random.uniform(0.1, 2.0))
    victim = stage.random.choice(sorted(stage.workers))
    offset_s = stage.random.randint(-HOUR_S, HOUR_S)
    began = time.monotonic()
    stage.set_clock(victim, offset_s)
    wait_until(
        lambda: abs(stage.clock_offset_s(victim) - offset_s) < SEEN_S,
        f"worker {victim}'s clock is {offset_s} s off",
    )
    return recovered(stage, began)


def restart(stage: ClockStage, _number: int) -> float:
    """Kill -9 of a worker, which comes back with its clock an hour off, or right."""
    victim = stage.random.choice(sorted(stage.workers))
    began = time.monotonic()
    stage.kill(victim)
    stage.start(victim)
    return recovered(stage, began)


GROUP = Group(
    "clocks of their own",
    _clocks,
    (
        Segment("clock jumps up to an hour", jump, 6, {"long": 10}),
        Segment("kill -9, back with another time", restart, 8, {"long": 5}),
    ),
)
