"""Full disks: a worker's state and the warehouse on small ones, filled under load, then freed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults import isolation
from faults.injections import recovered
from faults.segment import Group, Segment
from faults.stage import FaultStage
from k2_streams.testing.waiting import wait_until

STATE_MB = 96
WAREHOUSE_MB = 192
#: How long a disk stays full once it was noticed.
FULL_S = (1.0, 8.0)
#: A full disk refuses a page: smaller pieces find no room either.
_PAGE = bytes(4096)


class SmallDisk:
    """A file system in memory, at a folder, for as long as the run's mount namespace is there."""

    def __init__(self, folder: Path, size_mb: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        isolation.run("mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "k2", str(folder))
        self._folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no room; may be called again, if room was made."""
        with self._ballast.open("ab") as file:
            there = os.statvfs(self._folder)
            room = there.f_bavail * there.f_frsize
            try:
                if room:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), room)
            except OSError:
                return  # somebody else was quicker: then it is full, too

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()

    def close(self) -> None:
        """Unmount it, even if somebody has a file open there."""
        isolation.run("umount", "--lazy", str(self._folder))


class SmallDisks(FaultStage):
    """Worker 0's state and the warehouse lie on disks of their own."""

    def __init__(self, directory: Path, seed: int) -> None:
        super().__init__(directory, seed)
        self.state = SmallDisk(self.directory / "worker-0", STATE_MB)
        self.warehouse = SmallDisk(self.directory / "warehouse", WAREHOUSE_MB)

    def close(self) -> None:
        """End what still runs."""
        super().close()
        self.state.close()
        self.warehouse.close()


@contextmanager
def _small_disks(directory: Path, seed: int) -> Iterator[SmallDisks]:
    isolation.check()
    stage = SmallDisks(directory, seed)
    with stage.running():
        yield stage


def _filled(stage: SmallDisks, disk: SmallDisk, noticed: Callable[[], object], what: str) -> float:
    """Full until it was noticed, and a while longer; seconds from when there is room again."""
    time.sleep(stage.random.uniform(0.1, 2.0))

    def full_and_noticed() -> object:
        disk.fill()
        return noticed()

    try:
        wait_until(full_and_noticed, what)
        time.sleep(stage.random.uniform(*FULL_S))
    finally:
        disk.free()
    began = time.monotonic()
    recovered(stage, began)
    stage.lake_caught_up()
    return time.monotonic() - began


def fill_state(stage: SmallDisks, _number: int) -> float:
    """No room for RocksDB: what cannot be written must not be believed."""

    def noticed() -> bool:
        return not stage.alive(0) or not stage.workers[0].is_ready()

    return _filled(stage, stage.state, noticed, "a full disk under RocksDB is noticed")


def fill_warehouse(stage: SmallDisks, _number: int) -> float:
    """No room for data files: the tail keeps what the lake cannot take."""

    def noticed() -> bool:
        return any(status["sink"]["retrying"] for status in stage.statuses())

    return _filled(stage, stage.warehouse, noticed, "a full disk under the warehouse is noticed")


GROUP = Group(
    "small disks",
    _small_disks,
    (
        Segment("disk full under RocksDB", fill_state, 12, {"long": 6}),
        Segment("disk full under the warehouse", fill_warehouse, 10, {"long": 6}),
    ),
    isolated=True,
)
