"""One worker per data directory: a file lock that dies with its process."""

import fcntl
import os
from pathlib import Path


class DirectoryHeldError(Exception):
    """Another process works in this directory."""


class DirectoryLock:
    """Held from creation to `release`, or to the end of the process, however it ends."""

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises:
            DirectoryHeldError: another process holds it.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / "lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise DirectoryHeldError(
                f"{directory} is in use by process {holder}: give this worker another K2_WORKER_ID"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let go."""
        self._file.close()
