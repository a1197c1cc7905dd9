"""Transactions that a coordinator ended without a marker: ended in the same way, no other."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.hanging_transactions import Settling, UnsettledError
from k2_streams.kafka.log_reader import LogReader, StableOffsets
from k2_streams.kafka.offsets import open_transactions
from k2_streams.kafka.topics import TopicSpec, ensure_topics
from k2_streams.kafka.transactions import FencedError, OutputRecord, TransactionalProducer

pytestmark = pytest.mark.integration

Place = TopicPartition
MARKED_WITHIN_S = 60.0


async def verified(config: KafkaConfig, *, on: bool) -> None:
    """Whether the broker asks the coordinator before it takes a transaction's records (KIP-890)."""
    admin = AIOKafkaAdminClient(**config.options())
    await admin.start()
    try:
        configs = {"transaction.partition.verification.enable": str(on).lower()}
        brokers = [str(one["node_id"]) for one in (await admin.describe_cluster())["brokers"]]
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.BROKER, one, configs) for one in brokers]
        )
    finally:
        await admin.close()


@pytest.fixture
async def config(broker: str) -> AsyncIterator[KafkaConfig]:
    """A broker that takes records of which the coordinator has not heard."""
    config = KafkaConfig(bootstrap=broker)
    await verified(config, on=False)
    yield config
    await verified(config, on=True)


@pytest.fixture
async def places(config: KafkaConfig, topic_prefix: str) -> list[Place]:
    names = [f"{topic_prefix}-{name}" for name in ("log", "changelog")]
    await ensure_topics(config, [TopicSpec(name, 1, {}) for name in names])
    return [TopicPartition(name, 0) for name in names]


async def left_hanging(
    config: KafkaConfig, name: str, places: list[Place], hangs_in: list[Place], *, committed: bool
) -> None:
    """A record in each place, in one transaction that ended; some of them got no marker."""
    producer = TransactionalProducer(config, name, 0)
    await producer.start()
    raw = producer._producer
    add = raw._txn_manager.maybe_add_partition_to_txn

    def forget(place: TopicPartition) -> None:
        if tuple(place) not in hangs_in:
            add(place)

    raw._txn_manager.maybe_add_partition_to_txn = forget
    await raw.begin_transaction()
    sent = [await raw.send(topic, b"ended", partition=part) for topic, part in places]
    await asyncio.gather(*sent)
    await (raw.commit_transaction() if committed else raw.abort_transaction())
    await producer.stop()
    # The coordinator answers when the outcome is decided; the markers come after that.
    async with asyncio.timeout(MARKED_WITHIN_S):
        while sorted(await open_transactions(config, places)) != sorted(hangs_in):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.05)


async def started(
    config: KafkaConfig,
    producer: TransactionalProducer,
    places: list[Place],
    settling: Settling | None = None,
) -> None:
    async with LogReader(config) as reader:
        await (settling or Settling(config)).start(producer, places, reader)


async def readable(config: KafkaConfig, places: list[Place]) -> dict[Place, list[bytes | None]]:
    found: dict[Place, list[bytes | None]] = {place: [] for place in places}
    async with LogReader(config) as reader:
        ends = (await reader.settled_offsets(places)).stable
        reader.assign(dict.fromkeys(places, 0))
        while any(reader.position(*place) < ends[place] for place in places):
            for chunk in await reader.poll():
                found[chunk.topic, chunk.partition] += [one.value for one in chunk.records]
    return found


@pytest.mark.parametrize("committed", [True, False])
async def test_what_hangs_is_ended_as_its_transaction_was(
    config: KafkaConfig, places: list[Place], *, committed: bool
) -> None:
    """The log's records hang, the changelog's do not: rows whose state is kept, or is not."""
    name = places[0][0]
    await left_hanging(config, name, places, places[:1], committed=committed)
    producer = TransactionalProducer(config, name, 0)
    await started(config, producer, places)
    assert await open_transactions(config, places) == {}
    assert await readable(config, places) == {
        one: [b"ended"] if committed else [] for one in places
    }
    await producer.stop()


