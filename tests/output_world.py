"""Log, Iceberg table, tail and query of any output; the rows that were emitted are the truth."""

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from query_world import FixedClock

from k2_streams.core.records import log_record
from k2_streams.core.records.expand import expand
from k2_streams.core.records.log_record import LogBatch
from k2_streams.core.records.stream import LOG_PLACE, Stream
from k2_streams.core.records.vector import Range
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.query.engine import Engine
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import DEFAULT_MEMORY_BYTES, SpillStore, Tail

TOPIC_ID = "topic-of-an-output"
SOURCE_PARTITION = 7
ACCEPTED_US = 1_700_000_100_000_000
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Row = dict[str, Any]


class OutputWorld:
    """One output of two partitions. Its engine belongs to whoever made it."""

    def __init__(
        self,
        stream: Stream,
        folder: Path,
        engine: Engine,
        *,
        gaps: GapsView | None = None,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        spill: SpillStore | None = None,
    ) -> None:
        self.stream, self.folder, self.gaps = stream, folder, gaps
        self._config = LakeConfig(f"sqlite:///{folder}/k2.db", f"{folder}/warehouse")
        self.lake = self._open()
        self.lake.ensure()
        self.tail = Tail(stream, topic_id=TOPIC_ID, memory_bytes=memory_bytes, spill=spill)
        self.view = LakeView(self._open)
        self.query = HybridQuery(
            self.tail, self.view, engine, gaps, clock=FixedClock(), stream=stream
        )
        if gaps is not None:
            gaps.expect({})
        self.rows: list[Row] = []
        self.records: dict[int, list[LogBatch]] = {0: [], 1: []}
        for partition in self.records:
            self.tail.seek(partition, 0)

    def _open(self) -> Lake:
        return Lake(self._config, stream=self.stream)

    async def close(self) -> None:
        await self.query.close()
        self.lake.close()

    def record(self, rows: Sequence[Row], partition: int, offset: int) -> LogBatch:
        """What a task writes and a reader decodes."""
        schema = self.stream.log_schema
        batch = pa.RecordBatch.from_pylist(list(rows), schema=schema)
        accepted_us = ACCEPTED_US + offset
        (value,) = log_record.encode_checkpoint(schema, [batch], SOURCE_PARTITION, accepted_us)
        return log_record.decode(value, partition, offset)

    def add(self, partition: int, rows: Sequence[Row]) -> None:
        """A record, read by the tail."""
        offset = len(self.records[partition])
        batch = self.record(rows, partition, offset)
        self.records[partition].append(batch)
        self.tail.append(partition, Range(offset, offset + 1), [batch], raw_next=offset + 1)
        emitted = pa.Table.from_pylist(list(rows), schema=self.stream.log_schema).to_pylist()
        self.rows += [
            one
            | {
                "source_partition": SOURCE_PARTITION,
                "log_partition": partition,
                "log_offset": offset,
                "log_row": place,
                "accepted_time": EPOCH + dt.timedelta(microseconds=ACCEPTED_US + offset),
            }
            for place, one in enumerate(emitted)
        ]

    def commit(self, ranges: dict[int, tuple[int, int]]) -> None:
        """Append these ranges of the log's partitions to the table."""
        held = {partition: Range(*range_) for partition, range_ in ranges.items()}
        batches = [
            batch
            for partition, range_ in held.items()
            for batch in self.records[partition][range_.start : range_.end]
        ]
        rows = expand(self.stream, batches)
        self.lake.append(rows, held, topic_id=TOPIC_ID, commit_id=f"{sorted(ranges.items())}")

    def commit_to_the_end(self, *partitions: int) -> None:
        """What the sink does: everything that the table lacks of these partitions."""
        vector = self.lake.head().vector
        ranges = {
            partition: (vector.next_of(self.stream.log, partition) or 0, len(records))
            for partition, records in self.records.items()
            if partition in partitions
        }
        ranges = {partition: one for partition, one in ranges.items() if one[0] < one[1]}
        if ranges:
            self.commit(ranges)

    def in_order(self, keep: Callable[[Row], bool] = lambda _: True) -> list[Row]:
        """The emitted rows in the order of an answer, by plain Python."""
        return sorted(
            filter(keep, self.rows),
            key=lambda row: tuple(row[name] for name in (self.stream.time, *LOG_PLACE)),
        )
