"""Offsets of partitions and groups: ends, open transactions, what a group has committed."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from aiokafka.structs import TopicPartition as ClientPartition

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader

#: The client asks without end while a group's coordinator is away. Offsets that only lag tools read
#: are not worth a longer wait to whoever stops.
COMMIT_WITHIN_S = 1.0


class OffsetCommitter(Protocol):
    """A consumer of aiokafka's that is in a group."""

    async def commit(self, offsets: dict[ClientPartition, int]) -> None:
        """Make these the group's offsets, in one request."""
        ...


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


async def commit_offsets(member: OffsetCommitter, offsets: Mapping[TopicPartition, int]) -> None:
    """Make these the offsets of a member's group, in one request; all of assigned partitions.

    Raises:
        KafkaError: the group did not take them: it has decided anew, or the partitions are not
            this member's any more.
        TimeoutError: its coordinator is away.
    """
    async with asyncio.timeout(COMMIT_WITHIN_S):
        await member.commit({ClientPartition(*tp): offset for tp, offset in offsets.items()})
