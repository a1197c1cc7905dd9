"""What one fetch gave of one partition: the unit in which records reach tasks and sinks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.record_columns import RecordColumns

#: aiokafka.ConsumerRecord, or what `RecordColumns` makes where one is looked at.
Record = Any
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records of one fetch: positions `[start, end)`, which a transaction's markers take too.

    There is no record where markers and aborted records alone take them. The records are
    `RecordColumns` where the native extension decoded them.
    """

    tp: TopicPartition
    start: int
    end: int
    records: Sequence[Record]
    highwater: int

    @property
    def size_bytes(self) -> int:
        """What the records' keys and values take in memory; computed anew each time."""
        if isinstance(self.records, RecordColumns):
            return self.records.size_bytes
        return sum(len(one.key or b"") + len(one.value or b"") for one in self.records)


def joined(parts: Sequence[Sequence[Record]]) -> Sequence[Record]:
    """Records one after the other; columns if all parts are."""
    if len(parts) == 1:
        return parts[0]
    columns = [part for part in parts if isinstance(part, RecordColumns)]
    if parts and len(columns) == len(parts):
        return RecordColumns.joined(columns)
    return [record for part in parts for record in part]


def offsets_of(records: Sequence[Record]) -> Indices:
    """The offset of each record."""
    if isinstance(records, RecordColumns):
        return records.offsets
    return np.fromiter((record.offset for record in records), np.int64, len(records))


def timestamps_ms_of(records: Sequence[Record]) -> Indices:
    """The broker's time of each record."""
    if isinstance(records, RecordColumns):
        return records.timestamps_ms
    return np.fromiter((record.timestamp for record in records), np.int64, len(records))


def partitions_of(tps: Iterable[TopicPartition], topic: str) -> set[int]:
    """The partitions of one topic."""
    return {tp.partition for tp in tps if tp.topic == topic}
