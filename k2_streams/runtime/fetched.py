"""What one fetch gave of one partition: the unit in which records reach tasks and sinks."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from k2_streams.core.types import TopicPartition

Record = Any  # aiokafka.ConsumerRecord


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records of one fetch: positions `[start, end)`, which a transaction's markers take too."""

    tp: TopicPartition
    start: int
    end: int
    records: list[Record]
    highwater: int


def partitions_of(tps: Iterable[TopicPartition], topic: str) -> set[int]:
    """The partitions of one topic."""
    return {tp.partition for tp in tps if tp.topic == topic}
