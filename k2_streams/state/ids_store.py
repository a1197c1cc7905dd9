"""The ids of one partition on this machine's disk: bucket and hash of each, and nothing else."""

import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import msgspec
import numpy as np

from k2_streams.core.dedup.bloom import Hashes
from k2_streams.core.dedup.ids import HASH_BYTES, to_bytes
from k2_streams.state.checked_store import (
    META_KEY,
    CheckedStore,
    Stamp,
    StoreUnusableError,
    decode_meta,
)
from k2_streams.state.codec import add_hash
from k2_streams.state.ids_codec import BucketSum, checksum_of

#: What the bytes on disk mean.
IDS_VERSION = 1
_BUCKET = struct.Struct(">Q")
_KEY_BYTES = _BUCKET.size + HASH_BYTES
#: Keys read at once: 1.5 MiB, and few calls into numpy.
_SCAN_KEYS = 65_536


class IdsMeta(Stamp, frozen=True):
    """What the store knows of itself, written in one batch with the ids."""

    buckets: tuple[BucketSum, ...]


_META = msgspec.msgpack.Decoder(IdsMeta)


class IdStore(CheckedStore[IdsMeta]):
    """One partition's ids."""

    def open(self, load: Callable[[int, Hashes], None]) -> IdsMeta | None:
        """Open or create the files; the meta record of the last write, or None of a new store.

        Every id is read once and given to `load`, by bucket; the buckets' counts and checksums
        decide.

        Raises:
            StoreUnusableError: the files cannot be opened, or do not hold what they should; what
                `load` was given must then be forgotten.
            StoreUnavailableError: the disk is full, or somebody else has the files open.
        """
        record, found = self._read(lambda: self._scan(load))
        meta = None if record is None else decode_meta(record, _META)
        if meta is not None and meta.version != IDS_VERSION:
            raise StoreUnusableError(
                f"{self._path.name}: expected version {IDS_VERSION}, found {meta.version}"
            )
        self._compare(meta.buckets if meta else (), found)
        return meta

    def holds(self, bucket: int, identity: bytes) -> bool:
        """Whether a bucket holds an id, by its hash."""
        return self._open().get(_BUCKET.pack(bucket) + identity) is not None

    def write(self, ids: Mapping[int, Hashes], dropped: Sequence[int], meta: IdsMeta) -> None:
        """New ids, buckets that are dropped, and the meta record, in ONE write batch."""
        entries: dict[bytes, bytes | None] = {}
        for bucket, hashes in ids.items():
            prefix, packed = _BUCKET.pack(bucket), to_bytes(hashes)
            entries |= dict.fromkeys(
                [prefix + packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)],
                b"",
            )
        self._put(entries, meta, [_BUCKET.pack(bucket) for bucket in dropped])

    def _scan(self, load: Callable[[int, Hashes], None]) -> tuple[BucketSum, ...]:
        sums: dict[int, BucketSum] = {}
        keys = (key for key in self._open().all_keys() if key != META_KEY)
        while chunk := list(islice(keys, _SCAN_KEYS)):
            start = 0
            while start < len(chunk):
                prefix = chunk[start][: _BUCKET.size]
                same = [key for key in chunk[start:] if key.startswith(prefix)]
                (bucket,) = _BUCKET.unpack(prefix)
                hashes = _hashes_in(same)
                load(bucket, hashes)
                was = sums.get(bucket, BucketSum(bucket, 0, 0))
                total = add_hash(was.checksum, new=checksum_of(hashes))
                sums[bucket] = BucketSum(bucket, was.ids + len(same), total)
                start += len(same)
        return tuple(sums[bucket] for bucket in sorted(sums))


def _hashes_in(keys: list[bytes]) -> Hashes:
    """The hashes behind the bucket in each key."""
    packed = b"".join(keys)
    if len(packed) != len(keys) * _KEY_BYTES:
        raise StoreUnusableError("a key that is not a bucket and a hash")
    return np.frombuffer(packed, ">u8").reshape(-1, 3)[:, 1:].astype(np.uint64)
