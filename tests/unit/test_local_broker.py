"""The local broker where no Kafka is needed: what it refuses, and whom it never harms."""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from k2_streams.cli.main import main
from k2_streams.testing.local import probe
from k2_streams.testing.local.broker import LAST_WORDS_LINES, LocalBroker
from k2_streams.testing.local.broker_errors import BrokerSetupError, BrokerStartError, PortBusyError
from k2_streams.testing.local.loopback import HOST, free_ports, is_free


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    """A folder that looks as if `k2 broker fetch` had filled it."""
    folder = tmp_path / "jars"
    folder.mkdir()
    (folder / "kafka_2.13-0.jar").touch()
    return folder


def program(path: Path, script: str) -> str:
    """A program that stands for Java."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_missing_java_and_missing_jars_say_what_to_do(tmp_path, jars):
    with pytest.raises(BrokerSetupError, match=r"Java 17 or newer .* found none as 'no-java'"):
        LocalBroker(tmp_path / "k", jars, java="no-java").start()
    with pytest.raises(BrokerSetupError, match="k2 broker fetch"):
        LocalBroker(tmp_path / "k", tmp_path / "none", java=sys.executable).start()


def test_a_busy_port_is_named(tmp_path, jars):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(PortBusyError, match=f"port {port} on {HOST} is busy") as caught:
            LocalBroker(tmp_path / "k", jars, port=port, java=sys.executable).start()
    assert caught.value.port == port
    assert is_free(port)


def test_a_failed_format_shows_why_and_is_tried_again(tmp_path, jars):
    java = program(tmp_path / "java", "echo UnsupportedClassVersionError; exit 7")
    for _ in range(2):
        with pytest.raises(BrokerStartError, match=r"(?s)ended with 7.*UnsupportedClassVersion"):
            LocalBroker(tmp_path / "k", jars, java=java).start()


def test_a_process_that_ends_while_starting_shows_its_reasons(tmp_path, jars):
    said = 'echo fine; for i in 1 2 3 4 5 6 7 8 9; do echo "x ERROR number $i"; done; exit 3'
    java = program(tmp_path / "java", f'case "$*" in *StorageTool*) ;; *) {said};; esac')
    local = LocalBroker(tmp_path / "k", jars, java=java)
    with pytest.raises(BrokerStartError) as caught:
        local.start()
    assert caught.value.reason == "the process ended with 3"
    assert caught.value.last_words.splitlines() == [
        f"x ERROR number {i}" for i in range(1, LAST_WORDS_LINES + 1)
    ]
    assert not local.status().running


def test_another_process_with_the_noted_id_is_left_alone(tmp_path):
    """The system gives process ids out again: the noted one may be anybody's."""
    directory = tmp_path / "k"
    directory.mkdir()
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (directory / "broker.json").write_text(json.dumps({"pid": stranger.pid, "port": 1}))
        local = LocalBroker(directory, tmp_path)
        assert not local.status().running
        assert not local.stop()
        assert not (directory / "broker.json").exists(), "the stale note is removed"
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n", timeout=10)


@pytest.mark.parametrize("note", [b"", b"not json", b'{"pid": 0}', b'{"pid": 1e9, "port": 1}'])
def test_an_unreadable_note_means_not_running(tmp_path, note):
    (tmp_path / "broker.json").write_bytes(note)
    assert not LocalBroker(tmp_path, tmp_path).status().running


def test_free_ports_differ():
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(is_free(port) for port in ports)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x08" + bytes(8)]
)
def test_what_does_not_speak_kafka_is_not_ready(answer):
    """A listener that closes, another protocol, and an answer that names no broker."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()

        def serve() -> None:
            connection = listener.accept()[0]
            with connection:
                connection.recv(1024)
                connection.sendall(answer)

        other = threading.Thread(target=serve)
        other.start()
        assert not probe.is_ready(HOST, listener.getsockname()[1])
        other.join(timeout=10)
    assert not probe.is_ready(HOST, free_ports(1)[0])


def test_help_imports_no_subcommand_and_shows_examples():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    heavy = "import sys, k2_streams.cli.main as m\nm.main(['--help'], standalone_mode=False)\n"
    check = heavy + "assert not {'pyarrow', 'aiokafka', 'faust'} & set(sys.modules)"
    subprocess.run(
        [sys.executable, "-c", check],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize("command", ["start", "stop", "status"])
def test_broker_commands_explain_themselves(command):
    result = CliRunner().invoke(main, ["broker", command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output


def test_a_refusal_is_one_line_and_a_failure_code(tmp_path):
    arguments = ["broker", "start", "--directory", str(tmp_path), "--jars", str(tmp_path)]
    result = CliRunner().invoke(main, [*arguments, "--port", "0"])
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
