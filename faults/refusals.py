"""What no worker can repair and must refuse: a source or changelog that was recreated or truncated.

Each is done to a platform of its own, all of whose partitions must then be refused, with nothing
written, while what was there goes on being answered.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from aiokafka import AIOKafkaProducer

from faults.oracle import Outcome, compare
from faults.segment import Group, Segment
from faults.stage import FaultStage
from faults.topics import recreate, truncate
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.offsets import end_offsets
from k2_streams.kafka.topics import RAW, changelog_topic
from k2_streams.testing.waiting import wait_until

PARTITIONS = 4
#: Of each platform, before and after.
MESSAGES = 8_000
CHANGELOG = changelog_topic(TRADES_INPUT.app_id, "sequence")


class Refusals(FaultStage):
    """Platforms one after the other: nothing of its own runs."""

    def __init__(self, directory: Path, seed: int) -> None:
        super().__init__(directory, seed)
        self._outcomes: dict[Path, list[Outcome]] = {}

    @contextmanager
    def flow(self, rate: float, seed: int) -> Iterator[Path]:  # noqa: ARG002
        """No load but each platform's own; the folder that stands for their truths."""
        folder = self.directory / f"segment-{len(self.truths)}"
        self._outcomes[folder] = []
        self.truths.append(folder)
        yield folder

    def all_ready(self) -> None:
        """There is nothing to wait for."""

    @contextmanager
    def platform(self) -> Iterator[FaultStage]:
        """The next: one worker, and some thousand messages in its answers and its lake."""
        folder = self.truths[-1] / str(len(self._outcomes[self.truths[-1]]))
        stage = FaultStage(folder, self.random.randrange(1 << 32))
        with stage.running(workers=1):
            seed = str(self.random.randrange(1 << 32))
            stage.produce("--exchange", "BEFORE", "--messages", str(MESSAGES), "--seed", seed)
            stage.caught_up()
            stage.lake_caught_up()
            yield stage
        self.counts.update(stage.counts)

    def found(self, outcome: Outcome) -> None:
        """What came of the platform."""
        self._outcomes[self.truths[-1]].append(outcome)

    def outcome(self, *folders: Path, deep: bool = False) -> Outcome:  # noqa: ARG002
        """Of all platforms in these folders: each was compared in its turn."""
        each = [one for folder in folders for one in self._outcomes[folder]]
        records, lost, doubled, wrong = map(sum, zip(*(one.figures for one in each), strict=True))
        text = "\n".join(one.text for one in each if one.differs)
        return Outcome(records, lost, doubled, wrong, text)


def _more(stage: FaultStage) -> None:
    """Messages that no worker may take now."""
    seed = str(stage.random.randrange(1 << 32))
    stage.produce("--exchange", "AFTER", "--messages", str(MESSAGES), "--seed", seed)


def _without_files(stage: FaultStage) -> None:
    shutil.rmtree(stage.directory / "worker-0" / "sequence")


def source_recreated(stage: FaultStage) -> str:
    """The source is deleted and created again: its offsets mean other records."""
    asyncio.run(recreate(stage.bootstrap, RAW, PARTITIONS))
    _more(stage)
    return "created anew"


def source_truncated(stage: FaultStage) -> str:
    """What comes next in the source was deleted before it was read."""
    _more(stage)
    asyncio.run(truncate(stage.bootstrap, RAW, PARTITIONS))
    return "expected offset"


def changelog_recreated(stage: FaultStage) -> str:
    """The changelog is deleted and created again: nobody knows what the stores hold."""
    asyncio.run(recreate(stage.bootstrap, CHANGELOG, PARTITIONS))
    _more(stage)
    return "the state was lost"


def changelog_truncated(stage: FaultStage) -> str:
    """The changelog lost its records, and the worker its files."""
    asyncio.run(truncate(stage.bootstrap, CHANGELOG, PARTITIONS, compacted=True))
    _without_files(stage)
    _more(stage)
    return "the state was lost"


async def _garbage(stage: FaultStage) -> None:
    stranger = AIOKafkaProducer(bootstrap_servers=stage.bootstrap)
    await stranger.start()
    try:
        for partition in range(PARTITIONS):
            await stranger.send_and_wait(CHANGELOG, b"garbage", b"BEFORE:S0001", partition)
    finally:
        await stranger.stop()


def changelog_garbage(stage: FaultStage) -> str:
    """A record in the changelog that no checkpoint wrote."""
    asyncio.run(_garbage(stage))
    _more(stage)
    return "rebuilt from the changelog, and still"


def _refused(spoil: Callable[[FaultStage], str]) -> Callable[[Refusals, int], float]:
    """Do it to a stopped platform; seconds from the worker's start until it refuses it all."""

    def injection(outer: Refusals, _number: int) -> float:
        with outer.platform() as stage:
            stage.stop(0)
            before = asyncio.run(_ends(stage))
            why = spoil(stage)
            began = time.monotonic()
            stage.start(0)

            def refused() -> bool:
                status = stage.status(0)
                reasons = status["refused"].values() if status else ()
                return len(reasons) == PARTITIONS and all(why in reason for reason in reasons)

            wait_until(refused, f"all partitions refused: {why}")
            seconds = time.monotonic() - began
            found = compare(stage, stage.truths[0])
            wrote = asyncio.run(_ends(stage)) != before
            outer.found(replace(found, wrong=found.wrong + wrote))
            outer.counts[f"refused as it must: {spoil.__name__}"] += not wrote
        return seconds

    return injection


async def _ends(stage: FaultStage) -> dict[TopicPartition, int]:
    """The end offsets of the log of rows."""
    log = TRADES_INPUT.stream.log
    partitions = [TopicPartition(log, partition) for partition in range(PARTITIONS)]
    return await end_offsets(KafkaConfig(bootstrap=stage.bootstrap), partitions)


@contextmanager
def _one_by_one(directory: Path, seed: int) -> Iterator[Refusals]:
    yield Refusals(directory, seed)


_TIMES = {"full": 1, "long": 3}
GROUP = Group(
    "what must be refused",
    _one_by_one,
    (
        Segment("source recreated", _refused(source_recreated), 30, _TIMES),
        Segment("source truncated", _refused(source_truncated), 30, _TIMES),
        Segment("changelog recreated", _refused(changelog_recreated), 30, _TIMES),
        Segment("changelog truncated, files gone", _refused(changelog_truncated), 30, _TIMES),
        Segment("garbage in the changelog", _refused(changelog_garbage), 30, _TIMES),
    ),
    compare=Refusals.outcome,
)
