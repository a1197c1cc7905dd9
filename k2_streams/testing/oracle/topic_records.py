"""The records of a topic, read once: by commands that need neither the lake nor HTTP too."""

from collections.abc import AsyncIterator

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader, Record
from k2_streams.kafka.topics import TopicAdmin


class NotReachedError(Exception):
    """The platform did not answer, or not as it should; the text says what was tried."""


async def read_topic(
    config: KafkaConfig, topic: str, only: int | None = None
) -> AsyncIterator[tuple[int, tuple[Record, ...]]]:
    """All records that were committed to a topic, or one partition of it, before the call.

    Raises:
        NotReachedError: there is no such topic or partition.
    """
    async with TopicAdmin(config) as admin:
        info = (await admin.describe([topic])).get(topic)
    if info is None:
        raise NotReachedError(f"topic {topic}: expected to read it, found none")
    if only is not None and only >= info.partitions:
        raise NotReachedError(f"topic {topic}: expected partition {only}, found {info.partitions}")
    numbers = range(info.partitions) if only is None else (only,)
    partitions = [TopicPartition(topic, partition) for partition in numbers]
    async with LogReader(config) as reader:
        ends = (await reader.settled_offsets(partitions)).stable
        begins = await reader.begin_offsets(partitions)
        reader.assign(begins)
        while any(reader.position(*tp) < end for tp, end in ends.items()):
            for chunk in await reader.poll():
                end = ends[TopicPartition(topic, chunk.partition)]
                yield (
                    chunk.partition,
                    tuple(record for record in chunk.records if record.offset < end),
                )
