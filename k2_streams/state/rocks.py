"""RocksDB on this machine's disk, and what a store needs of a disk: a simulated one has it too.

rocksdict raises bare `Exception` for every kind of damage.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import structlog
from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
)

log = structlog.get_logger(__name__)

#: Of all stores of a process together, however many partitions it works.
BLOCK_CACHE_BYTES = 64 * 1024 * 1024
WRITE_BUFFERS_BYTES = 64 * 1024 * 1024
#: Of one store: with the default of 64 MiB, two would take all.
WRITE_BUFFER_BYTES = 8 * 1024 * 1024
#: What a store takes with its first write. The default of 1 MiB, of 64 stores, would be all.
ARENA_BLOCK_BYTES = 256 * 1024
MAX_OPEN_FILES = 64


class Database(Protocol):
    """Bytes to bytes, in the order of the keys, opened by one process at a time."""

    def get(self, key: bytes) -> bytes | None:
        """A key's value."""
        ...

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All entries whose keys begin so. Of a damaged file it may end early, without an error."""
        ...

    def all_keys(self) -> Iterator[bytes]:
        """All keys. Of a damaged file it may end early, without an error."""
        ...

    def write(self, entries: Mapping[bytes, bytes | None], dropped: Sequence[bytes] = ()) -> None:
        """Drop all whose keys begin so, put entries, delete those of None: all or nothing."""
        ...

    def close(self) -> None:
        """Close the files and their lock."""
        ...


class Disk(Protocol):
    """Where databases are."""

    def open(self, path: Path) -> Database:
        """Open or create the database in this folder."""
        ...

    def delete(self, path: Path) -> None:
        """Delete the folder.

        Raises:
            OSError: it is still there.
        """
        ...


class RocksDatabase:
    """A `Database`. Writes are not synced: they survive the process's end, not the power's."""

    def __init__(self, path: Path, options: Options) -> None:
        self._db = Rdict(str(path), options=options, access_type=AccessType.read_write())

    def get(self, key: bytes) -> bytes | None:
        """A key's value."""
        value: bytes | None = self._db.get(key)
        return value

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All entries whose keys begin so."""
        iterator = self._db.iter()
        iterator.seek(prefix)
        while iterator.valid() and (key := iterator.key()).startswith(prefix):
            yield key, iterator.value()
            iterator.next()

    def all_keys(self) -> Iterator[bytes]:
        """All keys."""
        return iter(self._db.keys())

    def write(self, entries: Mapping[bytes, bytes | None], dropped: Sequence[bytes] = ()) -> None:
        """Drop all whose keys begin so, put entries, delete those of None, in ONE write batch."""
        batch = WriteBatch(raw_mode=True)
        for prefix in dropped:
            batch.delete_range(prefix, _behind(prefix))
        for key, value in entries.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self._db.write(batch)

    def close(self) -> None:
        """Close the files and their lock.

        After a write that failed (a full disk) RocksDB reports it once more, and closes anyway.
        What it could not flush was committed before, and is in the changelog.
        """
        try:
            self._db.close()
        except Exception as error:  # noqa: BLE001 - as the module says
            log.warning("store closed with an error", error=str(error))


class StoresMemory(NamedTuple):
    """What all databases together take."""

    cache_bytes: int
    buffers_bytes: int


class RocksDisk:
    """The machine's own disk. All databases that it opens share one budget of memory.

    Args:
        cache_bytes: of files' blocks.
        buffers_bytes: of what is not in a file yet. Above, the store that is written flushes.
    """

    def __init__(
        self, cache_bytes: int = BLOCK_CACHE_BYTES, buffers_bytes: int = WRITE_BUFFERS_BYTES
    ) -> None:
        self._cache = Cache(cache_bytes)
        self._buffers = WriteBufferManager(buffers_bytes, allow_stall=False)

    def memory(self) -> StoresMemory:
        """Now."""
        return StoresMemory(self._cache.get_usage(), self._buffers.get_usage())

    def open(self, path: Path) -> Database:
        """Open or create the database in this folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        return RocksDatabase(path, _options(self._cache, self._buffers))

    def delete(self, path: Path) -> None:
        """Delete the folder.

        Raises:
            OSError: it is still there.
        """
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            raise OSError(f"could not delete {path}")


ROCKS_DISK = RocksDisk()


def _behind(prefix: bytes) -> bytes:
    """The first key behind all that begin so; a prefix is a number below its largest."""
    return (int.from_bytes(prefix) + 1).to_bytes(len(prefix))


def _options(cache: Cache, buffers: WriteBufferManager) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - RocksDB's own names
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_arena_block_size(ARENA_BLOCK_BYTES)
    options.set_write_buffer_manager(buffers)
    options.set_max_open_files(MAX_OPEN_FILES)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_bloom_filter(10, False)  # noqa: FBT003 - 10 bits a key, the full filter
    options.set_block_based_table_factory(table)
    return options
