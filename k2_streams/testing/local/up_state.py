"""What `k2 up` left running, as it is kept in the data directory: enough to find and to stop it.

A process id alone proves nothing, since the system gives it out again: the process must have been
started for this very directory and worker number.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import psutil

from k2_streams.runtime.settings.groups import Role
from k2_streams.testing.local.workers import STOP_WITHIN_S

STATE_NAME = "up.json"
_LOCK_NAME = "up.lock"


class PlatformMember(msgspec.Struct, frozen=True, kw_only=True):
    """A worker or a query node that was started."""

    pid: int
    url: str = ""
    worker_id: int = 0
    role: Role = "all"

    @property
    def name(self) -> str:
        """What it is called for people."""
        return f"{'query node' if self.role == 'query' else 'worker'} {self.worker_id}"


class UpState(msgspec.Struct, frozen=True, kw_only=True):
    """One `k2 up`."""

    own_broker: bool  # the data directory's broker is this one's to stop
    bootstrap: str = ""
    members: tuple[PlatformMember, ...] = ()

    def with_member(self, member: PlatformMember) -> "UpState":
        """The same, with one more, in the place of one that had its id."""
        others = [one for one in self.members if one.worker_id != member.worker_id]
        members = sorted([*others, member], key=lambda one: one.worker_id)
        return msgspec.structs.replace(self, members=tuple(members))


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
    """What was kept; its members may have ended since."""
    try:
        return msgspec.json.decode((directory / STATE_NAME).read_bytes(), type=UpState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def process_of(directory: Path, member: PlatformMember) -> psutil.Process | None:
    """The live process of a member of this directory, or None."""
    try:
        process = psutil.Process(member.pid)
        told = process.environ()
    except psutil.Error:
        return None
    ours = {"K2_DATA_DIR": str(directory), "K2_WORKER_ID": str(member.worker_id)}
    return process if all(told.get(name) == value for name, value in ours.items()) else None


def running(directory: Path, state: UpState | None) -> dict[PlatformMember, psutil.Process]:
    """The live members of this directory."""
    members = () if state is None else state.members
    found = {member: process_of(directory, member) for member in members}
    return {member: process for member, process in found.items() if process is not None}


def stop(processes: Sequence[psutil.Process]) -> set[int]:
    """End them in order, all at the same time; the ids of those that had to be killed.

    Whoever has not ended within `STOP_WITHIN_S` is killed. All are gone when this returns.
    """
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()  # a stopped process takes no signal but this
            process.terminate()
    _, late = psutil.wait_procs(processes, STOP_WITHIN_S)
    for process in late:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(late, STOP_WITHIN_S)
    return {process.pid for process in late}
