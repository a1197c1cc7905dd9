"""The rows of a log, as they stand in its topic."""

from typing import Any

from k2_streams.core.records import log_record
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader


async def rows_of_log(
    bootstrap: str, topic: str, partitions: int
) -> dict[int, list[dict[str, Any]]]:
    """The committed rows of a log, by partition, in their order."""
    found: dict[int, list[dict[str, Any]]] = {}
    async with LogReader(KafkaConfig(bootstrap=bootstrap)) as reader:
        ats = [TopicPartition(topic, partition) for partition in range(partitions)]
        begins = await reader.begin_offsets(ats)
        ends = (await reader.settled_offsets(ats)).stable
        for at in ats:
            reader.assign({at: begins[at]})
            rows = found[at.partition] = []
            while reader.position(*at) < ends[at]:
                for chunk in await reader.poll():
                    for record in chunk.records:
                        batch = log_record.decode(record.value, at.partition, record.offset)
                        rows += batch.rows.to_pylist()
    return found
