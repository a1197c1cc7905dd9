"""What `k2 up` and `k2 down` do: a local Kafka, workers and query nodes that outlive the command.

What is left running is written to the data directory as soon as it is started (`up_state`), so that
`down` finds it whatever happens to `up`.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.kafka.topics import TopicAdmin
from k2_streams.runtime.settings.groups import Role
from k2_streams.runtime.settings.tools import local_broker_settings
from k2_streams.runtime.settings.worker import Settings
from k2_streams.testing.local import up_state
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.installed import java_program, kafka_jars
from k2_streams.testing.local.loopback import free_ports, is_free
from k2_streams.testing.local.up_state import PlatformMember, UpState
from k2_streams.testing.local.workers import (
    READY_WITHIN_S,
    LocalWorker,
    WorkerError,
)
from k2_streams.testing.waiting import StuckError, wait_until


class UpError(Exception):
    """It cannot be started as asked; the text says what to do. What ran before still runs."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What is to run.

    Attributes:
        workers: how many, with the ids from `K2_WORKER_ID` on and the role that the settings have.
        query_nodes: how many, with the ids after those.
        free_ports: every process gets a port that nobody listens on; else worker n has the
            settings' port plus n.
    """

    workers: int = 1
    query_nodes: int = 0
    free_ports: bool = False


class UpResult(NamedTuple):
    """What runs, and which of it this call started."""

    state: UpState
    started: frozenset[int]  # ids


class DownResult(NamedTuple):
    """What `bring_down` stopped."""

    members: tuple[PlatformMember, ...]
    killed: frozenset[int]  # ids of those that did not stop in time
    broker: bool


def bring_up(settings: Settings, platform: Platform = Platform()) -> UpResult:
    """All of it running and ready. What ran before goes on.

    Raises:
        UpError: a port is busy, Kafka is unreachable, or a worker runs with other settings.
        BrokerError, WorkerError, SettingsError: one did not start; nothing that this call started
            runs.
    """
    given = settings.kafka.bootstrap if settings.is_set("bootstrap") else None
    with up_state.alone(settings.data_dir), contextlib.ExitStack() as undo:
        state = up_state.recall(settings.data_dir)
        running = {one.worker_id: one for one in up_state.running(settings.data_dir, state)}
        wanted = _wanted(settings, platform, running)
        missing = [one for one in wanted if one.worker_id not in running]
        if state is not None and running:
            _check_same(settings, given, state, wanted, running)
        _check_ports(missing)
        undo.callback(_restore, settings.data_dir, state if running else None)
        state = _with_broker(settings, given, state, running, undo)
        state, started = _start(settings.data_dir, state, missing, undo)
        _wait_ready(settings.data_dir, state, started)
        undo.pop_all()
    return UpResult(state, frozenset(one.worker_id for one in missing))


def bring_down(directory: Path) -> DownResult:
    """Stop the processes and the Kafka that `bring_up` started, by their ids; data stay."""
    if not directory.is_dir():
        return DownResult((), frozenset(), broker=False)
    with up_state.alone(directory):
        state = up_state.recall(directory)
        found = up_state.running(directory, state)
        killed = up_state.stop(list(found.values()))
        broker = state is not None and state.own_broker and local_broker(directory).stop()
        up_state.forget(directory)
    late = frozenset(one.worker_id for one in found if one.pid in killed)
    return DownResult(tuple(found), late, broker)


class _Wanted(NamedTuple):
    """A process that is to run."""

    worker_id: int
    role: Role
    port: int
    url: str


def _wanted(
    settings: Settings, platform: Platform, running: dict[int, PlatformMember]
) -> list[_Wanted]:
    count = platform.workers + platform.query_nodes
    ports: Iterator[int] = iter(free_ports(count) if platform.free_ports else ())
    found = []
    for number in range(count):
        worker_id = settings.worker_id + number
        role: Role = settings.role if number < platform.workers else "query"
        port = next(ports, settings.web_base_port + worker_id)
        url = _url(settings, port)
        if platform.free_ports and worker_id in running:
            url = running[worker_id].url
        found.append(_Wanted(worker_id, role, port, url))
    return found


def _url(settings: Settings, port: int) -> str:
    host = settings.web_host
    if host in {"0.0.0.0", "::", "localhost"}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _local_worker(directory: Path, bootstrap: str, wanted: _Wanted) -> LocalWorker:
    """The process, not started. A query node keeps no tables, whatever the settings say."""
    of_role: dict[str, str] = {"K2_ROLE": wanted.role}
    if wanted.role == "query":
        of_role["K2_MAINTENANCE"] = "0"
    worker = LocalWorker(directory, bootstrap, wanted.worker_id, of_role, port=wanted.port)
    worker.url = wanted.url
    return worker


def _check_ports(missing: Sequence[_Wanted]) -> None:
    """Refuse busy ports before anything runs."""
    busy = [one.port for one in missing if not is_free(one.port)]
    if busy:
        raise UpError(
            f"port {', '.join(map(str, busy))} on 127.0.0.1 is busy: stop what listens there, or "
            "choose another one for the web with K2_WEB_PORT (the first of several), or "
            "--free-ports"
        )


def _check_same(
    settings: Settings,
    given: str | None,
    state: UpState,
    wanted: Sequence[_Wanted],
    running: dict[int, PlatformMember],
) -> None:
    """Refuse to take a process with other settings for the one that was asked for."""
    for one in wanted:
        found = running.get(one.worker_id)
        if found is None:
            continue
        is_same = (found.url, found.role) == (one.url, one.role)
        if not is_same or given not in {None, state.bootstrap}:
            raise UpError(
                f"a worker of {settings.data_dir} already runs at {found.url} on the Kafka at "
                f"{state.bootstrap} (K2_ROLE={found.role}), not at {one.url} on "
                f"{given or state.bootstrap} (K2_ROLE={one.role}): `k2 down` first"
            )


def _restore(directory: Path, before: UpState | None) -> None:
    """What ran before this call is what is left."""
    if before is None:
        up_state.forget(directory)
    else:
        up_state.remember(directory, before)


def _with_broker(
    settings: Settings,
    given: str | None,
    before: UpState | None,
    running: dict[int, PlatformMember],
    undo: contextlib.ExitStack,
) -> UpState:
    """The state with a Kafka that runs; `undo` stops one that was started here.

    That the broker is ours to stop is written before it starts.
    """
    directory = settings.data_dir
    own_broker = before is not None and before.own_broker
    members = tuple(running.values())
    if given is not None and not (running and own_broker):
        asyncio.run(_check_reached(settings))
        return UpState(own_broker=own_broker, bootstrap=given, members=members)
    if before is not None and running:
        if own_broker:  # on the port that its workers know
            port = int(before.bootstrap.rpartition(":")[2])
            local_broker(directory, port).start()
        return UpState(own_broker=own_broker, bootstrap=before.bootstrap, members=members)
    up_state.remember(directory, UpState(own_broker=True))
    return UpState(own_broker=True, bootstrap=_start_broker(directory, undo))


def local_broker(directory: Path, port: int = 0) -> LocalBroker:
    """The Kafka of a data directory, as `bring_up` starts it."""
    jars = kafka_jars()
    return LocalBroker(directory / "broker", jars, port=port, java=java_program(), detached=True)


def _start_broker(directory: Path, undo: contextlib.ExitStack) -> str:
    """The address of the directory's broker, started on its port unless it runs on any."""
    if local_broker(directory).status().running:
        return local_broker(directory).start()
    port = local_broker_settings().broker_port
    try:
        undo.callback(local_broker(directory).stop)
        return local_broker(directory, port).start()
    except BrokerError as error:
        if port and not is_free(port):
            raise UpError(
                f"{error}: for another one for Kafka set K2_BROKER_PORT, to use a Kafka that is "
                "already there K2_BOOTSTRAP"
            ) from error
        raise


