"""`k2 up` and `k2 down`: what they refuse, and whom they take for their own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from k2_streams.cli.main import main
from k2_streams.testing.local import up_state
from k2_streams.testing.local.interrupts import interruptible, uninterruptible
from k2_streams.testing.local.loopback import free_port
from k2_streams.testing.local.up import UpResult
from k2_streams.testing.local.up_state import PlatformMember, UpState
from k2_streams.testing.local.up_watch import watch


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory that the commands use, and no other setting."""
    for name in [name for name in os.environ if name.startswith("K2_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("K2_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A loopback port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def impostor(directory) -> Iterator:
    """Starts processes with an environment, and ends them."""
    started = []

    def start(**environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def one_worker(pid: int) -> UpState:
    member = PlatformMember(pid=pid, url="http://127.0.0.1:7001")
    return UpState(own_broker=False, bootstrap="kafka:9092", members=(member,))


def k2(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(arguments))
    return done.exit_code, done.output


def test_help_has_examples():
    for command in ("up", "down"):
        code, text = k2(command, "--help")
        assert code == 0
        assert f"  k2 {command}\n" in text or f"  k2 {command}  " in text


def test_a_busy_web_port_is_refused_before_anything_starts(directory, busy_port, monkeypatch):
    monkeypatch.setenv("K2_WEB_PORT", str(busy_port))
    code, text = k2("up")
    assert code == 2
    assert f"port {busy_port} on 127.0.0.1 is busy" in text
    assert "K2_WEB_PORT" in text
    assert not (directory / "broker").exists()
    assert up_state.recall(directory) is None


def test_a_busy_port_for_kafka_is_refused(directory, busy_port, monkeypatch, tmp_path):
    (tmp_path / "kafka_2.13-4.3.1.jar").touch()
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("K2_KAFKA_JARS", str(tmp_path))
    monkeypatch.setenv("K2_BROKER_PORT", str(busy_port))
    monkeypatch.setenv("K2_WEB_PORT", str(free_port()))
    code, text = k2("up")
    assert code == 2
    assert f"port {busy_port} on 127.0.0.1 is busy" in text
    assert "K2_BROKER_PORT" in text
    assert "K2_BOOTSTRAP" in text
    assert up_state.recall(directory) is None


def test_no_jars_names_what_to_run(directory, monkeypatch, tmp_path):
    monkeypatch.setenv("K2_KAFKA_JARS", str(tmp_path))
    monkeypatch.setenv("K2_WEB_PORT", str(free_port()))
    monkeypatch.setenv("K2_BROKER_PORT", "0")
    code, text = k2("up")
    assert code == 2
    assert "k2 broker fetch" in text


def test_a_kafka_that_is_not_there_is_named(directory, monkeypatch):
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("K2_BOOTSTRAP", address)
    monkeypatch.setenv("K2_WEB_PORT", str(free_port()))
    code, text = k2("up")
    assert code == 2
    assert f"no broker answers at {address} (K2_BOOTSTRAP)" in text
    assert not (directory / "worker-0.log").exists()


@pytest.mark.parametrize(
    ("name", "value"), [("K2_BROKER_PORT", "x"), ("K2_BROKER_PORT", "70000"), ("K2_WEB_PORT", "x")]
)
def test_a_port_that_is_none_is_named(directory, monkeypatch, name, value):
    monkeypatch.setenv("K2_WEB_PORT", str(free_port()))
    monkeypatch.setenv(name, value)
    code, text = k2("up")
    assert code == 2
    assert name in text
    assert value in text


def test_down_where_nothing_ran(directory):
    assert k2("down") == (0, f"nothing was running in {directory}\n")
    assert not directory.exists()


def test_a_process_id_alone_proves_nothing(directory, impostor):
    """Only a process that was started for this directory and worker is the worker."""
    directory.mkdir()
    ours = impostor(K2_DATA_DIR=str(directory), K2_WORKER_ID="3")
    other = impostor(K2_DATA_DIR=str(directory / "other"), K2_WORKER_ID="3")
    for pid, worker_id, expected in (
        (ours.pid, 3, True),
        (ours.pid, 0, False),
        (other.pid, 3, False),
        (2**22 + 1, 3, False),  # above the most that the system gives
    ):
        found = up_state.process_of(directory, PlatformMember(worker_id=worker_id, pid=pid))
        assert (found is not None) == expected
    assert k2("down")[0] == 0
    assert ours.poll() is None, "what is not kept is not stopped"


def test_down_stops_the_worker_even_if_it_sleeps_and_only_once(directory, impostor):
    directory.mkdir()
    ours = impostor(K2_DATA_DIR=str(directory), K2_WORKER_ID="0")
    up_state.remember(directory, one_worker(ours.pid))
    ours.send_signal(signal.SIGSTOP)
    assert k2("down") == (0, "worker   stopped\n")
    assert ours.poll() is not None
    assert up_state.recall(directory) is None
    assert k2("down") == (0, f"nothing was running in {directory}\n")


def test_a_state_that_cannot_be_read_is_none(directory):
    directory.mkdir()
    (directory / up_state.STATE_NAME).write_text('{"pid": ')
    assert up_state.recall(directory) is None


def test_another_port_than_the_running_workers_is_refused(directory, impostor, monkeypatch):
    directory.mkdir()
    ours = impostor(K2_DATA_DIR=str(directory), K2_WORKER_ID="0")
    up_state.remember(directory, one_worker(ours.pid))
    monkeypatch.setenv("K2_WEB_PORT", "7002")
    code, text = k2("up")
    assert code == 2
    assert "already runs at http://127.0.0.1:7001" in text
    assert "k2 down" in text
    assert ours.poll() is None


def test_a_platform_of_nothing_is_refused_and_so_is_a_second_one(directory, impostor):
    assert k2("up", "--workers", "0")[0] == 2
    directory.mkdir()
    ours = impostor(K2_DATA_DIR=str(directory), K2_WORKER_ID="0")
    up_state.remember(directory, one_worker(ours.pid))
    code, text = k2("up", "--query-nodes", "1")
    assert code == 2
    assert "run already" in text
    assert ours.poll() is None


def test_a_port_of_any_member_that_is_busy_is_refused_before_anything_starts(
    directory, busy_port, monkeypatch
):
    monkeypatch.setenv("K2_WEB_PORT", str(busy_port - 1))
    code, text = k2("up", "--workers", "1", "--query-nodes", "1")
    assert code == 2
    assert f"port {busy_port} on 127.0.0.1 is busy" in text
    assert "--free-ports" in text
    assert up_state.recall(directory) is None


@pytest.fixture
def two(directory, impostor):
    """A worker and a query node that run as far as the state says, and their processes."""
    directory.mkdir()
    started = [impostor(K2_DATA_DIR=str(directory), K2_WORKER_ID=number) for number in "01"]
    roles = ("all", "query")
    state = UpState(own_broker=False)
    for number, (process, role) in enumerate(zip(started, roles, strict=True)):
        state = state.with_member(PlatformMember(pid=process.pid, worker_id=number, role=role))
    up_state.remember(directory, state)
    return state, started


def test_in_front_a_member_that_ends_by_itself_ends_the_others_and_is_named(
    directory, two, monkeypatch
):
    state, (worker, node) = two
    up_state.forget(directory)

    def come_up(*_: object) -> UpResult:
        up_state.remember(directory, state)
        (directory / "worker-1.log").write_text("one line\nits last words\n")
        node.kill()
        node.wait()
        return UpResult(state, frozenset({0, 1}))

    monkeypatch.setattr("k2_streams.cli.up.bring_up", come_up)
    code, text = k2("up", "--workers", "1", "--query-nodes", "1")
    assert code == 1, text
    assert "query node 1 has ended" in text
    assert "its last words" in text
    assert worker.poll() is not None
    assert up_state.recall(directory) is None


def test_in_front_nothing_stays_behind_though_nobody_reads_the_output(directory, two, monkeypatch):
    state, started = two
    up_state.forget(directory)

    def come_up(*_: object) -> UpResult:
        up_state.remember(directory, state)
        return UpResult(state, frozenset({0, 1}))

    def closed(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("k2_streams.cli.up.bring_up", come_up)
    monkeypatch.setattr("k2_streams.cli.up._print", closed)
    k2("up", "--workers", "1", "--query-nodes", "1")
    assert all(process.poll() is not None for process in started)
    assert up_state.recall(directory) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_ends_what_is_in_front_as_sigterm_does(number):
    found = signal.signal(number, signal.SIG_DFL)  # a run of the tests may ignore SIGHUP
    try:
        with pytest.raises(KeyboardInterrupt), interruptible():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
        with uninterruptible():
            signal.raise_signal(number)
    finally:
        signal.signal(number, found)


def test_in_front_it_is_no_error_that_somebody_else_stops_all(directory, two):
    state, started = two
    code, text = k2("down")
    assert (code, text) == (0, "worker 0      stopped\nquery node 1  stopped\n")
    assert all(process.poll() is not None for process in started)
    watch(directory, state)  # returns
