"""K2, Kafka Streams and Quix Streams one after the other on one topic, and their ratios."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from bench.peers import counts, running
from bench.peers.figures import K2, Measured, table
from bench.stage import STAYS_NORMAL, lake_of, process_of, stage
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.sender import prepare_topic
from k2_streams.kafka.topics import RAW, TopicSpec
from k2_streams.testing.local.stage import Stage
from k2_streams.testing.oracle import truth_file

MESSAGES = 6_000_000
RUNS = 3
#: Each in one message of a thousand: numbers are skipped, sent twice, swapped with the next.
FAULTS = ["--gaps", "0.001", "--duplicates", "0.001", "--disorder", "0.001"]
#: K2's consumer group: its name (`K2_APP_ID`).
GROUP_OF_K2 = "k2"


class WrongCountsError(Exception):
    """A system accepted other trades than were sent: its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Input:
    """What was sent to a stage's raw topic."""

    ends: dict[int, int]  # per partition
    numbers: counts.Numbers  # that must be accepted

    @property
    def messages(self) -> int:
        """Records of the raw topic."""
        return sum(self.ends.values())

    @property
    def rows(self) -> int:
        """Trades that must be accepted."""
        return sum(len(numbers) for numbers in self.numbers.values())


def run(
    messages: int = MESSAGES, runs: int = RUNS, kafka_streams: int = 1, quix: int = 1
) -> dict[str, float]:
    """Medians over the runs, each on a broker of its own; the order changes from run to run.

    Args:
        messages: of each run.
        runs: how many.
        kafka_streams: 0 leaves it out.
        quix: the same; it takes most of the time.

    Raises:
        WrongCountsError: a system accepted other trades than were sent.
    """
    systems: dict[str, Callable[[Stage, Input], Measured]] = {K2: _k2}
    if kafka_streams:
        systems["Kafka Streams"] = _kafka_streams
    if quix:
        systems["Quix Streams"] = _quix
    measured = []
    for number in range(runs):
        with stage() as at:
            sent = _send(at, messages)
            names = list(systems)
            names = names[number % len(names) :] + names[: number % len(names)]
            found = {name: systems[name](at, sent) for name in names}
            measured.append({name: found[name] for name in systems})
        for name, one in measured[-1].items():
            print(f"  run {number + 1}: {name}: {one.rate_per_s:,.0f} msg/s, ", end="")
            print(f"{one.cpu_s_per_million:.2f} CPU s/M", flush=True)
    return table(measured)


def _send(at: Stage, messages: int) -> Input:
    truth = truth_file.read(at.produce("--messages", str(messages), "--seed", "1", *FAULTS))
    ends = {partition: sent.next for partition, sent in truth.positions.items()}
    return Input(ends, counts.numbers_sent(truth))


def _k2(at: Stage, sent: Input) -> Measured:
    """To the last row committed in Iceberg."""
    lake = lake_of(at)
    worker = at.start(0, K2_LAKE_COMMIT_INTERVAL_S="2", **STAYS_NORMAL)
    with running.GroupOffsets(at.bootstrap, GROUP_OF_K2, RAW) as offsets:
        found = running.measure(
            process_of(worker),
            lambda: sum(offsets.committed().values()),
            lambda: lake.head().rows >= sent.rows,
            sent.messages,
        )
    worker.stop()
    columns = ["exchange", "symbol", "sequence"]
    files = lake.plan(lake.head().snapshot_id or 0)
    tables = (pq.read_table(file.path, columns=columns, partitioning=None) for file in files)
    _check(K2, sent, counts.numbers_of(tables))
    lake.close()
    return found


def _kafka_streams(at: Stage, sent: Input) -> Measured:
    return _peer(at, sent, "kafka-streams", running.kafka_streams)


def _quix(at: Stage, sent: Input) -> Measured:
    return _peer(at, sent, "quix", running.quix)


def _peer(
    at: Stage,
    sent: Input,
    name: str,
    command: Callable[[str, str, str, str, Path], list[str]],
) -> Measured:
    """To the commit of the last message; the accepted trades are in a topic then."""
    output, group = f"peer.{name}.accepted", f"peer-{name}"
    asyncio.run(prepare_topic(KafkaConfig(at.bootstrap), TopicSpec(output, len(sent.ends), {})))
    started = command(at.bootstrap, RAW, output, group, at.directory / group)
    with (
        running.PeerProcess(started, at.directory / f"{group}.log") as process,
        running.GroupOffsets(at.bootstrap, group, RAW) as offsets,
    ):

        def committed() -> int:
            process.check()
            return sum(offsets.committed().values())

        found = running.measure(
            process.measured, committed, lambda: committed() >= sent.messages, sent.messages
        )
    tables = asyncio.run(counts.accepted_tables(at.bootstrap, output, len(sent.ends)))
    _check(name, sent, counts.numbers_of(tables))
    return found


def _check(name: str, sent: Input, found: counts.Numbers) -> None:
    wrong = counts.differences(sent.numbers, found)
    if wrong:
        raise WrongCountsError(f"{name}: {'; '.join(wrong)}")
