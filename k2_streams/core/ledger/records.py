"""Rows of a log whose records hold one finding each, and no batch of rows as other logs do."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from k2_streams.core.records.log_record import LogBatch, OnlyRow, WrittenRecord

#: What a row of a record says that this version cannot read: a newer one wrote it, or not K2. The
#: row keeps its place; so no log stops for it, and none of its records is without a row.
UNREADABLE = "unreadable"


def fits(*numbers: int) -> bool:
    """Whether columns can hold these numbers; a JSON number has no bound."""
    return all(-(1 << 63) <= number < 1 << 63 for number in numbers)


def batches_of(
    schema: pa.Schema,
    rows: Sequence[Mapping[str, Any]],
    partition: int,
    records: Sequence[WrittenRecord],
) -> tuple[LogBatch, ...]:
    """One batch of one row per record, at its offset; the rows are made together.

    Args:
        schema: of the log's rows.
        rows: per record its row, with `source_partition` and `accepted_time_us` (0: not known, then
            the record's append time stands for it) beside the columns.
        partition: of the log.
        records: as many.
    """
    if not rows:
        return ()
    made = pa.RecordBatch.from_pylist(list(rows), schema=schema)
    size_bytes = made.nbytes // len(rows)  # adding it up per row takes longer than all the rest
    return tuple(
        LogBatch(
            made,
            row["source_partition"],
            row["accepted_time_us"] or record.timestamp * 1_000,
            partition,
            record.offset,
            OnlyRow(number, size_bytes),
        )
        for number, (row, record) in enumerate(zip(rows, records, strict=True))
    )
