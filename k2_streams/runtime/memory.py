"""The process's memory, and what it may take: a setting, else the cgroup's, else the machine's."""

from pathlib import Path

import psutil

#: A cgroup without a limit says so with a word (v2) or with a number near 2^63 (v1).
_UNLIMITED_BYTES = 1 << 60
_MIB = 1 << 20
#: Of queries, where no setting says: so much, but no more than this part of what the process may
#: take, and never less than this.
QUERY_BYTES_MOST = 512 * _MIB
QUERY_PART = 8
QUERY_BYTES_LEAST = 64 * _MIB
_CGROUP_FILES = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class Memory:
    """Measures this process.

    Args:
        limit_bytes: by setting; None: the smaller of the cgroup's limit and the machine's memory.
    """

    def __init__(self, limit_bytes: int | None) -> None:
        self.limit_bytes = limit_bytes or found_limit_bytes()
        self.used_bytes = 0
        self._process = psutil.Process()

    def measure(self) -> float:
        """The share of the limit that is resident now."""
        self.used_bytes = int(self._process.memory_info().rss)
        return self.used_bytes / self.limit_bytes


def found_limit_bytes(files: tuple[Path, ...] = _CGROUP_FILES) -> int:
    """The smaller of the cgroup's limit and the machine's memory."""
    machine = int(psutil.virtual_memory().total)
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue  # not this version of cgroups
        if text.isdigit() and 0 < int(text) < _UNLIMITED_BYTES:
            return min(int(text), machine)
    return machine


def query_limit_bytes(limit_bytes: int) -> int:
    """What queries may take of a process that may take `limit_bytes`.

    They fill it with the footers of the lake's files sooner or later: they must leave the rest of
    the worker its room.
    """
    return max(QUERY_BYTES_LEAST, min(QUERY_BYTES_MOST, limit_bytes // QUERY_PART))
