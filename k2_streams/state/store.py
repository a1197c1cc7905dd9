"""One partition of a table on this machine's disk: RocksDB, opened by one process at a time."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from k2_streams.state.checked_store import CheckedStore, Stamp
from k2_streams.state.codec import Position, add_hash, row_hash

#: What the bytes on disk mean.
STATE_VERSION = 1


class StoreMeta(Stamp, frozen=True):
    """What the store knows of itself, written in one batch with the rows."""

    position: Position


class RowSum(NamedTuple):
    """Of all rows."""

    rows: int
    checksum: int


class PartitionStore(CheckedStore[StoreMeta]):
    """A table's rows, bytes to bytes."""

    def open(self) -> StoreMeta | None:
        """Open or create the files; what the last checkpoint said, or None of a new store.

        Every row is read once, and count and checksum decide.

        Raises:
            StoreUnusableError: the files cannot be opened, or do not hold what they should.
            StoreUnavailableError: the disk is full, or somebody else has the files open.
        """
        meta, found = self._read(StoreMeta, STATE_VERSION, self._count)
        position = meta.position if meta else None
        self._compare(RowSum(position.rows, position.checksum) if position else RowSum(0, 0), found)
        return meta

    def get(self, key: bytes) -> bytes | None:
        """A row's value."""
        return self._open().get(key)

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All rows whose keys begin so, in the order of their keys."""
        for key, value in self._open().items(prefix):
            if not key.startswith(b"\x00"):
                yield key, value

    def write(self, rows: Mapping[bytes, bytes | None], meta: StoreMeta) -> None:
        """Rows and meta record, in ONE write batch: all or nothing."""
        self._put(rows, meta)

    def _count(self) -> RowSum:
        rows = checksum = 0
        for key, value in self.items():
            rows += 1
            checksum = add_hash(checksum, new=row_hash(key, value))
        return RowSum(rows, checksum)
