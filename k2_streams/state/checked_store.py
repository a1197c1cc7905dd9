"""A partition's database that says itself what it must hold: what every store of a task shares.

Beside its entries stands one meta record, written in one batch with them: its version, of which
changelog it is and how far, and the sums of the rest. It begins with a sum of its own (MurmurHash3,
128 bits): what the others are compared with must not be damaged itself.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, Self, TypeVar

import mmh3
import msgspec
import structlog

from k2_streams.state.rocks import ROCKS_DISK, Database, Disk

log = structlog.get_logger(__name__)

META_KEY = b"\x00meta"


class StoreUnusableError(Exception):
    """The files are not what the checkpoint names: wipe and rebuild from the changelog."""


class StoreUnavailableError(Exception):
    """The disk cannot be used now: the files may be whole, and open later."""


#: What an open fails with where the files are not at fault. Wiping them would help nobody: a store
#: that cannot be written cannot be rebuilt either, and the partition would count as lost.
_OF_THE_DISK = (
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "Too many open files",
    "lock hold by current process",
    "While lock file",
)


class Stamp(msgspec.Struct, frozen=True):
    """What every store knows of itself."""

    version: int  # of the bytes; another one: the store is wiped and rebuilt from the changelog
    changelog_id: str  # of the changelog topic
    changelog_offset: int  # the next changelog record not in the store
    partition: int  # of the changelog

    def of(self, changelog_id: str, partition: int) -> Self:
        """This, if it is of that partition of that topic.

        Raises:
            StoreUnusableError: it is not. Whole, and at the end of a changelog of the same length,
                another partition's store would fit in all else.
        """
        if self.changelog_id != changelog_id:
            raise StoreUnusableError(
                f"expected changelog topic id {changelog_id}, found {self.changelog_id}"
            )
        if self.partition != partition:
            raise StoreUnusableError(f"expected partition {partition}, found {self.partition}")
        return self


Meta = TypeVar("Meta", bound=Stamp)
Sums = TypeVar("Sums")

_SUM_BYTES = 16


def encode_meta(meta: Stamp) -> bytes:
    """A meta record's bytes."""
    content = msgspec.msgpack.encode(meta)
    return mmh3.mmh3_x64_128_digest(content) + content


def decode_meta(record: bytes, decoder: msgspec.msgpack.Decoder[Meta]) -> Meta:
    """The inverse of `encode_meta`.

    Raises:
        StoreUnusableError: it is not what was written.
    """
    own_sum, content = record[:_SUM_BYTES], record[_SUM_BYTES:]
    if mmh3.mmh3_x64_128_digest(content) != own_sum:
        raise StoreUnusableError("the meta record does not have the sum that it says")
    try:
        return decoder.decode(content)
    except msgspec.MsgspecError as error:
        raise StoreUnusableError(f"meta record: {error}") from error


class CheckedStore(Generic[Meta]):
    """Bytes to bytes, with the meta record of the last checkpoint.

    Never ahead of the changelog: it is written only after the transaction has been committed, and
    then in one batch. Writes are not synced: they survive the end of the process, and after a loss
    of power the changelog rebuilds them.
    """

    def __init__(self, path: Path, disk: Disk = ROCKS_DISK) -> None:
        self._path = path
        self._disk = disk
        self._db: Database | None = None

    def wipe(self) -> None:
        """Close, and delete the files."""
        self.close()
        self._disk.delete(self._path)
        log.info("store wiped", store=f"{self._path.parent.name}/{self._path.name}")

    def close(self) -> None:
        """Close the files and their lock."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _read(self, scan: Callable[[], Sums]) -> tuple[bytes | None, Sums]:
        """Open or create the files; the meta record, None of a new store, and what a scan found.

        A damaged file can end a RocksDB scan early without an error (6,678 of 20,000 rows came back
        in a trial), so the caller compares the sums of all that is there.

        Raises:
            StoreUnusableError: the files cannot be read.
            StoreUnavailableError: the disk is full, or somebody else has the files open.
        """
        try:
            self._db = self._disk.open(self._path)
            return self._db.get(META_KEY), scan()
        except Exception as error:  # rocksdict raises bare Exception for every kind of damage
            self.close()
            if any(reason in str(error) for reason in _OF_THE_DISK):
                raise StoreUnavailableError(f"{self._path.name}: {error}") from error
            raise StoreUnusableError(f"{self._path.name}: {error}") from error

    def _compare(self, expected: Sums, found: Sums) -> None:
        """Raise if it does not hold what it should."""
        if found != expected:
            raise StoreUnusableError(f"{self._path.name}: expected {expected}, found {found}")

    def _put(
        self, entries: Mapping[bytes, bytes | None], meta: Meta, dropped: Sequence[bytes] = ()
    ) -> None:
        """Entries and meta record, in ONE write batch: all or nothing."""
        self._open().write({**entries, META_KEY: encode_meta(meta)}, dropped)

    def _open(self) -> Database:
        if self._db is None:
            raise ValueError("the store is closed")
        return self._db
