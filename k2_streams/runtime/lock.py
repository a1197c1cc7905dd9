"""What one worker has for itself: a data directory and a web port."""

import fcntl
import os
import socket
from pathlib import Path


class DirectoryHeldError(Exception):
    """Another process works in this directory."""


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
