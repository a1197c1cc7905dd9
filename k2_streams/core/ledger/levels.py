"""Changes of workers' degradation levels as rows: the table `k2.levels`."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from k2_streams.core.ledger.records import UNREADABLE, batches_of, fits
from k2_streams.core.load import level_changes
from k2_streams.core.records.log_record import LogBatch, WrittenRecord

#: A change, in the words of `core.load.level_changes`.
LEVELS = pa.schema(
    [
        pa.field("worker", pa.string(), nullable=False),
        pa.field("level", pa.string(), nullable=False),
        pa.field("previous", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("lag_records", pa.int64(), nullable=False),
        pa.field("lag_s", pa.float64()),
        pa.field("memory_share", pa.float64(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
    ]
)


def levels_of(partition: int, records: Sequence[WrittenRecord]) -> tuple[LogBatch, ...]:
    """The rows of records of a topic of level changes, one each."""
    rows = [_row(partition, record) for record in records]
    return batches_of(LEVELS, rows, partition, records)


def _row(partition: int, record: WrittenRecord) -> dict[str, Any]:
    change = _change(record)
    return {
        **msgspec.structs.asdict(change),
        "time_ns": change.time_us * 1_000,
        "source_partition": partition,  # no source's record brings a change about
        "accepted_time_us": change.time_us,
    }


def _change(record: WrittenRecord) -> level_changes.LevelChanged:
    try:
        change = level_changes.decode(record.value or b"")
        if fits(change.lag_records, change.time_us * 1_000):
            return change
    except msgspec.MsgspecError:
        pass
    return level_changes.LevelChanged(
        worker="", level=UNREADABLE, previous="", reason="", lag_records=0, lag_s=None,
        memory_share=0.0, time_us=record.timestamp * 1_000,
    )  # fmt: skip