async def _check_reached(settings: Settings) -> None:
    try:
        async with TopicAdmin(settings.kafka):
            return
    except UNREACHABLE as error:
        raise UpError(
            f"no broker answers at {settings.kafka.bootstrap} (K2_BOOTSTRAP): {error}"
        ) from error


def _start(
    directory: Path, state: UpState, missing: Sequence[_Wanted], undo: contextlib.ExitStack
) -> tuple[UpState, dict[PlatformMember, LocalWorker]]:
    """Start processes, none of which is ready yet; `undo` kills them.

    Each process id is written at once: `bring_down` finds it, whatever happens to this process.
    """
    started = {}
    for wanted in missing:
        worker = _local_worker(directory, state.bootstrap, wanted)
        undo.callback(worker.kill)
        worker.start()
        assert worker.process is not None  # noqa: S101 - just started
        member = PlatformMember(
            pid=worker.process.pid, url=wanted.url, worker_id=wanted.worker_id, role=wanted.role
        )
        started[member] = worker
        state = state.with_member(member)
        up_state.remember(directory, state)
    return state, started


def _wait_ready(
    directory: Path, state: UpState, started: Mapping[PlatformMember, LocalWorker]
) -> None:
    """Wait until every member answers.

    Raises:
        WorkerError: one has ended, or takes too long.
    """
    for member in state.members:
        try:
            if member in started:
                started[member].wait_ready()
            else:
                _wait_again(directory, member)
        except WorkerError as error:
            raise WorkerError(f"{member.name}: {error}") from error


def _wait_again(directory: Path, member: PlatformMember) -> None:
    """Wait for a process that an earlier call has started."""
    worker = LocalWorker(directory, "", member.worker_id, port=1)
    worker.url = member.url

    def ready() -> bool:
        if worker.is_ready():
            return True
        if up_state.process_of(directory, member) is None:
            raise WorkerError(f"worker ended\n{worker.last_words()}")
        return False

    try:
        wait_until(ready, "worker ready", READY_WITHIN_S)
    except StuckError as error:
        raise WorkerError(
            f"not ready after {READY_WITHIN_S:.0f} s\n{worker.last_words()}"
        ) from error
