"""Watches what `bring_up` started, for as long as its starter stays."""

import time
from pathlib import Path

from k2_streams.testing.local import up_state
from k2_streams.testing.local.up import local_broker
from k2_streams.testing.local.up_state import PlatformMember, UpState
from k2_streams.testing.local.workers import LocalWorker, last_lines

#: Between two looks whether everything still runs: each asks the broker.
LOOK_EVERY_S = 1.0


class EndedError(Exception):
    """A process that was to run has ended; the text says which, and has the end of its log."""


def watch(directory: Path, state: UpState) -> None:
    """Return when somebody else has stopped all of it by `bring_down`.

    Raises:
        EndedError: a member or its Kafka has ended.
    """
    while (ended := _find_ended(directory, state)) is None:
        time.sleep(LOOK_EVERY_S)
    with up_state.alone(directory):  # behind a `bring_down` that is at work
        if up_state.recall(directory) is not None:
            raise EndedError(ended)


def _find_ended(directory: Path, state: UpState) -> str | None:
    """What has ended, as people need it; None: nothing."""
    running = up_state.running(directory, state)
    for member in state.members:
        if member not in running:
            log_file = log_file_of(directory, member)
            return f"{member.name} has ended, {log_file}:\n{last_lines(log_file)}"
    broker = local_broker(directory)
    if state.own_broker and not broker.status().running:
        return f"Kafka has ended, {broker.log_file}:\n{last_lines(broker.log_file)}"
    return None


def log_file_of(directory: Path, member: PlatformMember) -> Path:
    """Where a member writes its log."""
    return LocalWorker(directory, "", member.worker_id, port=1).log_file
