"""A cluster of three brokers, each killed in its turn, and whoever leads the quorum."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.injections import recovered
from faults.segment import Group, Segment
from faults.stage import Stage, wait_until

#: The controller looks after a broker's session (6 s): shorter, and nobody else leads meanwhile.
AWAY_S = (0.0, 12.0)


@contextmanager
def _three_brokers(directory: Path, seed: int) -> Iterator[Stage]:
    stage = Stage(directory, seed, brokers=3)
    with stage.running():
        yield stage


def kill_in_turn(stage: Stage, number: int) -> float:
    """Kill -9 of one broker of three, every fourth time the controller; it comes back later.

    The others must do meanwhile: what is measured begins at the kill.
    """
    brokers = stage.brokers
    wait_until(brokers.in_sync, "every partition has three copies")
    turn = number % 4
    victim = brokers.controller() if turn == 3 else turn
    stage.counts["broker killed that led the quorum"] += victim == brokers.controller()
    began = time.monotonic()
    stage.kill_broker(victim)
    away_s = stage.random.uniform(*AWAY_S)
    if number % 2:
        seconds = recovered(stage, began)  # by the two that are left
        brokers.start()
        return seconds
    time.sleep(away_s)
    brokers.start()
    return recovered(stage, began)


GROUP = Group(
    "three brokers",
    _three_brokers,
    (Segment("one broker of three kill -9", kill_in_turn, 18, {"long": 12}),),
)
