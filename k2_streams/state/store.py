"""One partition of a table on this machine's disk: RocksDB, opened by one process at a time."""

from collections.abc import Iterator, Mapping

import msgspec

from k2_streams.state.checked_store import CheckedStore, Stamp, StoreUnusableError, decode_meta
from k2_streams.state.codec import add_hash, row_hash, shared_table
from k2_streams.state.position import PositionV1, RowSum, encode_position, upgraded

#: What the bytes on disk mean. Version 1 is read, and rewritten with the next checkpoint.
STATE_VERSION = 2

#: By table of the changelog; a table without a row may be missing.
Sums = Mapping[str, RowSum]


class StoreMeta(Stamp, frozen=True):
    """What the store knows of itself, written in one batch with the rows."""

    position: bytes  # the record's value; empty where another changelog has it
    sums: dict[str, RowSum]


class StoreMetaV1(Stamp, frozen=True):
    """The same of version 1: the position's rows and checksum are those of all tables together."""

    position: PositionV1


_STAMP = msgspec.msgpack.Decoder(Stamp)
_META = msgspec.msgpack.Decoder(StoreMeta)
_META_1 = msgspec.msgpack.Decoder(StoreMetaV1)


class PartitionStore(CheckedStore[StoreMeta]):
    """The rows of the tables that share a changelog, bytes to bytes."""

    def open(self) -> StoreMeta | None:
        """Open or create the files; the meta record of the last checkpoint, or None of a new store.

        Every row is read once, and count and checksum of each table decide.

        Raises:
            StoreUnusableError: the files cannot be opened, or do not hold what they should.
            StoreUnavailableError: the disk is full, or somebody else has the files open.
        """
        record, found = self._read(self._count)
        if record is None:
            self._compare({}, found)
            return None
        version = decode_meta(record, _STAMP).version
        if version == 1:
            return self._upgraded(decode_meta(record, _META_1), found)
        if version != STATE_VERSION:
            raise StoreUnusableError(
                f"{self._path.name}: expected version {STATE_VERSION}, found {version}"
            )
        meta = decode_meta(record, _META)
        self._compare(without_empty(meta.sums), found)
        return meta

    def _upgraded(self, old: StoreMetaV1, found: dict[str, RowSum]) -> StoreMeta:
        self._compare(RowSum(old.position.rows, old.position.checksum), total(found))
        return StoreMeta(
            STATE_VERSION,
            old.changelog_id,
            old.changelog_offset,
            old.partition,
            encode_position(upgraded(old.position)),
            found,
        )

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

    def _count(self) -> dict[str, RowSum]:
        rows: dict[str, int] = {}
        checksums: dict[str, int] = {}
        for key, value in self.items():
            table = shared_table(key)
            rows[table] = rows.get(table, 0) + 1
            checksums[table] = add_hash(checksums.get(table, 0), new=row_hash(key, value))
        return {table: RowSum(count, checksums[table]) for table, count in rows.items()}


def without_empty(sums: Sums) -> dict[str, RowSum]:
    """The sums of tables that have a row."""
    return {table: one for table, one in sums.items() if one != RowSum()}


def total(sums: Sums) -> RowSum:
    """The sum of all tables together."""
    rows = checksum = 0
    for one in sums.values():
        rows, checksum = rows + one.rows, add_hash(checksum, new=one.checksum)
    return RowSum(rows, checksum)
