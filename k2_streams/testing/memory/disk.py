"""A disk in memory: databases that outlive their process.

A write that was made survives the end of the process. The states before it are kept, so that a test
can go back to one, as a loss of power does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from k2_streams.state.rocks import StoresMemory
from k2_streams.testing.memory.loop import pause

Entries = dict[bytes, bytes]
#: States of a database that are kept, to go back to.
HISTORY_MAX = 8
#: Free bytes of a disk that nothing else fills.
FREE_BYTES = 1 << 40


class DamagedError(Exception):
    """Files that cannot be read."""


class MemoryDatabase:
    """A `Database` of a disk in memory."""

    def __init__(self, disk: "MemoryDisk", path: Path) -> None:
        self._disk = disk
        self._path = path
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        """A key's value."""
        # A read takes time in which others run, as they do beside a thread.
        pause(self._disk.read_s)
        return self._entries().get(key)

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All entries whose keys begin so, in the order of the keys."""
        for key, value in sorted(self._entries().items()):
            if key.startswith(prefix):
                yield key, value

    def all_keys(self) -> Iterator[bytes]:
        """All keys, in their order."""
        yield from sorted(self._entries())

    def write(self, entries: Mapping[bytes, bytes | None], dropped: Sequence[bytes] = ()) -> None:
        """Drop all whose keys begin so, put entries, delete those of None."""
        found = {
            key: value
            for key, value in self._entries().items()
            if not any(key.startswith(prefix) for prefix in dropped)
        }
        for key, value in entries.items():
            if value is None:
                found.pop(key, None)
            else:
                found[key] = value
        history = self._disk.databases[self._path]
        history.append(found)
        del history[:-HISTORY_MAX]
        self._disk.on_write(self._path, found)

    def close(self) -> None:
        """Give the lock back."""
        self._closed = True
        self._disk.opened.discard(self._path)

    def _entries(self) -> Entries:
        if self._closed:
            raise DamagedError("the database is closed")
        return self._disk.databases[self._path][-1]


class MemorySpill:
    """What a tail puts on the disk: nothing of it outlives the process."""

    def __init__(self) -> None:
        self._values: dict[tuple[int, int], bytes] = {}

    def put(self, partition: int, log_offset: int, value: bytes) -> None:
        """Store a value."""
        self._values[partition, log_offset] = value

    def get(self, partition: int, log_offset: int) -> bytes | None:
        """A value; None where it was dropped."""
        return self._values.get((partition, log_offset))

    def drop_below(self, partition: int, log_offset: int) -> None:
        """Drop the values of a partition below an offset."""
        for key in [k for k in self._values if k[0] == partition and k[1] < log_offset]:
            del self._values[key]

    def clear(self) -> None:
        """Drop everything."""
        self._values.clear()

    def reclaim(self) -> None:
        """Nothing is left of what was dropped."""


class MemoryDisk:
    """Of one worker's machine; its databases are at most one process's at a time.

    Args:
        on_write: called with a database's folder and content after each write.
        free_bytes: that nothing else fills.
        read_s: how long a read takes.
    """

    def __init__(
        self,
        on_write: Callable[[Path, Entries], None] = lambda _path, _entries: None,
        *,
        free_bytes: int = FREE_BYTES,
        read_s: float = 0.0,
    ) -> None:
        self.free = free_bytes
        self.databases: dict[Path, list[Entries]] = {}
        self.opened: set[Path] = set()
        self.broken: set[Path] = set()
        self.on_write = on_write
        self.read_s = read_s

    def memory(self) -> StoresMemory:
        """What all databases together take: nothing that is counted."""
        return StoresMemory(0, 0)

    def new_spill(self, path: Path) -> MemorySpill:  # noqa: ARG002 - each is a store of its own
        """An empty store for a tail."""
        return MemorySpill()

    def free_bytes(self, path: Path) -> int:  # noqa: ARG002 - one disk holds all folders
        """Free space."""
        return self.free

    def open(self, path: Path) -> MemoryDatabase:
        """Open or create the database in this folder.

        Raises:
            DamagedError: it is broken, or another process has it.
        """
        if path in self.opened:
            raise DamagedError(f"{path.name}: held by another")
        if path in self.broken:
            raise DamagedError(f"{path.name}: corruption")
        self.databases.setdefault(path, [{}])
        self.opened.add(path)
        return MemoryDatabase(self, path)

    def delete(self, path: Path) -> None:
        """Delete the folder."""
        self.databases.pop(path, None)
        self.broken.discard(path)

    def empty(self) -> None:
        """Delete everything."""
        self.databases.clear()
        self.opened.clear()
        self.broken.clear()

    def crash(self) -> None:
        """The process ended: its locks are gone, what it wrote is there."""
        self.opened.clear()
