"""`k2 up` and `k2 down` with a real Kafka: what runs after them, and what does not."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import eventually  # type: ignore[import-not-found]

from k2_streams.runtime.lock import DirectoryLock
from k2_streams.testing.local import up_state
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.loopback import free_port
from k2_streams.testing.local.probe import is_ready

pytestmark = pytest.mark.integration


class Commands:
    """`k2 ...` in a data directory and with settings of its own."""

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        self.directory = directory
        kept = {name: value for name, value in os.environ.items() if not name.startswith("K2_")}
        self.environment = {**kept, "K2_DATA_DIR": str(directory), **settings}

    def __call__(self, command: str, **settings: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "k2_streams.cli.main", command],
            env={**self.environment, **settings},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def worker_pid(self) -> int:
        state = up_state.recall(self.directory)
        assert state is not None
        (member,) = state.members
        return member.pid


@pytest.fixture
def commands(tmp_path, kafka_jars) -> Iterator[Commands]:
    """On free ports; nothing runs after the test."""
    settings = {
        "K2_KAFKA_JARS": str(kafka_jars),
        "K2_WEB_PORT": str(free_port()),
        "K2_BROKER_PORT": str(free_port()),
    }
    found = Commands(tmp_path / "data", settings)
    yield found
    assert found("down")[0] == 0


def answers_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=10) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def test_up_twice_down_twice(commands, kafka_jars):
    """Both outlive the command and answer; a second `up` starts nothing, `down` stops both."""
    broker = LocalBroker(commands.directory / "broker", kafka_jars)
    url = f"http://127.0.0.1:{commands.environment['K2_WEB_PORT']}"
    code, text = commands("up")
    assert code == 0, text
    assert f"page     {url}/\n" in text
    assert f"curl -s '{url}/v1/trades?" in text
    pids = (broker.status().pid, commands.worker_pid())
    assert broker.status().bootstrap == f"127.0.0.1:{commands.environment['K2_BROKER_PORT']}"
    # On a busy machine a worker that was ready may not be so for a moment.
    eventually(lambda: answers_ready(url), what="the worker is ready")

    code, text = commands("up")
    assert code == 0, text
    assert "was running" in text
    assert (broker.status().pid, commands.worker_pid()) == pids

    code, text = commands("up", K2_WEB_PORT=str(free_port()))
    assert code == 2
    assert "already runs" in text

    assert commands("down") == (0, "worker   stopped\nKafka    stopped\n")
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert commands("down") == (0, f"nothing was running in {commands.directory}\n")


def test_a_kafka_that_is_already_there_is_used_and_left(commands, broker):
    """With K2_BOOTSTRAP a worker alone is started and stopped; killed, it is started again."""
    code, text = commands("up", K2_BOOTSTRAP=broker)
    assert code == 0, text
    assert f"Kafka    {broker}, K2_BOOTSTRAP's\n" in text
    assert not (commands.directory / "broker").exists()

    first = commands.worker_pid()
    psutil.Process(first).kill()
    code, text = commands("up", K2_BOOTSTRAP=broker)
    assert code == 0, text
    assert "started" in text
    assert commands.worker_pid() != first

    assert commands("down", K2_BOOTSTRAP=broker) == (0, "worker   stopped\n")
    host, _, port = broker.partition(":")
    assert is_ready(host, int(port))


def test_what_was_started_is_stopped_when_the_worker_cannot_start(commands, kafka_jars):
    """The worker's last words are shown, and no Kafka is left behind."""
    broker = LocalBroker(commands.directory / "broker", kafka_jars)
    held = DirectoryLock(commands.directory / "worker-0")
    try:
        code, text = commands("up")
    finally:
        held.release()
    assert code == 2
    assert f"worker-0 is in use by process {os.getpid()}" in text
    assert not broker.status().running
    assert up_state.recall(commands.directory) is None
