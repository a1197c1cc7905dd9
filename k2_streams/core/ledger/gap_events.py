"""Sequence events as rows: the table `k2.gap_events`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from k2_streams.core.ledger.records import UNREADABLE, batches_of, fits
from k2_streams.core.records import events
from k2_streams.core.records.events import AnyEvent
from k2_streams.core.records.log_record import LogBatch, WrittenRecord
from k2_streams.core.records.schema import NAME
from k2_streams.core.sequence.scopes import exchange_of, symbol_of
from k2_streams.core.time_units import DAY_NS

_RANGE = pa.struct(
    [
        pa.field("first", pa.int64(), nullable=False),
        pa.field("last", pa.int64(), nullable=False),
    ]
)

#: An event, in the words of `core.records.events`. What is of one number (a late one, a stale one,
#: the first of a session) has it as `first` and `last`.
GAP_EVENTS = pa.schema(
    [
        pa.field("type", NAME, nullable=False),
        pa.field("exchange", NAME, nullable=False),
        pa.field("symbol", NAME, nullable=False),  # or the connection, as `@feed`
        pa.field("scope", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("first", pa.int64()),
        pa.field("last", pa.int64()),
        pa.field("gap_first", pa.int64()),
        pa.field("gap_last", pa.int64()),
        pa.field("size", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("count", pa.int64()),  # of duplicates
        pa.field("ranges", pa.list_(_RANGE)),
        pa.field("by", pa.string()),
        pa.field("line", pa.string()),
        pa.field("previous_session", pa.string()),  # before a reset
        pa.field("previous_time_ns", pa.int64()),  # event times of the messages below and above
        pa.field("next_time_ns", pa.int64()),  # the gap; 0: not known; null: the event lacks it
        pa.field("exchange_time_ns", pa.int64(), nullable=False),
        pa.field("trading_date", pa.date32(), nullable=False),  # UTC day; of acceptance, if no time
        pa.field("source_offset", pa.int64(), nullable=False),
    ]
)
_NOTHING = events.Event(scope="", session="")


def gap_events_of(partition: int, records: Sequence[WrittenRecord]) -> tuple[LogBatch, ...]:
    """The rows of records of a topic of sequence events, one each."""
    rows = [_row(record.value or b"") for record in records]
    return batches_of(GAP_EVENTS, rows, partition, records)


def _row(value: bytes) -> dict[str, Any]:
    try:
        event = events.decode(value)
    except msgspec.MsgspecError:
        return row_of(UNREADABLE, _NOTHING)
    if not fits(*_numbers(event)):
        return row_of(UNREADABLE, _NOTHING)
    return row_of(events.type_of(event), event)


def _numbers(event: AnyEvent) -> Iterator[int]:
    yield from (one for one in msgspec.structs.astuple(event) if isinstance(one, int))
    if isinstance(event, events.Duplicates):
        yield from (number for one in event.ranges for number in one)


def row_of(kind: str, event: events.Event) -> dict[str, Any]:
    """An event in the columns of `GAP_EVENTS`, with what else `batches_of` takes."""
    fields = msgspec.structs.asdict(event)
    if "previous" in fields:
        fields["previous_session"] = fields.pop("previous")
    if "sequence" in fields:
        fields["first"] = fields["last"] = fields.pop("sequence")
    if "ranges" in fields:
        fields["ranges"] = [{"first": first, "last": last} for first, last in fields["ranges"]]
    return {
        "type": kind,
        "exchange": exchange_of(event.scope),
        "symbol": symbol_of(event.scope),
        "trading_date": _time_ns(event) // DAY_NS,
        **fields,
    }


def _time_ns(event: events.Event) -> int:
    if event.exchange_time_ns > 0:
        return event.exchange_time_ns
    return event.accepted_time_us * 1_000


def event_of(row: Mapping[str, Any]) -> AnyEvent | None:
    """The event of a row of the table; `row_of` of it gives the row again.

    None: the event was not readable when the row was written, or a newer version wrote it.
    """
    kind = events.BY_TYPE.get(row["type"])
    if kind is None:
        return None
    ranges = [(one["first"], one["last"]) for one in row["ranges"] or ()]
    fields = {
        **row, "previous": row["previous_session"], "sequence": row["first"], "ranges": ranges,
    }  # fmt: skip
    found: AnyEvent = kind(
        **{name: fields[name] for name in kind.__struct_fields__ if name in fields}
    )
    return found
