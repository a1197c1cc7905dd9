"""Where the tails' batches go when memory is full: RocksDB, by tail, partition and offset.

All tails of a worker share one database: each of its own would take files, memory and threads, also
where it holds nothing. Nothing in it outlives the process: at the start it is emptied, since the
logs are the truth.
"""

import shutil
import struct
from pathlib import Path

from rocksdict import AccessType, Options, Rdict

_KEY = struct.Struct(">HIQ")  # sorts by tail, partition, then offset
#: The largest partition that a key can name.
_PARTITION_MAX = 2**32 - 1
#: 16 MiB of log records, 100 MB in memory: few enough files, little memory.
_WRITE_BUFFER_BYTES = 16 * 2**20
#: Batches come compressed, are written once and read seldom: a file that is read is opened again.
#: RocksDB takes no fewer.
MAX_OPEN_FILES = 20


class SpillDatabase:
    """What spills of all tails of one worker.

    Args:
        path: a folder of its own; it is created, and its content is lost.
    """

    def __init__(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)  # noqa: FBT003 (a setter takes no name)
        options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
        options.set_max_write_buffer_number(3)
        options.set_max_open_files(MAX_OPEN_FILES)
        self._rows = Rdict(str(path), options=options, access_type=AccessType.read_write())
        self._tails = 0

    def new_tail(self) -> "Spill":
        """An empty part for one more tail."""
        self._tails += 1
        return Spill(self._rows, self._tails)

    def close(self) -> None:
        """Close the files and their lock; nothing can be asked any more."""
        self._rows.close()


class Spill:
    """A `SpillStore` on disk. Any thread may call it.

    Args:
        rows: the database.
        tail: the number of the tail in it.
    """

    def __init__(self, rows: Rdict, tail: int) -> None:
        self._rows = rows
        self._tail = tail

    def put(self, partition: int, log_offset: int, value: bytes) -> None:
        """Keep a value."""
        self._rows[self._key(partition, log_offset)] = value

    def get(self, partition: int, log_offset: int) -> bytes | None:
        """A value, or None where it was dropped."""
        value: bytes | None = self._rows.get(self._key(partition, log_offset))
        return value

    def drop_below(self, partition: int, log_offset: int) -> None:
        """Drop the values of a partition below an offset."""
        self._rows.delete_range(self._key(partition, 0), self._key(partition, log_offset))

    def reclaim(self) -> None:
        """Give the disk back what was dropped: RocksDB does so only when more is written."""
        self._rows.compact_range(self._key(0, 0), self._key(_PARTITION_MAX, 0))

    def clear(self) -> None:
        """Drop everything."""
        self._rows.delete_range(self._key(0, 0), self._key(_PARTITION_MAX, 0))

    def _key(self, partition: int, log_offset: int) -> bytes:
        return _KEY.pack(self._tail, partition, log_offset)
