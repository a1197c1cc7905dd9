"""What no worker can put right, and must refuse: a source or a changelog that is another, or short.

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

from faults.oracle import Outcome, judge
from faults.segment import Group, Segment
from faults.stage import Stage, wait_until
from faults.topics import create_anew, cut_short
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.offsets import end_offsets
from k2_streams.kafka.topics import RAW, changelog_topic

PARTITIONS = 4
#: Of each platform, before and after.
MESSAGES = 8_000
CHANGELOG = changelog_topic(TRADES_INPUT.app_id, "sequence")


class Refusals(Stage):
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
    def platform(self) -> Iterator[Stage]:
        """The next: one worker, and some thousand messages in its answers and its lake."""
        folder = self.truths[-1] / str(len(self._outcomes[self.truths[-1]]))
        stage = Stage(folder, self.random.randrange(1 << 32))
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


def _more(stage: Stage) -> None:
    """Messages that no worker may take now."""
    seed = str(stage.random.randrange(1 << 32))
    stage.produce("--exchange", "AFTER", "--messages", str(MESSAGES), "--seed", seed)


def _without_files(stage: Stage) -> None:
    shutil.rmtree(stage.directory / "worker-0" / "sequence")


def source_anew(stage: Stage) -> str:
    """The source is deleted and created anew: its offsets mean other records."""
    asyncio.run(create_anew(stage.bootstrap, RAW, PARTITIONS))
    _more(stage)
    return "created anew"


def source_cut(stage: Stage) -> str:
    """What comes next in the source was deleted before it was read."""
    _more(stage)
    asyncio.run(cut_short(stage.bootstrap, RAW, PARTITIONS))
    return "expected offset"


def changelog_anew(stage: Stage) -> str:
    """The changelog is deleted and created anew: of the stores nobody knows what they are."""
    asyncio.run(create_anew(stage.bootstrap, CHANGELOG, PARTITIONS))
    _more(stage)
    return "the state was lost"


def changelog_cut(stage: Stage) -> str:
    """The changelog lost its records, and the worker its files."""
    asyncio.run(cut_short(stage.bootstrap, CHANGELOG, PARTITIONS, compacted=True))
    _without_files(stage)
    _more(stage)
    return "the state was lost"


async def _garbage(stage: Stage) -> None:
    stranger = AIOKafkaProducer(bootstrap_servers=stage.bootstrap)
    await stranger.start()
    try:
        for partition in range(PARTITIONS):
            await stranger.send_and_wait(CHANGELOG, b"garbage", b"BEFORE:S0001", partition)
    finally:
        await stranger.stop()


def changelog_garbage(stage: Stage) -> str:
    """A record in the changelog that no checkpoint wrote."""
    asyncio.run(_garbage(stage))
    _more(stage)
    return "rebuilt from the changelog, and still"


def _refused(spoil: Callable[[Stage], str]) -> Callable[[Refusals, int], float]:
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
            found = judge(stage, stage.truths[0])
            wrote = asyncio.run(_ends(stage)) != before
            outer.found(replace(found, wrong=found.wrong + wrote))
            outer.counts[f"refused as it must: {spoil.__name__}"] += not wrote
        return seconds

    return injection


async def _ends(stage: Stage) -> dict[TopicPartition, int]:
    """Where the rows' log ends."""
    places = [TopicPartition(TRADES_INPUT.stream.log, partition) for partition in range(PARTITIONS)]
    return await end_offsets(KafkaConfig(bootstrap=stage.bootstrap), places)


@contextmanager
def _one_by_one(directory: Path, seed: int) -> Iterator[Refusals]:
    yield Refusals(directory, seed)


_TIMES = {"full": 1, "long": 3}
GROUP = Group(
    "what must be refused",
    _one_by_one,
    (
        Segment("source created anew", _refused(source_anew), 30, _TIMES),
        Segment("source cut short", _refused(source_cut), 30, _TIMES),
        Segment("changelog created anew", _refused(changelog_anew), 30, _TIMES),
        Segment("changelog cut short, files gone", _refused(changelog_cut), 30, _TIMES),
        Segment("garbage in the changelog", _refused(changelog_garbage), 30, _TIMES),
    ),
    judge=Refusals.outcome,
)
