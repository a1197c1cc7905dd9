"""A simulated disk: databases that outlive their process, and what can become of them.

A write that was made survives the end of the process. What was written since a moment the seed
chooses may be gone after a loss of power, files may be damaged, lost, or another partition's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from k2_streams.state.rocks import StoresMemory
from simulation.chaos import Chaos
from simulation.loop import pause

Rows = dict[bytes, bytes]
#: States of a database that are kept, to go back to.
HISTORY_MAX = 8
#: Of a disk that nothing else fills.
FREE_BYTES = 1_000_000


class DamagedError(Exception):
    """Files that cannot be read."""


class SimDatabase:
    """A `Database` of a simulated disk."""

    def __init__(self, disk: "SimDisk", path: Path) -> None:
        self._disk = disk
        self._path = path
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        # A read takes time in which others run, as they do beside a thread.
        pause(0.0001)
        return self._rows().get(key)

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        for key, value in sorted(self._rows().items()):
            if key.startswith(prefix):
                yield key, value

    def all_keys(self) -> Iterator[bytes]:
        yield from sorted(self._rows())

    def write(self, entries: Mapping[bytes, bytes | None], dropped: Sequence[bytes] = ()) -> None:
        rows = {
            key: value
            for key, value in self._rows().items()
            if not any(key.startswith(prefix) for prefix in dropped)
        }
        for key, value in entries.items():
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        history = self._disk.databases[self._path]
        history.append(rows)
        del history[:-HISTORY_MAX]
        self._disk.on_write(self._path, rows)

    def close(self) -> None:
        self._closed = True
        self._disk.opened.discard(self._path)

    def _rows(self) -> Rows:
        if self._closed:
            raise DamagedError("the database is closed")
        return self._disk.databases[self._path][-1]


class SimSpill:
    """What a tail puts on the disk: nothing of it outlives the process."""

    def __init__(self) -> None:
        self._values: dict[tuple[int, int], bytes] = {}

    def put(self, partition: int, log_offset: int, value: bytes) -> None:
        self._values[partition, log_offset] = value

    def get(self, partition: int, log_offset: int) -> bytes | None:
        return self._values.get((partition, log_offset))

    def drop_below(self, partition: int, log_offset: int) -> None:
        for key in [k for k in self._values if k[0] == partition and k[1] < log_offset]:
            del self._values[key]

    def clear(self) -> None:
        self._values.clear()

    def reclaim(self) -> None:
        """Nothing is kept of what was dropped."""


class SimDisk:
    """Of one worker's machine; its databases are at most one process's at a time."""

    def __init__(self, on_write: Callable[[Path, Rows], None]) -> None:
        self.free = FREE_BYTES
        self.databases: dict[Path, list[Rows]] = {}
        self.opened: set[Path] = set()
        self.broken: set[Path] = set()
        self.on_write = on_write

    def memory(self) -> StoresMemory:
        return StoresMemory(0, 0)

    def new_spill(self, path: Path) -> SimSpill:
        return SimSpill()

    def free_bytes(self, path: Path) -> int:
        return self.free

    def open(self, path: Path) -> SimDatabase:
        if path in self.opened:
            raise DamagedError(f"{path.name}: held by another")
        if path in self.broken:
            raise DamagedError(f"{path.name}: corruption")
        self.databases.setdefault(path, [{}])
        self.opened.add(path)
        return SimDatabase(self, path)

    def delete(self, path: Path) -> None:
        self.databases.pop(path, None)
        self.broken.discard(path)

    def crash(self) -> None:
        """The process ended: its locks are gone, what it wrote is there."""
        self.opened.clear()

    def spoil(self, chaos: Chaos) -> str:
        """Something happens to one database; what."""
        chance = chaos.chance
        paths = sorted(self.databases)
        if not paths:
            return "nothing"
        path = chance.choice(paths)
        history = self.databases[path]
        kind = chance.choice(["older", "lost", "other", "broken", "row", "end", "meta"])
        rows = dict(history[-1])
        keys = sorted(rows)
        if kind == "older":
            del history[chance.randrange(len(history)) + 1 :]
        elif kind == "lost":
            del self.databases[path]
        elif kind == "other":
            self.databases[path] = [dict(self.databases[chance.choice(paths)][-1])]
        elif kind == "broken":
            self.broken.add(path)
        elif kind == "row" and keys:
            key = chance.choice(keys)
            rows[key] = rows[key][:-1] + bytes([rows[key][-1] ^ 1]) if rows[key] else b"?"
            history.append(rows)
        elif kind == "end" and keys:
            history.append({key: rows[key] for key in keys[: chance.randrange(len(keys))]})
        elif kind == "meta":
            rows.pop(b"\x00meta", None)
            history.append(rows)
        return f"{kind} {path.parent.name}/{path.name}"
