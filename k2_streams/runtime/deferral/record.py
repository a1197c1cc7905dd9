"""A record of a deferred topic: a raw record as it came, and in headers where it came from.

Its key, value and headers are the raw record's; three headers stand behind them. What is read back
is worked as if it came from the source: its place and the broker's time are the original's.
"""

from typing import Any, NamedTuple

from k2_streams.kafka.log_reader import Record
from k2_streams.kafka.transactions import OutputRecord

_OFFSET = "k2.offset"
_APPEND_TIME = "k2.append-time-ms"
_PARTITION = "k2.partition"
_OURS = (_PARTITION, _OFFSET, _APPEND_TIME)


class RestoredRecord(NamedTuple):
    """A raw record, as far as a task reads one."""

    offset: int
    timestamp: int  # ms: the broker's, of the source
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def encode(topic: str, record: Any, partition: int) -> OutputRecord:
    """A record of the source, to be deferred in this topic."""
    return OutputRecord(
        topic,
        record.key,
        record.value,
        (
            *record.headers,
            (_PARTITION, b"%d" % partition),
            (_OFFSET, b"%d" % record.offset),
            (_APPEND_TIME, b"%d" % record.timestamp),
        ),
    )


def decode(record: Record, partition: int) -> RestoredRecord | None:
    """The record of the source; None: no task of this partition put it there."""
    ours = record.headers[-len(_OURS) :]
    if tuple(name for name, _ in ours) != _OURS:
        return None
    try:
        of, offset, timestamp = (int(value or b"") for _, value in ours)
    except ValueError:
        return None
    if of != partition:
        return None
    headers = tuple(record.headers[: -len(_OURS)])
    return RestoredRecord(offset, timestamp, record.key, record.value, headers)
