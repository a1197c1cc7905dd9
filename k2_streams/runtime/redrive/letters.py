"""A dead letter as the raw record that it was, and which letters were sent again."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from k2_streams.kafka.log_reader import Record
from k2_streams.kafka.record_columns import FetchedRecord
from k2_streams.kafka.transactions import Header
from k2_streams.runtime.task.epoch import LETTER_HEADERS
from k2_streams.runtime.task.headers import LINE, REDRIVE

#: Where the record was first, as `PARTITION:OFFSET` of the raw topic.
ORIGIN = "k2.origin"
#: A redriven record came by no line, and says itself which redrive it is of.
_REPLACED = LETTER_HEADERS | {LINE, REDRIVE, ORIGIN}


class RedriveEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction of a redrive: what it sent again, committed with the records themselves."""

    redrive: str  # its id
    topic_id: str  # of the dead letters' topic: of another one the offsets say nothing
    letters: list[tuple[int, int]]  # offsets of dead letters of this partition, both inclusive


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(RedriveEntry)


def encode_entry(entry: RedriveEntry) -> bytes:
    """An entry as a record's value."""
    return _ENCODER.encode(entry)


def redriven_letters(values: Iterable[bytes | None], topic_id: str) -> set[int]:
    """The offsets of the dead letters of one partition that these entries have sent again.

    Raises:
        msgspec.DecodeError: a value is no entry.
    """
    entries = (_DECODER.decode(value or b"") for value in values)
    return {
        offset
        for entry in entries
        if entry.topic_id == topic_id
        for first, last in entry.letters
        for offset in range(first, last + 1)
    }


def ranges_of(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending offsets as inclusive ranges."""
    ranges: list[tuple[int, int]] = []
    for offset in offsets:
        if ranges and ranges[-1][1] == offset - 1:
            ranges[-1] = (ranges[-1][0], offset)
        else:
            ranges.append((offset, offset))
    return ranges


def raw_record_of(letter: Record, redrive: str, *, offset: int, time_ms: int) -> FetchedRecord:
    """The record that a dead letter was, as it would be read from the raw topic again.

    Args:
        letter: the dead letter.
        redrive: that sends it.
        offset: any; of the dead letter.
        time_ms: of its append.
    """
    last: Mapping[str, bytes | None] = dict(letter.headers)
    absent = (last.get("k2.null") or b"").split(b",")
    place = b"%b:%b" % (last.get("k2.partition") or b"", last.get("k2.offset") or b"")
    kept: tuple[Header, ...] = tuple(one for one in letter.headers if one[0] not in _REPLACED)
    added = ((REDRIVE, redrive.encode()), (ORIGIN, last.get(ORIGIN) or place))
    return FetchedRecord(
        offset,
        time_ms,
        1,
        None if b"key" in absent else letter.key,
        None if b"value" in absent else letter.value,
        (*kept, *added),
    )
