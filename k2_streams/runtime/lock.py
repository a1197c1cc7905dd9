"""What one worker has for itself: a data directory and a web port."""

import fcntl
import os
import socket
from pathlib import Path

#: The stores of a few partitions, the lock and the catalog, before anything is in them.
PROBE_BYTES = 1 << 20


class DirectoryHeldError(Exception):
    """Another process works in this directory."""


class DirectoryUnusableError(Exception):
    """It cannot be created or written."""


class PortHeldError(Exception):
    """Another process listens on the port."""


def check_port(host: str, port: int) -> None:
    """See that the web can listen there.

    Raises:
        PortHeldError: it cannot.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortHeldError(
                f"web port {host}:{port} cannot be used ({error.strerror}): set K2_WEB_PORT"
            ) from None


class DirectoryLock:
    """Held from creation to `release`, or to the end of the process, however it ends."""

    def __init__(self, directory: Path) -> None:
        """Take the lock, and see that the directory can be written.

        Raises:
            DirectoryHeldError: another process holds it.
            DirectoryUnusableError: it cannot be created or written, or its disk is full.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = (directory / "lock").open("a+")
        except OSError as error:
            raise _unusable(directory, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise DirectoryHeldError(
                f"{directory} is in use by process {holder}: give this worker another K2_WORKER_ID"
            ) from None
        try:
            self._file.truncate(0)
            self._file.write(str(os.getpid()))
            self._file.flush()
            _write_probe(directory / "write-probe")
        except OSError as error:
            raise _unusable(directory, error) from error

    def release(self) -> None:
        """Close the file, which ends the lock."""
        self._file.close()


def is_held(directory: Path) -> bool:
    """Whether a process holds the directory's lock; nothing is written."""
    try:
        file = (directory / "lock").open()
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _write_probe(file: Path) -> None:
    """Write as much as the first files need: an empty file fits on a full disk."""
    try:
        with file.open("wb") as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    finally:
        file.unlink(missing_ok=True)


def _unusable(directory: Path, error: OSError) -> DirectoryUnusableError:
    return DirectoryUnusableError(
        f"{directory} cannot be written ({error.strerror}): free some space, or set K2_DATA_DIR to "
        "a folder that can be written"
    )