async def test_what_was_learnt_outlives_a_try_that_failed(
    config: KafkaConfig, places: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first producer's start makes the coordinator forget; the second must still know."""
    name = places[0][0]
    await left_hanging(config, name, places, places[:1], committed=True)
    one = Settling(config)
    failing = TransactionalProducer(config, name, 0)
    with monkeypatch.context() as patched:

        async def away(*_: object, **__: object) -> None:
            raise ConnectionError("away")

        patched.setattr(failing, "mark", away)
        with pytest.raises(ConnectionError):
            await started(config, failing, places, one)
    await failing.stop()
    producer = TransactionalProducer(config, name, 0)
    await started(config, producer, places, one)
    assert await readable(config, places) == {one: [b"ended"] for one in places}
    await producer.stop()


async def test_what_nobody_remembers_is_refused(config: KafkaConfig, places: list[Place]) -> None:
    """Guessed wrong, rows would be lost or doubled: a person decides."""
    name = places[0][0]
    await left_hanging(config, name, places, places[:1], committed=True)
    forgetful = TransactionalProducer(config, name, 0)
    await forgetful.start()
    await forgetful.stop()
    producer = TransactionalProducer(config, name, 0)
    with pytest.raises(UnsettledError, match="hang there"):
        await started(config, producer, places)
    await producer.stop()


async def test_a_successors_transaction_does_not_hang(
    config: KafkaConfig, places: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen while it was open, and over when its coordinator is asked: no reason to refuse."""
    name = places[0][0]
    zombie, heir, heirs_heir = (TransactionalProducer(config, name, 0) for _ in range(3))

    asked = LogReader.stable_offsets

    async def look(reader: LogReader, places: list[Place]) -> StableOffsets:
        """The zombie is stopped before and after it."""
        await heir.start()
        await heir._producer.begin_transaction()
        await heir._producer.send_and_wait(name, b"open", partition=0)
        found = await asked(reader, places)
        await heir._producer.commit_transaction()
        await heirs_heir.start()
        return found

    monkeypatch.setattr(LogReader, "stable_offsets", look)
    with pytest.raises(FencedError):
        await started(config, zombie, places)
    for producer in (zombie, heir, heirs_heir):
        await producer.stop()


async def test_no_record_takes_the_place_of_a_marker_that_a_restarted_broker_left_out(
    config: KafkaConfig, places: list[Place]
) -> None:
    """Readers of rows from memory stand behind it since the commit was acknowledged."""
    name, changelog = (place.topic for place in places)
    producer = TransactionalProducer(config, name, 0)
    await started(config, producer, places)

    async def committed(value: bytes) -> list[int]:
        rows = [(changelog, [(b"position", value)])]
        found = await producer.commit([OutputRecord(name, None, value)], rows, name, {places[0]: 1})
        return found.offsets[name]

    raw = producer._producer
    add = raw._txn_manager.maybe_add_partition_to_txn
    raw._txn_manager.maybe_add_partition_to_txn = lambda place: (
        None if place == places[0] else add(place)
    )
    assert await committed(b"first") == [0]
    async with asyncio.timeout(MARKED_WITHIN_S):
        while sorted(await open_transactions(config, places)) != places[:1]:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.05)
    raw._txn_manager.maybe_add_partition_to_txn = add
    for connection in list(raw.client._conns.values()):
        connection.close()
    assert await committed(b"second") == [2]
    assert await committed(b"third") == [4]
    values: list[bytes | None] = [b"first", b"second", b"third"]
    assert await readable(config, places) == dict.fromkeys(places, values)
    await producer.stop()


async def test_a_producer_that_was_fenced_meanwhile_learns_it_whatever_else_has_happened(
    config: KafkaConfig, places: list[Place]
) -> None:
    """As a failure it would take the partition from its owner."""
    name = places[0][0]
    zombie, heir = (TransactionalProducer(config, name, 0) for _ in range(2))
    await zombie.start()
    await zombie.commit([OutputRecord(name, None, b"first")], [], name, {places[0]: 1})
    await heir.start()
    for connection in list(zombie._producer.client._conns.values()):
        connection.close()
    with pytest.raises(FencedError):
        await zombie.commit([OutputRecord(name, None, b"second")], [], name, {places[0]: 2})
    for producer in (zombie, heir):
        await producer.stop()


async def test_another_producers_hanging_records_are_refused(
    config: KafkaConfig, places: list[Place]
) -> None:
    """No marker of this one ends them."""
    stranger, name = f"{places[0][0]}-stranger", places[0][0]
    await left_hanging(config, name, places, [], committed=True)
    await left_hanging(config, stranger, places, places[:1], committed=True)
    producer = TransactionalProducer(config, name, 0)
    with pytest.raises(UnsettledError, match="another producer's"):
        await started(config, producer, places)
    await producer.stop()
