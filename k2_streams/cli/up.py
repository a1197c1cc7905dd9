"""`k2 up` and `k2 down`: a local Kafka and a worker that go on running after the command."""

import asyncio
import contextlib
import logging
import shutil
import sys
import time
from pathlib import Path

import click

from k2_streams.cli.broker import broker_settings
from k2_streams.cli.errors import CannotError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.kafka.topics import TopicAdmin
from k2_streams.runtime.settings.worker import Settings, SettingsError, from_environment
from k2_streams.testing.local import up_state
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.installed import java_program, kafka_jars
from k2_streams.testing.local.loopback import is_free
from k2_streams.testing.local.up_state import UpState
from k2_streams.testing.local.workers import POLL_S, READY_WITHIN_S, LocalWorker, WorkerError

_UP_EXAMPLES = """\b
Examples:
  k2 up                                        Kafka on 9092, the page on 6066, data in .k2
  K2_WEB_PORT=7000 K2_BROKER_PORT=9192 k2 up   on other ports
  K2_BOOTSTRAP=kafka:9092 k2 up                a worker alone, on a Kafka that is already there
  k2 down                                      stop them; the data stay

Run again it starts what has ended, and says where the rest is.

Exit codes: 0 both run and answer; 2 not, and nothing that this call started was left running."""

_DOWN_EXAMPLES = """\b
Examples:
  k2 down
  K2_DATA_DIR=/data/k2 k2 down

Exit code: 0, also where nothing ran."""


