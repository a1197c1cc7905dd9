"""The ids of one partition on this machine's disk: bucket and hash of each, and nothing else."""

import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import structlog

from k2_streams.core.bloom import Hashes
from k2_streams.core.dedup import HASH_BYTES, to_bytes
from k2_streams.state.codec import BucketSum, add_hash
from k2_streams.state.ids_codec import checksum_of
from k2_streams.state.rocks import ROCKS_DISK, Database, Disk
from k2_streams.state.store import StoreUnusableError

log = structlog.get_logger(__name__)

#: What the bytes on disk mean. Another number: the store is wiped and rebuilt from the changelog.
IDS_VERSION = 1
_META_KEY = b"\x00meta"
_BUCKET = struct.Struct(">Q")
_KEY_BYTES = _BUCKET.size + HASH_BYTES
#: Keys read at once: 1.5 MiB, and few calls into numpy.
_SCAN_KEYS = 65_536


class IdsMeta(msgspec.Struct, frozen=True):
    """What the store knows of itself, written in one batch with the ids."""

    version: int
    changelog_id: str  # of the changelog topic
    changelog_offset: int  # the next changelog record not in the store
    buckets: tuple[BucketSum, ...]


class IdStore:
    """One partition's ids. Never ahead of the changelog.

    It is written only after the transaction was committed, and then in one batch. Writes survive
    the end of the process; after a loss of power the changelog rebuilds them.
    """

    def __init__(self, path: Path, disk: Disk = ROCKS_DISK) -> None:
        self._path = path
        self._disk = disk
        self._db: Database | None = None

    def open(self, load: Callable[[int, Hashes], None]) -> IdsMeta | None:
        """Open or create the files; what the last write said, or None of a new store.

        Every id is read once and given to `load`, by bucket. A damaged file can end a scan early
        without an error, so the buckets' counts and checksums decide.

        Raises:
            StoreUnusableError: the files cannot be opened, or do not hold what they should; what
                `load` was given must then be forgotten.
        """
        try:
            self._db = self._disk.open(self._path)
            raw = self._db.get(_META_KEY)
            found = self._scan(load)
        except Exception as error:  # rocksdict raises bare Exception for every kind of damage
            self.close()
            raise StoreUnusableError(f"{self._path.name}: {error}") from error
        if raw is None:
            if found:
                raise StoreUnusableError(f"{self._path.name}: ids without a meta record")
            return None
        try:
            meta = msgspec.msgpack.decode(raw, type=IdsMeta)
        except msgspec.MsgspecError as error:
            raise StoreUnusableError(f"{self._path.name}: meta record: {error}") from error
        if meta.version != IDS_VERSION:
            raise StoreUnusableError(
                f"{self._path.name}: expected version {IDS_VERSION}, found {meta.version}"
            )
        if found != meta.buckets:
            raise StoreUnusableError(
                f"{self._path.name}: expected ids {meta.buckets}, found {found}"
            )
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
        entries[_META_KEY] = msgspec.msgpack.encode(meta)
        self._open().write(entries, [_BUCKET.pack(bucket) for bucket in dropped])

    def wipe(self) -> None:
        """Close, and delete the files."""
        self.close()
        self._disk.delete(self._path)
        log.info("ids wiped", store=self._path.name)

    def close(self) -> None:
        """Let go of the files and their lock."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _open(self) -> Database:
        if self._db is None:
            raise ValueError("the store is closed")
        return self._db

    def _scan(self, load: Callable[[int, Hashes], None]) -> tuple[BucketSum, ...]:
        sums: dict[int, BucketSum] = {}
        keys = (key for key in self._open().all_keys() if key != _META_KEY)
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
