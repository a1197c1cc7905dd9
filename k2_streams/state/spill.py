"""Where the tail's batches go when memory is full: RocksDB, by partition and offset.

Nothing in it outlives the process: at the start it is emptied, since the log is the truth.
"""

import shutil
import struct
from pathlib import Path

from rocksdict import AccessType, Options, Rdict

_KEY = struct.Struct(">IQ")  # sorts by partition, then offset
#: 16 MiB of log records, 100 MB in memory: few enough files, little memory.
_WRITE_BUFFER_BYTES = 16 * 2**20
#: Batches come compressed, are written once and read seldom: files of one level would do.
_MAX_OPEN_FILES = 64


class Spill:
    """A `SpillStore` on disk. Any thread may call it.

    Args:
        path: a folder of its own; it is created, and its content is lost at `clear`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: Rdict | None = None
        self._open()

    def put(self, partition: int, log_offset: int, value: bytes) -> None:
        """Keep a value."""
        self._rows()[_KEY.pack(partition, log_offset)] = value

    def get(self, partition: int, log_offset: int) -> bytes | None:
        """A value, or None where it was dropped."""
        value: bytes | None = self._rows().get(_KEY.pack(partition, log_offset))
        return value

    def drop_below(self, partition: int, log_offset: int) -> None:
        """Drop the values of a partition below an offset."""
        self._rows().delete_range(_KEY.pack(partition, 0), _KEY.pack(partition, log_offset))

    def reclaim(self) -> None:
        """Give the disk back what was dropped: RocksDB does so only when more is written."""
        self._rows().compact_range(None, None)

    def clear(self) -> None:
        """Drop everything, and the files with it."""
        self.close()
        shutil.rmtree(self._path, ignore_errors=True)
        self._open()

    def close(self) -> None:
        """Close the files and their lock; nothing can be asked any more."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _open(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)  # noqa: FBT003 (a setter takes no name)
        options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
        options.set_max_write_buffer_number(3)
        options.set_max_open_files(_MAX_OPEN_FILES)
        self._db = Rdict(str(self._path), options=options, access_type=AccessType.read_write())

    def _rows(self) -> Rdict:
        if self._db is None:
            raise RuntimeError("the spill store is closed")
        return self._db
