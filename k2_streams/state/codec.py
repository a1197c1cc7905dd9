"""The bytes of a changelog: a row a key, and one position record a checkpoint.

A row's key is its key in the table (UTF-8), its value the table's own codec's. The position
record's key starts with a zero byte, which no row's key does. Rows that count what is put off
start with `COUNT_PREFIX`.
"""

from typing import Any

import mmh3
import msgspec

from k2_streams.core.lines.stats import LineStats
from k2_streams.core.sequence import codec as sequence_codec

POSITION_KEY = b"\x00position"
#: No scope's key begins with it: those are printable.
COUNT_PREFIX = b"\x01"
_VERSION = b"\x01"
_MASK = (1 << 64) - 1


class StateFormatError(ValueError):
    """Bytes of a table that this version cannot read."""


class BucketSum(msgspec.Struct, frozen=True, array_like=True):
    """A bucket of ids: how many it holds, and the sum of their hashes' first halves."""

    end_ms: int
    ids: int
    checksum: int  # modulo 2^64


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task stands: written in every checkpoint's transaction, last of the changelog rows.

    It, and not the group's offsets, is where the source is read on from.
    """

    source_id: str  # of the source topic; one created anew has another
    partitions: int  # of the source topic: part of the state
    next_offset: int  # of the source partition
    epoch: int  # checkpoints so far
    events: int  # published so far: readers of the log learn from it how many they must have seen
    accepted_time_us: int  # of the last checkpoint: never goes back in a partition
    rows: int  # of the table's partition
    checksum: int  # the sum of its rows' hashes, modulo 2^64
    # Of what was put off; a position written before K2 could do so has none of it.
    deferred_id: str = ""  # of the topic `k2.trades.deferred`
    deferred_next: int = 0  # of its partition: the next offset to be drained
    deferred_records: int = 0  # that wait
    deferred_from: int | None = None  # no record of the source below this offset waits
    append_time_ms: int = 0  # the partition's time: the largest append time worked
    ids: tuple[BucketSum, ...] = ()  # live buckets of the ids' store, oldest first
    lines: tuple[LineStats, ...] = ()  # of the partition, by exchange and name
    held: int = 0  # scopes with gaps that a line may still fill
    oldest_gap_ms: int = 1  # no gap is older than this append time; 0: there is none
    dead_letters: int | None = None  # published so far; None: a version that did not count them


def row_hash(key: bytes, value: bytes) -> int:
    """A row's part of the partition's checksum (MurmurHash3, 64 of 128 bits)."""
    low, _ = mmh3.hash64(b"%d:%b%b" % (len(key), key, value), signed=False)
    return int(low)


def add_hash(checksum: int, *, new: int = 0, old: int = 0) -> int:
    """The checksum with one row's hash added and another's taken away."""
    return (checksum + new - old) & _MASK


_POSITION_DECODER = msgspec.msgpack.Decoder(Position)


def encode_position(position: Position) -> bytes:
    """A position record's value."""
    return _VERSION + msgspec.msgpack.encode(position)


def decode_position(value: bytes) -> Position:
    """The inverse of `encode_position`.

    Raises:
        StateFormatError: not a position of this version.
    """
    if value[:1] != _VERSION:
        raise StateFormatError(f"position: expected version 1, found {value[:1].hex() or 'none'}")
    try:
        return _POSITION_DECODER.decode(value[1:])
    except msgspec.MsgspecError as error:
        raise StateFormatError(f"position: {error}") from error


def decode_entry(key: bytes, value: bytes | None) -> Any:
    """A changelog record in plain objects, for people: `k2 changelog` prints these.

    Raises:
        StateFormatError: bytes of another version.
    """
    if key == POSITION_KEY:
        return decode_position(value or b"")
    if value is None:
        return None
    if key.startswith(COUNT_PREFIX):
        return int(value)
    return sequence_codec.decode(value)
