"""What `k2 up` and `k2 down` do: a local Kafka and a worker that outlive the command.

What is left running is written to the data directory before it is started (`up_state`), so that
`down` finds it whatever happens to `up`.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import NamedTuple

from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.kafka.topics import TopicAdmin
from k2_streams.runtime.settings.tools import local_broker_settings
from k2_streams.runtime.settings.worker import Settings
from k2_streams.testing.local import up_state
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.installed import java_program, kafka_jars
from k2_streams.testing.local.loopback import is_free
from k2_streams.testing.local.up_state import UpState
from k2_streams.testing.local.workers import READY_WITHIN_S, LocalWorker, WorkerError
from k2_streams.testing.waiting import StuckError, wait_until


class UpError(Exception):
    """It cannot be started as asked; the text says what to do. What ran before still runs."""


class DownResult(NamedTuple):
    """What `bring_down` stopped."""

    worker: bool
    in_order: bool  # False: the worker was killed, since it did not stop in time
    broker: bool


def bring_up(settings: Settings) -> tuple[UpState, bool]:
    """Both running and ready: what runs, and whether this call started the worker.

    Raises:
        UpError: a port is busy, Kafka is unreachable, or a worker runs with other settings.
        BrokerError, WorkerError, SettingsError: one did not start; nothing that this call started
            runs.
    """
    given = settings.kafka.bootstrap if settings.is_set("bootstrap") else None
    with up_state.alone(settings.data_dir), contextlib.ExitStack() as undo:
        state = up_state.recall(settings.data_dir)
        if state is None or up_state.worker_process(settings.data_dir, state) is None:
            state, started = _start(settings, given, state, undo), True
        else:
            _check_same(settings, given, state)
            _continue(settings, state)
            started = False
        undo.pop_all()
    return state, started


def bring_down(directory: Path) -> DownResult:
    """Stop the worker and the Kafka that `bring_up` started, by their process ids; data stay."""
    if not directory.is_dir():
        return DownResult(worker=False, in_order=True, broker=False)
    with up_state.alone(directory):
        state = up_state.recall(directory)
        process = up_state.worker_process(directory, state)
        in_order = process is None or up_state.stop_worker(process)
        broker = state is not None and state.own_broker and _local_broker(directory).stop()
        up_state.forget(directory)
    return DownResult(worker=process is not None, in_order=in_order, broker=broker)


def worker_of(settings: Settings, bootstrap: str) -> LocalWorker:
    """The worker of these settings, not started."""
    worker = LocalWorker(settings.data_dir, bootstrap, settings.worker_id, port=settings.web_port)
    if settings.web_host not in {"0.0.0.0", "::", "localhost"}:  # noqa: S104 - compared, not bound
        host = f"[{settings.web_host}]" if ":" in settings.web_host else settings.web_host
        worker.url = f"http://{host}:{settings.web_port}"
    return worker


def _local_broker(directory: Path, port: int = 0) -> LocalBroker:
    jars = kafka_jars()
    return LocalBroker(directory / "broker", jars, port=port, java=java_program(), detached=True)


def _start(
    settings: Settings, given: str | None, before: UpState | None, undo: contextlib.ExitStack
) -> UpState:
    """Start both; `undo` stops what was started here.

    1. Refuse a busy port before anything runs.
    2. Start the broker, unless it runs. That it is ours to stop is written first.
    3. Start the worker. Its process id is written at once: `bring_down` finds it, whatever happens
       to this process.
    """
    directory = settings.data_dir
    if not is_free(settings.web_port):
        raise UpError(
            f"port {settings.web_port} on 127.0.0.1 is busy: stop what listens there, or choose "
            "another one for the web with K2_WEB_PORT"
        )
    undo.callback(up_state.forget, directory)
    if given is not None:
        asyncio.run(_check_reached(settings))
        own_broker = before is not None and before.own_broker
        state = UpState(own_broker=own_broker, bootstrap=given)
    else:
        up_state.remember(directory, UpState(own_broker=True))
        state = UpState(own_broker=True, bootstrap=_start_broker(directory, undo))
    worker = worker_of(settings, state.bootstrap)
    undo.callback(worker.kill)
    worker.start()
    assert worker.process is not None  # noqa: S101 - just started
    state = UpState(
        own_broker=state.own_broker,
        bootstrap=state.bootstrap,
        url=worker.url,
        worker_id=settings.worker_id,
        pid=worker.process.pid,
    )
    up_state.remember(directory, state)
    worker.wait_ready()
    return state


def _start_broker(directory: Path, undo: contextlib.ExitStack) -> str:
    """The address of the directory's broker, started on its port unless it runs on any."""
    if _local_broker(directory).status().running:
        return _local_broker(directory).start()
    port = local_broker_settings().broker_port
    try:
        undo.callback(_local_broker(directory).stop)
        return _local_broker(directory, port).start()
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


def _check_same(settings: Settings, given: str | None, state: UpState) -> None:
    """Refuse to take a worker with other settings for the one that was asked for."""
    wanted = worker_of(settings, "").url
    if state.url != wanted or given not in {None, state.bootstrap}:
        raise UpError(
            f"a worker of {settings.data_dir} already runs at {state.url} on the Kafka at "
            f"{state.bootstrap}, not at {wanted} on {given or state.bootstrap}: `k2 down` first"
        )


def _continue(settings: Settings, state: UpState) -> None:
    """The worker runs: start its broker if that has ended, and wait until both answer."""
    if state.own_broker:
        port = int(state.bootstrap.rpartition(":")[2])
        _local_broker(settings.data_dir, port).start()
    worker = worker_of(settings, state.bootstrap)

    def ready() -> bool:
        if worker.is_ready():
            return True
        if up_state.worker_process(settings.data_dir, state) is None:
            raise WorkerError(f"worker ended\n{worker.last_words()}")
        return False

    try:
        wait_until(ready, "worker ready", READY_WITHIN_S)
    except StuckError as error:
        raise WorkerError(
            f"not ready after {READY_WITHIN_S:.0f} s\n{worker.last_words()}"
        ) from error
