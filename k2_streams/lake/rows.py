"""Records of a log to rows of the table, many records at a time.

The same rows as `core.records.log_record.expand` gives of each record, with text columns that are
still dictionaries: a commit of a million rows takes a third of the CPU so.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.records.log_record import (
    LogBatch,
    in_log_columns,
    message_ids,
    ref_message_ids,
)
from k2_streams.core.records.schema import MICROS
from k2_streams.core.records.stream import Stream


def gather(stream: Stream, batches: Sequence[LogBatch]) -> pa.Table:
    """The rows of the records, in their order, in the table's columns."""
    filled = [batch for batch in batches if batch.rows.num_rows]
    if not filled:
        return stream.table_schema.empty_table()
    log = pa.Table.from_batches([in_log_columns(stream, batch.rows) for batch in filled])
    log = log.unify_dictionaries().combine_chunks()
    counts = np.fromiter((batch.rows.num_rows for batch in filled), np.int64, len(filled))
    starts = np.cumsum(counts) - counts

    def of_batch(values: Iterable[int], dtype: type[np.generic]) -> pa.Array:
        return pa.array(np.repeat(np.fromiter(values, dtype, len(filled)), counts))

    accepted = of_batch((batch.accepted_time_us for batch in filled), np.int64)
    derived = {
        "message_id": _message_ids(log, filled),
        "ref_message_id": _ref_message_ids(log),
        "exchange_time": pc.divide(log["exchange_time_ns"], 1000).cast(MICROS),
        "source_partition": of_batch((b.source_partition for b in filled), np.int32),
        "log_partition": of_batch((b.log_partition for b in filled), np.int32),
        "log_offset": of_batch((b.log_offset for b in filled), np.int64),
        "log_row": pa.array((np.arange(counts.sum()) - np.repeat(starts, counts)).astype(np.int32)),
        "accepted_time": accepted.cast(MICROS),
    }
    return pa.table(
        {
            name: derived[name] if name in derived else log[name]
            for name in stream.table_schema.names
        }
    )


def _ref_message_ids(log: pa.Table) -> pa.ChunkedArray:
    return pa.chunked_array([ref_message_ids(rows) for rows in log.to_batches()], pa.string())


def _message_ids(log: pa.Table, batches: list[LogBatch]) -> pa.ChunkedArray:
    """The ids of runs of records that come from the same source partition."""
    chunks: list[pa.Array] = []
    start = 0
    for source_partition, run in groupby(batches, attrgetter("source_partition")):
        count = sum(batch.rows.num_rows for batch in run)
        part = log.slice(start, count).to_batches()
        chunks.extend(message_ids(rows, source_partition) for rows in part)
        start += count
    return pa.chunked_array(chunks, pa.string())
