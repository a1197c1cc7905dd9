"""The bytes of the ids' changelog: one packed record per checkpoint, 16 bytes per id.

    version (1 byte) | groups (2) | of each group: bucket's end in ms (8), ids (4) | the ids' hashes

One record per id would double the load of the broker.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from k2_streams.core.dedup.bloom import Hashes
from k2_streams.core.dedup.ids import HASH_BYTES, from_bytes, to_bytes
from k2_streams.state.codec import StateFormatError

#: Ids in one record: 4 MiB, half of the topic's limit. A checkpoint seldom has a third of it.
RECORD_IDS_MAX = 262_144
_VERSION = 1
_HEAD = struct.Struct(">BH")
_GROUP = struct.Struct(">QI")


class BucketSum(msgspec.Struct, frozen=True, array_like=True):
    """A bucket of ids: how many it holds, and the sum of their hashes' first halves."""

    end_ms: int
    ids: int
    checksum: int  # modulo 2^64


def encode_ids(ids: Mapping[int, Hashes]) -> list[bytes]:
    """New ids by bucket as records' values: one, or more above `RECORD_IDS_MAX`; none of none."""
    parts = [
        (bucket, hashes[start : start + RECORD_IDS_MAX])
        for bucket, hashes in sorted(ids.items())
        for start in range(0, len(hashes), RECORD_IDS_MAX)
    ]
    records: list[bytes] = []
    groups: list[tuple[int, Hashes]] = []
    count = 0
    for bucket, hashes in parts:
        if count + len(hashes) > RECORD_IDS_MAX:
            records.append(_record(groups))
            groups, count = [], 0
        groups.append((bucket, hashes))
        count += len(hashes)
    return [*records, _record(groups)] if groups else records


def _record(groups: Sequence[tuple[int, Hashes]]) -> bytes:
    return b"".join(
        [
            _HEAD.pack(_VERSION, len(groups)),
            *(_GROUP.pack(bucket, len(hashes)) for bucket, hashes in groups),
            *(to_bytes(hashes) for _, hashes in groups),
        ]
    )


def decode_ids(value: bytes) -> Iterator[tuple[int, Hashes]]:
    """A record's ids by bucket.

    Raises:
        StateFormatError: not a record of this version, or cut short.
    """
    try:
        version, count = _HEAD.unpack_from(value)
        if version != _VERSION:
            raise StateFormatError(f"ids: expected version {_VERSION}, found {version}")
        groups = [
            _GROUP.unpack_from(value, _HEAD.size + number * _GROUP.size) for number in range(count)
        ]
    except struct.error as error:
        raise StateFormatError(f"ids: {error}") from error
    at = _HEAD.size + count * _GROUP.size
    total = sum(ids for _, ids in groups)
    if len(value) - at != total * HASH_BYTES:
        raise StateFormatError(
            f"ids: expected {total} of {HASH_BYTES} bytes, found {len(value) - at}"
        )
    for bucket, ids in groups:
        yield bucket, from_bytes(value[at : at + ids * HASH_BYTES])
        at += ids * HASH_BYTES


def checksum_of(hashes: Hashes) -> int:
    """The ids' part of their bucket's checksum: hashes as they are, half of each is summed."""
    return int(np.sum(hashes[:, 0], dtype=np.uint64))