@click.command(epilog=_UP_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def up() -> None:
    """Start a local Kafka and a worker, wait until they answer, and leave them running.

    With K2_BOOTSTRAP the worker uses that Kafka, and no other is started.
    """
    # aiokafka's warnings about a broker that is away repeat what the error says.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    settings = _settings()
    given = settings.kafka.bootstrap if settings.is_set("bootstrap") else None
    try:
        with up_state.alone(settings.data_dir), contextlib.ExitStack() as undo:
            state = up_state.recall(settings.data_dir)
            if up_state.worker_process(settings.data_dir, state) is None:
                state = _start(settings, given, state, undo)
                said = "started"
            else:
                assert state is not None  # noqa: S101 - a process was found by it
                _check_same(settings, given, state)
                _go_on(settings, state)
                said = "was running"
            undo.pop_all()
    except (BrokerError, WorkerError) as error:
        raise CannotError(str(error)) from error
    _print(settings, state, said)


@click.command(epilog=_DOWN_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def down() -> None:
    """Stop the worker and the Kafka that `k2 up` started, by their process ids; data stay."""
    directory = _settings().data_dir
    if not directory.is_dir():
        click.echo(f"nothing was running in {directory}")
        return
    with up_state.alone(directory):
        state = up_state.recall(directory)
        process = up_state.worker_process(directory, state)
        if process is not None:
            in_order = up_state.stop_worker(process)
            click.echo(f"worker   {'stopped' if in_order else 'killed: it did not stop in time'}")
        stopped = state is not None and state.own_broker and _local_broker(directory).stop()
        if stopped:
            click.echo("Kafka    stopped")
        if process is None and not stopped:
            click.echo(f"nothing was running in {directory}")
        up_state.forget(directory)


def program() -> str:
    """How the reader calls this program."""
    return "k2" if shutil.which("k2") else sys.argv[0]


def _settings() -> Settings:
    try:
        return from_environment()
    except SettingsError as error:
        raise CannotError(str(error)) from error


def _local_broker(directory: Path, port: int = 0) -> LocalBroker:
    jars = kafka_jars()
    return LocalBroker(directory / "broker", jars, port=port, java=java_program(), detached=True)


def _start(
    settings: Settings, given: str | None, before: UpState | None, undo: contextlib.ExitStack
) -> UpState:
    """Both, in this order; `undo` takes back what was started here.

    1. Refuse a busy port before anything runs.
    2. The broker, unless it runs. That it is ours to stop is kept first.
    3. The worker. Its process id is kept at once: whatever happens to this command, `k2 down`
       finds it.
    """
    directory = settings.data_dir
    if not is_free(settings.web_port):
        raise CannotError(
            f"port {settings.web_port} on 127.0.0.1 is busy: stop what listens there, or choose "
            "another one for the web with K2_WEB_PORT"
        )
    undo.callback(up_state.forget, directory)
    if given is not None:
        asyncio.run(_check_reached(settings))
        kept = before is not None and before.own_broker
        state = UpState(own_broker=kept, bootstrap=given)
    else:
        up_state.remember(directory, UpState(own_broker=True))
        state = UpState(own_broker=True, bootstrap=_start_broker(directory, undo))
    worker = _worker(settings, state.bootstrap)
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
    port = broker_settings().broker_port
    try:
        undo.callback(_local_broker(directory).stop)
        return _local_broker(directory, port).start()
    except BrokerError as error:
        if port and not is_free(port):
            raise CannotError(
                f"{error}: for another one for Kafka set K2_BROKER_PORT, to use a Kafka that is "
                "already there K2_BOOTSTRAP"
            ) from error
        raise


async def _check_reached(settings: Settings) -> None:
    try:
        async with TopicAdmin(settings.kafka):
            return
    except UNREACHABLE as error:
        raise CannotError(
            f"no broker answers at {settings.kafka.bootstrap} (K2_BOOTSTRAP): {error}"
        ) from error


def _worker(settings: Settings, bootstrap: str) -> LocalWorker:
    worker = LocalWorker(settings.data_dir, bootstrap, settings.worker_id, port=settings.web_port)
    if settings.web_host not in {"0.0.0.0", "::", "localhost"}:  # noqa: S104 - compared, not bound
        host = f"[{settings.web_host}]" if ":" in settings.web_host else settings.web_host
        worker.url = f"http://{host}:{settings.web_port}"
    return worker


def _check_same(settings: Settings, given: str | None, state: UpState) -> None:
    """Refuse to call a worker with other settings the one that was asked for."""
    wanted = _worker(settings, "").url
    if state.url != wanted or given not in {None, state.bootstrap}:
        raise CannotError(
            f"a worker of {settings.data_dir} already runs at {state.url} on the Kafka at "
            f"{state.bootstrap}, not at {wanted} on {given or state.bootstrap}: `k2 down` first"
        )


def _go_on(settings: Settings, state: UpState) -> None:
    """The worker runs: start its broker if that has ended, and wait until both answer."""
    if state.own_broker:
        port = int(state.bootstrap.rpartition(":")[2])
        _local_broker(settings.data_dir, port).start()
    worker = _worker(settings, state.bootstrap)
    deadline = time.monotonic() + READY_WITHIN_S
    while not worker.is_ready():
        if up_state.worker_process(settings.data_dir, state) is None:
            raise WorkerError(f"worker ended\n{worker.last_words()}")
        if time.monotonic() > deadline:
            raise WorkerError(f"not ready after {READY_WITHIN_S:.0f} s\n{worker.last_words()}")
        time.sleep(POLL_S)


def _print(settings: Settings, state: UpState, said: str) -> None:
    k2 = program()
    here = f"K2_DATA_DIR={settings.data_dir} " if settings.is_set("data_dir") else ""
    to_this = "" if state.bootstrap == "127.0.0.1:9092" else f"K2_BOOTSTRAP={state.bootstrap} "
    key = " -H 'X-API-Key: ...'" if settings.api_keys else ""
    broker = "the data directory's" if state.own_broker else "K2_BOOTSTRAP's"
    click.echo(
        f"Kafka    {state.bootstrap}, {broker}\n"
        f"worker   {said}, process {state.pid}, log {_worker(settings, '').log_file}\n"
        f"data     {settings.data_dir}\n"
        f"page     {state.url}/\n"
        "\n"
        "Thirty seconds of trades, a question, the end:\n"
        f"  {to_this}{k2} produce --rate 1000 --duration 30\n"
        f"  curl -s{key} '{state.url}/v1/trades?symbol=S0000&window=15m&order=desc&limit=3'\n"
        f"  {here}{k2} down"
    )
