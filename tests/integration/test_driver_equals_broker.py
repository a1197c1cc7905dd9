"""The test driver and a real broker give the same bytes for the same messages.

Both brokers are given the same records at the same append times: those that Kafka set are given to
the driver. The workers are killed at failpoints on the way, on Kafka as on the driver. What is
compared, and what is left out, says `topic_contents`.
"""

import asyncio
import datetime as dt
import io
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import pyarrow as pa
import pytest
import topic_contents
from aiokafka import AIOKafkaProducer
from conftest import PARTITIONS, Cluster, eventually, reset_topics  # type: ignore[import-not-found]
from differential_app import app
from driver_scenarios import SCENARIOS
from topic_contents import Contents, first_difference, of_scopes

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.offsets import group_offsets
from k2_streams.testing.driver import StreamDriver
from k2_streams.testing.driver_topics import EncodedRecord, RawEncoder, TopicRecord
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.testing.oracle.topic_records import read_topic
from topologies.trades import app as trades_app

pytestmark = pytest.mark.integration

RAW, LOG = TRADES_INPUT.raw, TRADES_INPUT.stream.log
#: Where workers are killed, each while it processes its part of the messages: before the
#: transaction is committed.
POINTS = ("checkpoint.acknowledged",)
#: The third time: some partitions have their checkpoint, and some have not.
NTH = 3
#: Where the agents' worker is killed: the transaction is committed, and no store is written.
AGENTS_POINT = "checkpoint.committed"
#: The driver begins so long before the first record.
LEAD = dt.timedelta(seconds=10)
Topics = dict[str, list[TopicRecord]]


@dataclass(frozen=True)
class Both:
    """What was made of the messages, on Kafka and on the driver."""

    broker: Contents
    driver: Contents
    scenario_of: dict[tuple[int, int], str]  # of raw records, by partition and offset


# -- the broker ------------------------------------------------------------------------------------


def encoded() -> list[tuple[str, EncodedRecord]]:
    """The messages of all scenarios, one of each in turn, with the scenario's first scope."""
    encoder, left = RawEncoder(PARTITIONS), [list(one.messages) for one in SCENARIOS]
    found = []
    while any(left):
        for scenario, messages in zip(SCENARIOS, left, strict=True):
            if messages:
                (record,) = encoder.records(messages.pop(0), 0)
                found.append((scenario.scopes[0], record))
    return found


