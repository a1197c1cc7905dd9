"""Recovery with much in the state: ten thousand symbols, a million ids."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.injections import kill_at_random
from faults.segment import Group, Segment
from faults.stage import FaultStage
from k2_streams.testing.waiting import wait_until

SYMBOLS = 10_000
IDS = 1_000_000
#: Each symbol ten times.
NUMBERED = 100_000


def _in_state(stage: FaultStage) -> tuple[int, int]:
    """Symbols and ids that the running tasks say they hold."""
    scopes = ids = 0
    for worker in stage.workers:
        status = stage.status(worker)
        for part in (status["partitions"] if status else {}).values():
            scopes, ids = scopes + part["scopes"], ids + part["ids"]
    return scopes, ids


@contextmanager
def _full_state(directory: Path, seed: int) -> Iterator[FaultStage]:
    stage = FaultStage(directory, seed)
    even = ("--symbols", str(SYMBOLS), "--skew", "0", "--seed", str(seed))
    with stage.running():
        stage.produce("--exchange", "IDS", *even, "--ids", "--messages", str(IDS))
        stage.produce("--exchange", "NUMBERS", *even, "--messages", str(NUMBERED))
        stage.caught_up()
        wait_until(
            lambda: min(_in_state(stage)[0] / SYMBOLS, _in_state(stage)[1] / IDS) >= 1,
            "all of it in the state",
        )
        scopes, ids = _in_state(stage)
        stage.notes.append(f"State under the kills: {scopes:,} symbols and {ids:,} ids.")
        yield stage


GROUP = Group(
    "big state",
    _full_state,
    (Segment("kill -9, much in the state", kill_at_random, 9, {"long": 30}),),
)
