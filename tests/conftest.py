"""What every test may ask for."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from k2_streams.cli.broker import java_program
from k2_streams.kafka.broker import LocalBroker

ROOT = Path(__file__).resolve().parents[1]

# A machine that is busy with something else is no fault of what is tested.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """The folder that `make jars` fills; without it the tests that need Kafka fail, loudly."""
    return Path(os.environ.get("K2_KAFKA_JARS") or ROOT / ".cache" / "kafka" / "lib")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[str]:
    """The address of a real Kafka, one for the whole session.

    `K2_BOOTSTRAP` names one that is already there; else one is started on free ports in a temporary
    directory, and stopped by its process id at the end.
    """
    given = os.environ.get("K2_BOOTSTRAP")
    if given:
        yield given
        return
    local = LocalBroker(tmp_path_factory.mktemp("kafka"), kafka_jars, java=java_program())
    try:
        yield local.start()
    finally:
        local.stop()


@pytest.fixture(autouse=True)
def default_logs() -> None:
    """A command that a test before this one ran has configured the logs of the whole process."""
    structlog.reset_defaults()


@pytest.fixture
def topic_prefix() -> str:
    """The beginning of topic, group and transaction names that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"
