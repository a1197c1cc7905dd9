"""What is checked of the topics at start is looked at while the worker runs."""

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from conftest import PARTITIONS, Cluster, eventually  # type: ignore[import-not-found]
from test_unreadable import is_named, readiness, unreadable  # type: ignore[import-not-found]

from k2_streams.core.records.source import TRADES_INPUT

pytestmark = pytest.mark.integration

#: It looks every 3 s, and waits 5 s for an answer.
NOTICED_WITHIN_S = 30.0
#: In the year 2100, and what a client of another language takes for the largest integer.
ANY_TIME = {"message.timestamp.after.max.ms": str(2**63 - 1)}
TIMES_MS = (4_102_444_800_000, 9_007_199_254_740_991_000)


def alter(bootstrap: str, topic: str, configs: Mapping[str, str]) -> None:
    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict(configs))
            await admin.alter_configs([resource])
        finally:
            await admin.close()

    asyncio.run(run())


def send(bootstrap: str, partition: int, timestamp_ms: int | None = None) -> None:
    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        try:
            await producer.send_and_wait(
                TRADES_INPUT.raw, b"not a trade", partition=partition, timestamp_ms=timestamp_ms
            )
        finally:
            await producer.stop()

    asyncio.run(run())


def double_partitions(bootstrap: str) -> None:
    async def add() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.create_partitions({TRADES_INPUT.raw: NewPartitions(2 * PARTITIONS)})
        finally:
            await admin.close()

    asyncio.run(add())


def test_partitions_that_are_added_are_named_and_their_records_are_lag(k2: Cluster) -> None:
    # Another static member than the next tests': it would get the added partitions back, although
    # the topic that they create has none, and ask for another assignment first.
    with k2.worker(1) as worker:
        truth = k2.produce("--messages", "500", "--seed", "2")

        double_partitions(k2.bootstrap)
        found = (
            f"topic {TRADES_INPUT.raw}: expected {PARTITIONS} partitions (K2_PARTITIONS), found 8"
        )
        eventually(lambda: found in readiness(worker), NOTICED_WITHIN_S, "partitions named")
        assert "records in partitions 4 to 7 are not read" in readiness(worker)
        for partition in range(PARTITIONS, 2 * PARTITIONS):
            send(k2.bootstrap, partition)
        eventually(lambda: worker.get("/v1/status")["lag_records"] == PARTITIONS)
        k2.verify(worker, truth, also=None)  # what was worked before is, and is answered


@pytest.mark.parametrize(
    "timestamp_ms", [TIMES_MS[0], pytest.param(TIMES_MS[1], marks=pytest.mark.long)]
)
def test_a_record_dated_by_its_producer_is_refused_until_the_topic_dates_them_again(
    k2: Cluster, timestamp_ms: int
) -> None:
    with k2.worker() as worker:
        truth = k2.produce("--messages", "500", "--seed", "2", "--gaps", "1%")
        k2.verify(worker, truth, also=None)
        at = worker.get("/v1/status")["partitions"]["1"]["next_offset"]
        theirs = {"message.timestamp.type": "CreateTime", **ANY_TIME}
        alter(k2.bootstrap, TRADES_INPUT.raw, theirs)
        send(k2.bootstrap, 1, timestamp_ms)
        eventually(
            lambda: is_named(worker, TRADES_INPUT.raw, 1, at),
            NOTICED_WITHIN_S,
            f"{at}: {worker.get('/v1/status')}",
        )
        eventually(
            lambda: (
                [p["setting"] for p in worker.get("/v1/status")["topic_problems"]]
                == ["message.timestamp.type"]
            ),
            NOTICED_WITHIN_S,
        )
        assert "set message.timestamp.type=LogAppendTime on the topic" in readiness(worker)
        eventually(lambda: unreadable(worker)[0]["attempts"] > 2, what="tried again, and refused")
        assert worker.get("/v1/status")["partitions"]["1"]["next_offset"] == at
        alter(k2.bootstrap, TRADES_INPUT.raw, {"message.timestamp.type": "LogAppendTime"})
        eventually(
            lambda: not readiness(worker) and not unreadable(worker),
            120.0,
            lambda: f"{readiness(worker)} {unreadable(worker)}",
        )
        eventually(lambda: worker.get("/v1/status")["partitions"]["1"]["next_offset"] == at + 1)
        later = k2.produce("--messages", "500", "--seed", "3", "--exchange", "LATER")
        k2.verify(worker, truth, later, also=None)


def test_a_setting_that_is_altered_is_named_until_it_is_undone(k2: Cluster) -> None:
    altered = [
        (TRADES_INPUT.events, "retention.ms", "86400000", "-1"),
        (TRADES_INPUT.stream.log, "max.message.bytes", "1000000", "8388608"),
        ("k2-sequence-changelog", "cleanup.policy", "delete", "compact"),
    ]
    with k2.worker() as worker:
        for topic, setting, bad, good in altered:
            alter(k2.bootstrap, topic, {setting: bad})
            named = f"topic {topic}: expected {setting}"
            eventually(lambda named=named: named in readiness(worker), NOTICED_WITHIN_S, named)
            (problem,) = worker.get("/v1/status")["topic_problems"]
            assert (problem["topic"], problem["setting"]) == (topic, setting)
            alter(k2.bootstrap, topic, {setting: good})
            eventually(lambda: not readiness(worker), NOTICED_WITHIN_S, f"{setting} undone")
