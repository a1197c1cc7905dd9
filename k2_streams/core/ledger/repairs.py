"""What repairs asked for and what came of it, as rows: the table `k2.repairs`."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from k2_streams.core.ledger.records import UNREADABLE, batches_of, fits
from k2_streams.core.records.log_record import LogBatch, WrittenRecord
from k2_streams.core.records.schema import MICROS, NAME
from k2_streams.core.sequence.scopes import exchange_of, symbol_of

#: The first and the last number of trades that were repaired by their ids.
NO_NUMBER = -1


class RepairedRange(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a range of numbers: a record of the repairs' topic.

    Of a feed without numbers it is what came of the trades of a symbol and session: `first` and
    `last` are `NO_NUMBER`, the counts are of trades, and `still_missing` has no range.
    """

    repair_id: str
    started: str  # as ISO 8601, with an offset from UTC
    by: str
    source: str
    scope: str
    session: str
    first: int
    last: int
    asked: int
    received: int  # of the source, and sent
    filled: int
    abandoned: int  # meanwhile, by other than this run
    still_missing: list[tuple[int, int]]  # inclusive


_RANGE = pa.struct(
    [
        pa.field("first", pa.int64(), nullable=False),
        pa.field("last", pa.int64(), nullable=False),
    ]
)
_COUNTS = ("asked", "received", "filled", "abandoned")
#: A range that a repair asked for, in the words of `RepairedRange`.
REPAIRS = pa.schema(
    [
        pa.field("repair_id", pa.string(), nullable=False),
        pa.field("exchange", NAME, nullable=False),
        pa.field("symbol", NAME, nullable=False),  # or the connection, as `@feed`
        pa.field("scope", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("first", pa.int64(), nullable=False),
        pa.field("last", pa.int64(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in _COUNTS),
        pa.field("still_missing", pa.list_(_RANGE), nullable=False),
        pa.field("by", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("started", MICROS, nullable=False),
        pa.field("started_ns", pa.int64(), nullable=False),
    ]
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_DECODER = msgspec.json.Decoder(RepairedRange)


def repairs_of(partition: int, records: Sequence[WrittenRecord]) -> tuple[LogBatch, ...]:
    """The rows of records of a topic of repairs, one each."""
    return batches_of(REPAIRS, [_row(partition, one) for one in records], partition, records)


def _row(partition: int, record: WrittenRecord) -> dict[str, Any]:
    try:
        found = _DECODER.decode(record.value or b"")
        started_us = (dt.datetime.fromisoformat(found.started) - _EPOCH) // _MICROSECOND
        ranges = [number for one in found.still_missing for number in one]
        counts = [getattr(found, name) for name in _COUNTS]
        if not fits(found.first, found.last, *counts, *ranges, started_us * 1_000):
            found, started_us = _unreadable(), record.timestamp * 1_000
    except (msgspec.MsgspecError, ValueError, TypeError):  # no time, or one without an offset
        found, started_us = _unreadable(), record.timestamp * 1_000
    return {
        **msgspec.structs.asdict(found),
        "exchange": exchange_of(found.scope),
        "symbol": symbol_of(found.scope),
        "still_missing": [{"first": first, "last": last} for first, last in found.still_missing],
        "started": started_us,
        "started_ns": started_us * 1_000,
        "source_partition": partition,
        "accepted_time_us": 0,  # when it was appended
    }


def _unreadable() -> RepairedRange:
    return RepairedRange(
        repair_id=UNREADABLE, started="", by="", source="", scope="", session="", first=0, last=0,
        asked=0, received=0, filled=0, abandoned=0, still_missing=[],
    )  # fmt: skip
