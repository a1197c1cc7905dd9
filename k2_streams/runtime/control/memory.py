"""The process's memory, and what it may take: a setting, else the cgroups', else the machine's."""

import ctypes
import gc
from pathlib import Path
from typing import Protocol

import psutil
import pyarrow as pa

from k2_streams.runtime.control.cgroup import tightest_limit_bytes

_MIB = 1 << 20
#: Of queries, where no setting says: so much, but no more than this part of what the process may
#: take, and never less than this.
QUERY_BYTES_MOST = 512 * _MIB
QUERY_PART = 8
QUERY_BYTES_LEAST = 64 * _MIB


class WorkerMemory(Protocol):
    """A process's memory.

    Attributes:
        limit_bytes: what it may take.
        used_bytes: what was resident when it was measured last.
    """

    limit_bytes: int
    used_bytes: int

    def measure(self) -> float:
        """The share of the limit that is resident now."""
        ...

    def release_arrow(self) -> None:
        """Return what Arrow's allocator keeps for the calling thread. Takes microseconds."""
        ...

    def trim(self) -> None:
        """Return what all allocators keep. Takes some ms."""
        ...

    def release(self) -> None:
        """Return what nobody refers to, and what all allocators keep. Takes some ten ms."""
        ...


class ProcessMemory:
    """This process's.

    Args:
        limit_bytes: by setting; None: the tightest of the cgroups' limits and the machine's memory.
    """

    def __init__(self, limit_bytes: int | None) -> None:
        self.limit_bytes = limit_bytes or found_limit_bytes()
        self.used_bytes = 0
        self._process = psutil.Process()

    def measure(self) -> float:
        """The share of the limit that is resident now."""
        self.used_bytes = int(self._process.memory_info().rss)
        return self.used_bytes / self.limit_bytes

    def release_arrow(self) -> None:
        """Return what Arrow's allocator keeps for the calling thread."""
        pa.default_memory_pool().release_unused()

    def trim(self) -> None:
        """Return what Arrow's allocator keeps for the calling thread, and the C library for all."""
        self.release_arrow()
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if malloc_trim is not None:
            malloc_trim(0)

    def release(self) -> None:
        """Return what nobody refers to from outside, and what allocators keep, to the system."""
        gc.collect()
        self.trim()


def found_limit_bytes(root: Path = Path("/")) -> int:
    """The smaller of the tightest limit of the process's cgroups and the machine's memory.

    Args:
        root: of the file system, to look elsewhere in a test.
    """
    machine = int(psutil.virtual_memory().total)
    limit = tightest_limit_bytes(root)
    return machine if limit is None else min(limit, machine)


def query_limit_bytes(limit_bytes: int) -> int:
    """What queries may take of a process that may take `limit_bytes`.

    They fill it with the footers of the lake's files sooner or later: they must leave the rest of
    the worker its room.
    """
    return max(QUERY_BYTES_LEAST, min(QUERY_BYTES_MOST, limit_bytes // QUERY_PART))
