"""What every test may ask for."""

import gc
import logging
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, settings

from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.testing.local import installed
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.installed import java_program

ROOT = Path(__file__).resolve().parents[1]
#: Also an entry point, which a checkout that was installed before does not have yet.
pytest_plugins = ["k2_streams.testing.pytest_plugin"]

# `make test` and CI: the same examples each time, so that a red test is never luck. A busy machine
# is no fault of what is tested.
settings.register_profile(
    "fixed",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# `make check` (`--hypothesis-profile=quick`): a tenth as many, the same each time too.
QUICK = "quick"
settings.register_profile(QUICK, settings.get_profile("fixed"))
# `python -m mutants`: those same ones, and as many as a test declares.
settings.register_profile("declared", settings.get_profile("fixed"))
# `make check-long` (`--hypothesis-profile=long`): new examples each time.
LONG = "long"
settings.register_profile(LONG, settings.get_profile("fixed"), derandomize=False)
settings.load_profile("fixed")
#: Examples of a run for each that a test declares; Hypothesis's own number is 100.
EXAMPLES = {QUICK: 0.04, "fixed": 0.4, "declared": 1.0, LONG: 5.0}
#: As few are declared where each takes long: no run but the quick one tries fewer.
FEWEST_EXAMPLES = 10
#: Of the quick run: a first example is the simplest one, and finds little.
FEWEST_EXAMPLES_QUICK = 4


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Try as many examples as the profile says."""
    profile = config.getoption("hypothesis_profile") or "fixed"
    factor = EXAMPLES[profile]
    fewest = FEWEST_EXAMPLES_QUICK if profile == QUICK else FEWEST_EXAMPLES
    scaled = set()
    for item in items:
        test = getattr(item, "obj", None)
        test = getattr(test, "__func__", test)
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        if own is None or test in scaled:
            continue
        scaled.add(test)
        least = min(own.max_examples, fewest)
        examples = max(round(own.max_examples * factor), least)
        test._hypothesis_internal_use_settings = settings(own, max_examples=examples)


def pytest_collection_finish() -> None:
    """What is imported and collected stays: the garbage collector need not walk it in each test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """The folder that `make jars` fills; without it the tests that need Kafka fail, loudly."""
    return installed.kafka_jars()


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


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Path]]:
    """An engine of queries, and the folder that it may read; one for all examples of a module."""
    folder = tmp_path_factory.mktemp("lake")
    engine = Engine(EngineConfig(allowed=(str(folder),)))
    yield engine, folder
    engine.close()


@pytest.fixture
async def client_of() -> AsyncIterator[Callable[[web.Application], Awaitable[TestClient]]]:
    """Makes clients for applications, each with cookies of its own, and closes them."""
    clients = []

    async def make(app: web.Application) -> TestClient:
        server = TestServer(app)
        await server.start_server(access_log=None)  # as the worker's own server has it
        client = TestClient(server)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


@pytest.fixture(autouse=True)
def default_logs() -> None:
    """Lines as structlog has them, but plain tracebacks: with all locals each costs seconds.

    A command that a test before this one ran has configured the logs of the whole process.
    """
    structlog.reset_defaults()
    structlog.dev.ConsoleRenderer.get_active().exception_formatter = structlog.dev.plain_traceback


@pytest.fixture
def quiet_logs(default_logs: None) -> None:
    """No lines of a driver's worker in a test's output."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture
def topic_prefix() -> str:
    """The beginning of topic, group and transaction names that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"
