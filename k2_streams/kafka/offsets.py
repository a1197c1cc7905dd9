"""Where logs and groups stand: ends, open transactions, committed positions."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from k2_streams.kafka.client import KafkaConfig

Place = tuple[str, int]  # topic, partition


async def open_transactions(config: KafkaConfig, places: Iterable[Place]) -> dict[Place, int]:
    """Of partitions that a committed reader cannot read to their end: how many offsets it lacks."""
    places = list(places)
    stable = await _ends(config, places, "read_committed")
    ends = await end_offsets(config, places)
    return {place: end - stable[place] for place, end in ends.items() if end > stable[place]}


async def end_offsets(config: KafkaConfig, places: Iterable[Place]) -> dict[Place, int]:
    """The next offset of each partition, whether what is before it was committed or not."""
    return await _ends(config, places, "read_uncommitted")


async def _ends(
    config: KafkaConfig, places: Iterable[Place], isolation_level: str
) -> dict[Place, int]:
    consumer = config.consumer(isolation_level=isolation_level, enable_auto_commit=False)
    try:
        await consumer.start()  # where it fails, what it opened is closed, too
        ends = await consumer.end_offsets([TopicPartition(*place) for place in places])
    finally:
        await consumer.stop()
    return {(tp[0], tp[1]): end for tp, end in ends.items()}


async def group_offsets(config: KafkaConfig, group_id: str) -> dict[Place, int]:
    """What a group has committed: what lag tools show."""
    admin = AIOKafkaAdminClient(**config.options())
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group_id)
    finally:
        await admin.close()
    return {(tp.topic, tp.partition): one.offset for tp, one in found.items()}