async def send(bootstrap: str, records: Sequence[tuple[str, EncodedRecord]]) -> list[Any]:
    """Send in order; where each record is."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        sent = [
            await producer.send(
                RAW, one.value, one.key, partition=one.partition, headers=list(one.headers)
            )
            for _, one in records
        ]
        return [await future for future in sent]
    finally:
        await producer.stop()


async def read(bootstrap: str, topics: Sequence[str]) -> Topics:
    """The committed records of topics."""
    found: Topics = {topic: [] for topic in topics}
    for topic in topics:
        async for partition, records in read_topic(KafkaConfig(bootstrap), topic):
            found[topic] += [
                TopicRecord(partition, one.offset, one.timestamp, one.key, one.value, one.headers)
                for one in records
            ]
    return found


def wait_processed(
    bootstrap: str, group: str, topic: str, last: Mapping[int, int], worker: LocalWorker
) -> None:
    """Until a group has committed behind the last record of each partition."""

    def is_processed() -> bool:
        committed = asyncio.run(group_offsets(KafkaConfig(bootstrap), group))
        return all(committed.get((topic, p), 0) > offset for p, offset in last.items())

    eventually(is_processed, what=worker.last_words)


def wait_dead(worker: LocalWorker) -> None:
    """Until it was killed at its failpoint."""
    assert worker.process is not None
    process = worker.process
    eventually(lambda: process.poll() is not None, what=worker.last_words)
    assert process.returncode == -signal.SIGKILL, worker.last_words()


def last_offsets(records: Sequence[Any]) -> dict[int, int]:
    """By partition the offset of the last one."""
    found: dict[int, int] = {}
    for one in records:
        found[one.partition] = max(one.offset, found.get(one.partition, 0))
    return found


def answer_of(worker: LocalWorker, path: str) -> pa.Table:
    body = worker.fetch(f"{path}?limit=100000&format=arrow&end=last").body
    return pa.ipc.open_stream(io.BytesIO(body)).read_all()


def run_on_broker(k2: Cluster) -> tuple[Topics, dict[str, Any], list[Any]]:
    """The topics, the answers, and where each message was put."""
    records, placed = encoded(), []
    part = -(-len(records) // (len(POINTS) + 1))
    for number, point in enumerate((*POINTS, None)):
        placed += asyncio.run(send(k2.bootstrap, records[number * part : (number + 1) * part]))
        armed = {} if point is None else {"K2_FAILPOINTS": f"{point}=crash@{NTH}"}
        worker = k2.worker(**armed).start()
        if point is not None:
            wait_dead(worker)
    armed = {"K2_FAILPOINTS": f"{AGENTS_POINT}=crash@{NTH}"}
    agents = k2.worker(app="differential_app", **armed).start()
    wait_processed(k2.bootstrap, "k2", RAW, last_offsets(placed), worker)
    wait_dead(agents)
    agents = k2.worker(app="differential_app").start()
    log = asyncio.run(read(k2.bootstrap, [LOG]))[LOG]
    wait_processed(k2.bootstrap, "k2-differential", LOG, last_offsets(log), agents)
    answers: dict[str, Any] = {
        "trades": answer_of(worker.wait_ready(), "/v1/trades"),
        "gaps": worker.get("/v1/gaps?limit=10000")["data"],
    }
    agents.wait_ready()
    for output in app.topology.outputs:
        answers[output.name] = answer_of(agents, f"/v1/{output.name}")
    topics = asyncio.run(read(k2.bootstrap, TOPICS))
    worker.stop()
    agents.stop()
    return topics, answers, placed


# -- the driver ------------------------------------------------------------------------------------


def driver_for(topology: Any, records: Sequence[TopicRecord]) -> StreamDriver:
    """A driver that begins shortly before the first record."""
    first_ms = min(one.timestamp_ms for one in records)
    start = dt.datetime.fromtimestamp(first_ms / 1000, dt.UTC) - LEAD
    return StreamDriver(topology, partitions=PARTITIONS, start=start)


def feed_log(driver: StreamDriver, topic: str, records: Sequence[TopicRecord]) -> None:
    """Append records at their times and offsets.

    What lies between are markers, and records of transactions that were aborted.
    """
    cluster = driver._run.cluster
    following = {
        (one.partition, one.offset): after.offset
        for one, after in pairwise(sorted(records))
        if one.partition == after.partition
    }
    for one in sorted(records, key=lambda one: (one.timestamp_ms, one.partition, one.offset)):
        at_s = one.timestamp_ms / 1000 - driver._run.start_ns / 1e9
        driver.advance_to(max(at_s, driver.elapsed_s))
        at = (topic, one.partition)
        for _ in range(cluster.partitions[at].end, one.offset):
            cluster.marker(at)  # before the first record
        assert cluster.partitions[at].end == one.offset
        cluster.append(at, one.key, one.value, one.headers, timestamp_ms=one.timestamp_ms)
        # The last transaction ends with a marker, too.
        for _ in range(one.offset + 1, following.get((one.partition, one.offset), one.offset + 2)):
            cluster.marker(at)


def run_on_driver(broker: Topics) -> tuple[Topics, dict[str, Any]]:
    """The same topics and answers, from what Kafka's raw topic and Kafka's log hold."""
    topics: Topics = {}
    answers: dict[str, Any] = {}
    raw = sorted(broker[RAW], key=lambda one: (one.timestamp_ms, one.partition, one.offset))
    part = -(-len(raw) // (len(POINTS) + 1))
    with driver_for(trades_app, raw) as driver:
        for number, point in enumerate((*POINTS, None)):
            feed_raw(driver, raw[number * part : (number + 1) * part])
            if point is not None:
                driver.crash(at=point)
                driver.restart()
                driver.commit_lake()
        topics |= {topic: driver.output(topic).records() for topic in RAW_TOPICS}
        answers["trades"] = driver.rows("trades")
        answers["gaps"] = [msgspec.json.encode(one) for one in driver.gaps()]
    with driver_for(app, broker[LOG]) as driver:
        feed_log(driver, LOG, broker[LOG])
        driver.crash(at=AGENTS_POINT)
        driver.restart(empty_disks=True)
        topics |= {topic: driver.output(topic).records() for topic in AGENT_TOPICS}
        for output in app.topology.outputs:
            answers[output.name] = driver.rows(output.name)
    return topics, answers


def feed_raw(driver: StreamDriver, records: Sequence[TopicRecord]) -> None:
    """Records whose partitions have no markers; the clock may be ahead of their append times."""
    cluster = driver._run.cluster
    for one in records:
        at = (RAW, one.partition)
        assert cluster.partitions[at].end == one.offset
        cluster.append(at, one.key, one.value, one.headers, timestamp_ms=one.timestamp_ms)


# -- both ------------------------------------------------------------------------------------------

RAW_TOPICS = (
    LOG,
    TRADES_INPUT.events,
    TRADES_INPUT.dead_letter,
    "k2-sequence-changelog",
    "k2-dedup-changelog",
)
(AGENT_SOURCE,) = app.topology.sources
AGENT_TOPICS = (
    *(one.log for one in app.topology.streams),
    app.topology.dead_letter(AGENT_SOURCE),
    "k2-differential-counts-changelog",
    "k2-differential-position-trades-changelog",
)
TOPICS = (RAW, *RAW_TOPICS, *AGENT_TOPICS)


def contents_of(
    topics: Topics, answers: dict[str, Any], scopes: dict[tuple[int, int], str]
) -> Contents:
    """What is compared."""
    streams = (TRADES_INPUT.stream, *app.topology.streams)
    return {
        **{f"log {one.log}": topic_contents.rows(one, topics[one.log]) for one in streams},
        **{f"answer {one.name}": topic_contents.answer(answers[one.name]) for one in streams},
        **topic_contents.sequence_events(topics[TRADES_INPUT.events]),
        "gaps": topic_contents.gaps(answers["gaps"]),
        "dead letters": topic_contents.dead_letters(topics[TRADES_INPUT.dead_letter], scopes),
        "dead letters of agents": topic_contents.dead_letters(topics[AGENT_TOPICS[-3]], {}),
        "table sequence": topic_contents.table(topics["k2-sequence-changelog"]),
        "table dedup": topic_contents.ids(topics["k2-dedup-changelog"]),
        "table counts": topic_contents.table(topics["k2-differential-counts-changelog"]),
        "timers": topic_contents.table(topics["k2-differential-position-trades-changelog"]),
    }


@pytest.fixture(scope="module")
def both(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """One run of all scenarios on each side."""
    reset_topics(broker)
    k2 = Cluster(broker, tmp_path_factory.mktemp("differential"))
    try:
        topics, answers, placed = run_on_broker(k2)
    finally:
        k2.close()
    scopes = {
        (one.partition, one.offset): scope
        for one, (scope, _) in zip(placed, encoded(), strict=True)
    }
    return Both(
        contents_of(topics, answers, scopes),
        contents_of(*run_on_driver(topics), scopes),
        scopes,
    )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_a_scenario_is_the_same_on_driver_and_broker(both: Both, scenario) -> None:
    broker, driver = (of_scopes(one, scenario.scopes) for one in (both.broker, both.driver))
    assert first_difference(broker, driver) is None
    assert len(broker["log k2.trades"]) == len(broker["answer trades"]) == scenario.rows
    assert len(broker["dead letters"]) == len(scenario.letters)


def test_all_of_it_is_the_same_in_the_order_of_each_partition(both: Both) -> None:
    """Also the sums, the positions, and what belongs to no scope."""
    assert first_difference(both.broker, both.driver) is None


def test_everything_that_is_compared_is_there(both: Both) -> None:
    """Two empty topics are equal, too."""
    assert {kind for kind, items in both.broker.items() if not items} == set()
    partitions = {partition for partition, _, _ in both.broker["log k2.trades"]}
    assert partitions == set(range(PARTITIONS))


def test_a_difference_is_found() -> None:
    """In any place of what is compared."""
    contents: Contents = {"a": [(0, "X:A", 1), (1, "X:B", 2)], "b": []}
    assert first_difference(contents, contents) is None
    for other in (
        {**contents, "a": [(0, "X:A", 1), (1, "X:B", 3)]},
        {**contents, "a": [(0, "X:A", 1)]},
        {**contents, "b": [(0, "X:C", 1)]},
    ):
        assert first_difference(contents, other) is not None
