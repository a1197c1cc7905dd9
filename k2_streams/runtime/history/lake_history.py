"""The rows of a log that its table holds, as the records that they came in.

A table keeps every row with its place in the log. So a task can be given the records again long
after the log has lost them: the same rows, in the same order, at the same offsets. Two things a
table does not keep: records without rows, and when the broker appended a record; the accepted time
of its rows stands for that.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from k2_streams.core.records import log_record
from k2_streams.core.records.expand import log_rows
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Range
from k2_streams.core.subscription.file_spans import next_files
from k2_streams.core.subscription.sources import Sources
from k2_streams.kafka.log_reader import Record
from k2_streams.kafka.topics import TopicInfo
from k2_streams.query.lake_view import LakeView
from k2_streams.query.reading import Reader
from k2_streams.query.selection import Selection
from k2_streams.query.subscription.portion import Portion, spans_of
from k2_streams.topology.errors import TaskStoppedError


class HistoryRecords(NamedTuple):
    """The next records of a partition.

    Attributes:
        records: in the order of the log.
        end: the position behind them.
        floor: no row that is left was accepted before this time, in us.
    """

    records: list[Record]
    end: int
    floor: int


class LakeHistory:
    """Reads one log's table. For one event loop.

    Args:
        stream: whose rows.
        topic: the log.
        lake: plans the files.
        reader: reads them.
        at_most: rows that are read at a time; more than those of a record.
    """

    def __init__(
        self,
        stream: Stream,
        topic: TopicInfo,
        lake: LakeView,
        reader: Reader,
        at_most: int,
    ) -> None:
        self._stream = stream
        self._topic = topic
        self._lake = lake
        self._reader = reader
        self._at_most = at_most

    async def held(self, partition: int) -> int:
        """The next offset that the newest snapshot does not hold.

        Raises:
            LakeUnavailable: the catalog does not answer.
            TaskStoppedError: the table holds the offsets of another topic of this name.
        """
        head = await self._lake.refresh()
        offsets = head.vector.topics.get(self._topic.name)
        if offsets is None:
            return 0
        if offsets.id != self._topic.id:
            raise TaskStoppedError(
                f"failed: the table of {self._topic.name} holds offsets of topic id {offsets.id}, "
                f"found {self._topic.id}: the topic was created anew; start the app with "
                "start='log', or start both afresh"
            )
        return offsets.next.get(partition, 0)

    async def read(self, partition: int, start: int, end: int, floor: int) -> HistoryRecords:
        """Whole records from `start` on.

        Args:
            partition: of the log.
            start: the next offset.
            end: at most what `held` gave.
            floor: none of these rows was accepted before, in us; 0: not known.

        Raises:
            QueryError, FilesUnreadableError: ask again.
        """
        head = self._lake.head
        assert head is not None  # noqa: S101 - `held` has loaded it
        spans = spans_of(await self._lake.planned(head, Selection()), "log")
        # The files hold the rows of all partitions.
        files, until = next_files(spans, floor, self._at_most * self._topic.partitions)
        portion = Portion(
            Sources({partition: Range(start, end)}, {}),
            Selection(),
            "log",
            until,
            None,
            files,
            (),
            self._at_most,
        )
        rows = await self._reader.as_made(portion)
        is_full = rows.num_rows == self._at_most
        records = records_of(self._stream, rows)
        if is_full:  # the last record may have more rows
            last = records.pop()
            return HistoryRecords(records, last.offset, last.timestamp * 1_000)
        if until is None:
            return HistoryRecords(records, end, floor)
        return HistoryRecords(records, records[-1].offset + 1 if records else start, until)


def records_of(stream: Stream, rows: pa.Table) -> list[Record]:
    """The records of one partition that rows of a table came in, by offset."""
    if not rows.num_rows:
        return []
    batch = log_rows(stream, rows)
    offsets = rows.column("log_offset").to_numpy()
    accepted_us = rows.column("accepted_time").cast(pa.int64()).to_numpy()
    sources = rows.column("source_partition").to_numpy()
    starts = np.flatnonzero(np.diff(offsets, prepend=-1))
    ends = [*starts[1:].tolist(), len(offsets)]
    return [
        Record(
            int(offsets[start]),
            None,
            log_record.encode(
                batch.slice(start, end - start), int(sources[start]), int(accepted_us[start])
            ),
            (),
            int(accepted_us[start]) // 1_000,
        )
        for start, end in zip(starts.tolist(), ends, strict=True)
    ]
