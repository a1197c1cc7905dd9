"""A cluster of three brokers, each killed in its turn, and whoever leads the quorum."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from faults.injections import recovered
from faults.segment import Group, Segment
from faults.stage import FaultStage
from k2_streams.testing.waiting import wait_until

#: The controller looks after a broker's session (6 s): shorter, and nobody else leads meanwhile.
AWAY_S = (0.0, 12.0)


@contextmanager
def _three_brokers(directory: Path, seed: int) -> Iterator[FaultStage]:
    stage = FaultStage(directory, seed, brokers=3)
    with stage.running():
        yield stage


def kill_in_turn(stage: FaultStage, number: int) -> float:
    """Kill -9 of one broker of three, every fourth time the controller; it comes back later.

    The others take over meanwhile: what is measured begins at the kill.
    """
    brokers = stage.brokers
    wait_until(lambda: in_sync(stage), "every partition has three copies")
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


def in_sync(stage: FaultStage) -> bool:
    """Whether every partition has all of its copies; no, while the brokers do not answer."""
    try:
        return asyncio.run(_in_sync(stage.bootstrap, len(stage.brokers.nodes)))
    except (KafkaError, OSError):
        return False


async def _in_sync(bootstrap: str, copies: int) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        topics = await admin.describe_topics()
    finally:
        await admin.close()
    return all(len(part["isr"]) == copies for topic in topics for part in topic["partitions"])


GROUP = Group(
    "three brokers",
    _three_brokers,
    (Segment("one broker of three kill -9", kill_in_turn, 18, {"long": 12}),),
)
