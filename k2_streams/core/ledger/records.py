"""Rows of a log whose records hold one finding each, and no batch of rows as other logs do."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from k2_streams.core.records.log_record import LogBatch, WrittenRecord

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
    """One batch of one row per record, at its offset.

    Args:
        schema: of the log's rows.
        rows: per record its row, with `source_partition` and `accepted_time_us` (0: not known, then
            the record's append time stands for it) beside the columns.
        partition: of the log.
        records: as many.
    """
    if not rows:
        return ()
    made = pa.RecordBatch.from_pylist([dict(row) for row in rows], schema=schema)
    columns = [_one_by_one(column) for column in made.columns]
    return tuple(
        LogBatch(
            pa.RecordBatch.from_arrays([column[number] for column in columns], schema=schema),
            row["source_partition"],
            row["accepted_time_us"] or record.timestamp * 1_000,
            partition,
            record.offset,
        )
        for number, (row, record) in enumerate(zip(rows, records, strict=True))
    )


def _one_by_one(column: pa.Array) -> Sequence[pa.Array]:
    """Each row of a column. A dictionary's has its own word alone: it counts as memory of its."""
    if not pa.types.is_dictionary(column.type):
        return [column.slice(number, 1) for number in range(len(column))]
    words = [*column.dictionary.to_pylist(), None]
    alone = {word: pa.array([word], column.type) for word in words}
    return [alone[word] for word in column.to_pylist()]
