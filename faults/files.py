"""What becomes of a worker's own files: lost, damaged, cut short, old, another partition's.

RocksDB notices some of it, count and checksum of the rows the rest: none of it is believed.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.injections import recovered
from faults.segment import Group, Segment
from faults.stage import FaultStage

#: In the state before anything is damaged, so that the stores of ids hold some.
IDS = 100_000
#: From a copy to the kill after which it is put back.
OLDER_S = (2.0, 4.0)
#: What a worker's log says of a store that it does not believe.
REBUILT = "store unusable, rebuilding"
#: Of a file with rows: damage there is damage of what the state says.
_WITH_ROWS = {".sst", ".log"}


def _stores(stage: FaultStage, worker: int) -> list[Path]:
    """A worker's stores: one a table and partition."""
    folders = (stage.directory / f"worker-{worker}" / table for table in ("sequence", "dedup"))
    return sorted(store for folder in folders for store in folder.iterdir())


def _in_a_file(spoil: Callable[[FaultStage, Path], None]) -> Callable[[FaultStage, Path], bool]:
    """Done to one of a store's files with rows, if there is one."""

    def happen(stage: FaultStage, store: Path) -> bool:
        files = [file for file in store.iterdir() if file.suffix in _WITH_ROWS]
        files = sorted(file for file in files if file.stat().st_size)
        if files:
            spoil(stage, stage.random.choice(files))
        return bool(files)

    return happen


def _flip(stage: FaultStage, file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[stage.random.randrange(len(content))] ^= 1 << stage.random.randrange(8)
    file.write_bytes(content)


def _overwrite(stage: FaultStage, file: Path) -> None:
    file.write_bytes(stage.random.randbytes(file.stat().st_size))


def _cut_short(stage: FaultStage, file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(stage.random.randrange(file.stat().st_size))


def _gone(_stage: FaultStage, store: Path) -> bool:
    shutil.rmtree(store)
    return True


def _without(name: str) -> Callable[[FaultStage, Path], bool]:
    def lose(_stage: FaultStage, store: Path) -> bool:
        files = list(store.glob(f"{name}*"))
        for file in files:
            file.unlink()
        return bool(files)

    return lose


def _another_partitions(_stage: FaultStage, store: Path) -> bool:
    """A table's first store and its last, whole, each in the other's place."""
    stores = sorted(store.parent.iterdir())
    first, last = stores[0], stores[-1]
    if store != first or first == last:
        return False
    aside = store.with_name("aside")
    first.rename(aside)
    last.rename(first)
    aside.rename(last)
    return True


#: In this order, again and again.
DAMAGES: dict[str, Callable[[FaultStage, Path], bool]] = {
    "gone": _gone,
    "a bit flipped": _in_a_file(_flip),
    "overwritten": _in_a_file(_overwrite),
    "cut short": _in_a_file(_cut_short),
    "without CURRENT": _without("CURRENT"),
    "without MANIFEST": _without("MANIFEST"),
    "another partition's": _another_partitions,
}


def damage(stage: FaultStage, number: int) -> float:
    """Kill -9 of every worker, and each store of one of them is damaged in the same way."""
    time.sleep(stage.random.uniform(0.1, 2.0))
    victim = stage.random.choice(sorted(stage.workers))
    kind, happen = list(DAMAGES.items())[number % len(DAMAGES)]
    stage.kill_all()
    for store in _stores(stage, victim):
        stage.counts[f"stores damaged: {kind}"] += store.exists() and happen(stage, store)
    return _all_started(stage)


def restore(stage: FaultStage, _number: int) -> float:
    """An old copy of a worker's stores is put back: behind what was committed since."""
    victim = stage.random.choice(sorted(stage.workers))
    copy = stage.directory / "copy"
    stage.kill_all()
    stores = _stores(stage, victim)
    for store in stores:
        shutil.copytree(store, copy / store.parent.name / store.name)
    _all_started(stage)
    time.sleep(stage.random.uniform(*OLDER_S))
    stage.kill_all()
    for store in stores:
        shutil.rmtree(store)
        shutil.move(copy / store.parent.name / store.name, store)
        stage.counts["stores damaged: an old copy"] += 1
    return _all_started(stage)


def _all_started(stage: FaultStage) -> float:
    began = time.monotonic()
    stage.start_all()
    return recovered(stage, began)


@contextmanager
def _with_ids(directory: Path, seed: int) -> Iterator[FaultStage]:
    stage = FaultStage(directory, seed)
    with stage.running():
        stage.produce("--exchange", "IDS", "--ids", "--messages", str(IDS), "--seed", str(seed))
        stage.caught_up()
        yield stage
        logs = [log.read_text(errors="replace") for log in stage.directory.glob("worker-*.log")]
        stage.counts["stores rebuilt from the changelog"] = sum(log.count(REBUILT) for log in logs)


GROUP = Group(
    "a worker's own files",
    _with_ids,
    (
        Segment("kill -9, stores damaged", damage, 8, {"full": 7, "long": 28}),
        Segment("kill -9, an old copy restored", restore, 16, {"full": 2, "long": 5}),
    ),
)
