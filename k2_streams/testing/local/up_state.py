"""What `k2 up` left running, as it is kept in the data directory: enough to find and to stop it.

A process id alone proves nothing, since the system gives it out again: the process must have been
started for this very directory and worker number.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from k2_streams.testing.local.workers import STOP_WITHIN_S

STATE_NAME = "up.json"
_LOCK_NAME = "up.lock"


class UpState(msgspec.Struct, frozen=True, kw_only=True):
    """One `k2 up`."""

    own_broker: bool  # the data directory's broker is this one's to stop
    bootstrap: str = ""
    url: str = ""
    worker_id: int = 0
    pid: int | None = None  # of the worker; None: not started yet


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Alone among those who start and stop in this directory; waits for its turn."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remember(directory: Path, state: UpState) -> None:
    """Keep it, whole or not at all."""
    beside = directory / f".{STATE_NAME}.{os.getpid()}.tmp"
    beside.write_bytes(msgspec.json.encode(state))
    beside.replace(directory / STATE_NAME)


def forget(directory: Path) -> None:
    """Nothing is left running."""
    (directory / STATE_NAME).unlink(missing_ok=True)


def recall(directory: Path) -> UpState | None:
    """What was kept; its worker may have ended since."""
    try:
        return msgspec.json.decode((directory / STATE_NAME).read_bytes(), type=UpState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def worker_process(directory: Path, state: UpState | None) -> psutil.Process | None:
    """The live worker of this directory, or None."""
    if state is None or state.pid is None:
        return None
    try:
        process = psutil.Process(state.pid)
        told = process.environ()
    except psutil.Error:
        return None
    ours = {"K2_DATA_DIR": str(directory), "K2_WORKER_ID": str(state.worker_id)}
    return process if all(told.get(name) == value for name, value in ours.items()) else None


def stop_worker(process: psutil.Process) -> bool:
    """End it in order, or at once if it has not within `STOP_WITHIN_S`; whether in order.

    The process is gone when this returns.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        process.resume()  # a stopped process takes no signal but this
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_WITHIN_S)
            return False
    return True
