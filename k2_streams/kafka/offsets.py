"""Offsets of partitions and groups: ends, open transactions, committed positions."""

from collections.abc import Iterable

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader


async def open_transactions(
    config: KafkaConfig, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Of partitions that a committed reader cannot read to their end: how many offsets it lacks."""
    async with LogReader(config) as reader:
        return (await reader.stable_offsets(list(partitions))).open


async def end_offsets(
    config: KafkaConfig, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """The next offset of each partition, whether what is before it was committed or not."""
    async with LogReader(config) as reader:
        return await reader.high_watermarks(list(partitions))


async def group_offsets(config: KafkaConfig, group_id: str) -> dict[TopicPartition, int]:
    """What a group has committed: what lag tools show."""
    admin = config.admin()
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group_id)
    finally:
        await admin.close()
    return {TopicPartition(tp.topic, tp.partition): one.offset for tp, one in found.items()}
