"""Records that could not be processed, as rows: the table `k2.dead_letters`."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from k2_streams.core.ledger.records import batches_of, fits
from k2_streams.core.records.log_record import LogBatch, WrittenRecord
from k2_streams.core.records.schema import MICROS, NAME

#: The feed of a record whose headers name none.
CANONICAL = "canonical"
#: Set in the transaction that the letter is published in.
ACCEPTED_TIME = "k2.accepted-time-us"
#: Begins the names of headers that K2 adds.
_OWN = "k2."
_HEADER = pa.struct([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.binary())])
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_MAX_DIGITS = 19

DEAD_LETTERS = pa.schema(
    [
        pa.field("reason", NAME, nullable=False),
        pa.field("feed", NAME, nullable=False),
        pa.field("field", pa.string()),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(_HEADER), nullable=False),  # the record's own
        pa.field("scope", pa.string()),  # of its sequence number, where it could be read
        pa.field("session", pa.string()),
        pa.field("sequence", pa.int64()),
        pa.field("source_offset", pa.int64(), nullable=False),  # -1: not known
        pa.field("append_time", MICROS, nullable=False),  # to the raw topic
        pa.field("append_time_ns", pa.int64(), nullable=False),
        pa.field("redrive_id", pa.string()),  # it had been processed again before
    ]
)


def dead_letters_of(partition: int, records: Sequence[WrittenRecord]) -> tuple[LogBatch, ...]:
    """The rows of records of a topic of dead letters, one each."""
    rows = [_row(record) for record in records]
    return batches_of(DEAD_LETTERS, rows, partition, records)


def _row(record: WrittenRecord) -> dict[str, Any]:
    last = dict(record.headers)  # of a name that occurs twice the last one counts

    def text(name: str) -> str | None:
        value = last.get(name)
        return value.decode(errors="replace") if value else None

    absent = (text("k2.null") or "").split(",")
    appended_us = _micros(text("k2.append-time")) or record.timestamp * 1_000
    return {
        "reason": text("k2.reason") or "",
        "feed": text("feed") or CANONICAL,
        "field": text("k2.field"),
        "detail": text("k2.detail") or "",
        "key": None if "key" in absent else record.key,
        "value": None if "value" in absent else record.value,
        "headers": [
            {"name": name, "value": value}
            for name, value in record.headers
            if not name.startswith(_OWN)
        ],
        "scope": text("k2.scope"),
        "session": text("k2.session"),
        "sequence": _number(text("k2.sequence"), None),
        "source_offset": _number(text("k2.offset"), -1),
        "append_time": appended_us,
        "append_time_ns": appended_us * 1_000,
        "redrive_id": text("k2.redrive"),
        "source_partition": _number(text("k2.partition"), -1),
        "accepted_time_us": _number(text(ACCEPTED_TIME), 0),
    }


def _number(text: str | None, otherwise: int | None) -> int | None:
    """A decimal number of 63 bits, as K2 writes it; another program may write anything."""
    if not text or not text.isascii() or not text.isdecimal() or len(text) > _MAX_DIGITS:
        return otherwise
    number = int(text)
    return number if fits(number) else otherwise


def _micros(text: str | None) -> int | None:
    try:
        found_us = (dt.datetime.fromisoformat(text or "") - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError):  # no time, or one without a zone
        return None
    return found_us if fits(found_us * 1_000) else None
