"""A peer's process on a stage, and the measurement that is the same for all of them."""

import asyncio
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)

from bench.peers.figures import Measured
from bench.stage import cpu_s, peak_memory_mib
from k2_streams.testing.local.installed import java_program
from k2_streams.testing.local.processes import end_process
from k2_streams.testing.waiting import wait_until

#: What `make peers` fills.
BUILT = Path(__file__).resolve().parents[2] / ".cache" / "peers"
#: From the start of a process to its first commit: Quix Streams commits every 5 s.
FIRST_COMMIT_WITHIN_S = 120.0
#: Of a whole run: 6 M messages at 3,000 per second.
DONE_WITHIN_S = 2_000.0
#: Between two looks. A look costs some milliseconds of a core that the systems need as well.
LOOK_EVERY_S = 0.25
#: A peer that is told to end commits what is open; then it is killed.
STOP_WITHIN_S = 20.0
#: The first group of a broker has its coordinator's topic created.
COORDINATOR_COMES = (
    CoordinatorNotAvailableError,
    CoordinatorLoadInProgressError,
    NotCoordinatorError,
)
#: Of a peer's log, in the error when it ends by itself.
LAST_WORDS_BYTES = 2_000


class PeerEndedError(Exception):
    """A peer ended by itself; the text has its last words."""


def kafka_streams(bootstrap: str, source: str, output: str, group: str, folder: Path) -> list[str]:
    """The command of the Kafka Streams peer, with Java's own choice of collector and heap."""
    jars = BUILT / "kafka-streams"
    path = f"{jars}/kafka-streams-peer.jar:{jars}/lib/*"
    own = [bootstrap, source, output, group, str(folder)]
    return [java_program(), "-cp", path, "k2.peer.Peer", *own]


def quix(bootstrap: str, source: str, output: str, group: str, folder: Path) -> list[str]:
    """The command of the Quix Streams peer."""
    python = BUILT / "quix" / "venv" / "bin" / "python"
    own = [bootstrap, source, output, group, str(folder)]
    return [str(python), str(Path(__file__).parent / "quix" / "peer.py"), *own]


class PeerProcess:
    """A process that ends with the block, by its own id.

    Raises:
        FileNotFoundError: the peer has not been built.
    """

    def __init__(self, command: Sequence[str], log_file: Path) -> None:
        self._log_file = log_file
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self.measured = psutil.Process(self._process.pid)

    def check(self) -> None:
        """It runs.

        Raises:
            PeerEndedError: it does not.
        """
        code = self._process.poll()
        if code is not None:
            words = self._log_file.read_bytes()[-LAST_WORDS_BYTES:].decode(errors="replace")
            raise PeerEndedError(f"{self._process.args!r} ended with {code}\n{words}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end_process(self._process, STOP_WITHIN_S)


class GroupOffsets:
    """What a consumer group has committed of one topic, over one connection."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._group = group
        self._topic = topic
        self._runner = asyncio.Runner()
        self._admin = self._runner.run(_connected(bootstrap))

    def committed(self) -> Mapping[int, int]:
        """Per partition the next offset; none before the group's coordinator is there."""
        try:
            found = self._runner.run(self._admin.list_consumer_group_offsets(self._group))
        except COORDINATOR_COMES:
            return {}
        return {tp.partition: one.offset for tp, one in found.items() if tp.topic == self._topic}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.run(self._admin.close())
        self._runner.close()


async def _connected(bootstrap: str) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    return admin


def measure(
    process: psutil.Process,
    committed: Callable[[], int],
    is_done: Callable[[], bool],
    messages: int,
) -> Measured:
    """Rate and CPU of a process from its first commit until it is done.

    What the first commit holds is not counted: nobody saw when its work began.

    Args:
        process: of the system.
        committed: how many messages of the source are, now.
        is_done: whether all are, and what was made of them is where it belongs.
        messages: in all.
    """
    first = 0

    def has_begun() -> bool:
        nonlocal first
        first = committed()
        return first > 0

    began_s = wait_until(has_begun, "the first commit", FIRST_COMMIT_WITHIN_S, LOOK_EVERY_S)
    cpu_before_s = cpu_s(process)
    ended_s = wait_until(is_done, "all messages", DONE_WITHIN_S, LOOK_EVERY_S)
    worked = messages - first
    return Measured(
        rate_per_s=worked / (ended_s - began_s),
        cpu_s_per_million=(cpu_s(process) - cpu_before_s) / worked * 1e6,
        peak_mib=peak_memory_mib(process),
    )
