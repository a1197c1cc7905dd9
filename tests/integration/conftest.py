"""A clean K2 on the session's broker: no topics of an earlier test, a folder of its own.

With `K2_TESTS_LAKE=s3` the lake of each test is in an object store, with a REST catalog.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import forked
import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient
from click.testing import CliRunner

from faults.catalog import RestCatalog
from faults.object_store import ObjectStore
from faults.object_store import settings as store_settings
from faults.stage import ROOT
from k2_streams.cli.main import main
from k2_streams.core.records.source import TRADES_INPUT, RawInput
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.offsets import end_offsets
from k2_streams.kafka.topics import RAW, ensure_topics, stream_topics
from k2_streams.lake.config import LakeConfig
from k2_streams.runtime.settings.tools import development_settings
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.testing.local.loopback import free_port
from k2_streams.testing.local.workers import LocalWorker, launch

PARTITIONS = 4
K2 = str(Path(sys.executable).parent / "k2")
#: Between two looks at a condition: each is a request to a worker, which has other work to do.
POLL_S = 0.1
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def eventually(
    condition: Callable[[], Any], within_s: float = 60.0, what: str | Callable[[], Any] = ""
) -> Any:
    """Wait for a condition, with a deadline; its first true value.

    `what` is said if it does not come; of a function, what it gives then.
    """
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            said = what() if callable(what) else what
            pytest.fail(f"not within {within_s} s: {said or condition}")
        time.sleep(POLL_S)


MAY_DELETE = "K2_TESTS_MAY_DELETE_TOPICS"


def reset_topics(bootstrap: str) -> None:
    """Delete K2's topics, and create those of trades again, empty."""
    asyncio.run(_reset_topics(bootstrap))


def create_topics(bootstrap: str, source: RawInput) -> None:
    """Create the topics of an app of the product's, before a worker of it does."""
    asyncio.run(_create_topics(bootstrap, source))


async def _create_topics(bootstrap: str, source: RawInput) -> None:
    specs = stream_topics(source, source.app_id, PARTITIONS)
    await ensure_topics(KafkaConfig(bootstrap=bootstrap), specs)


async def _reset_topics(bootstrap: str) -> None:
    """On a broker of somebody else's only if allowed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        while True:
            mine = [t for t in await admin.list_topics() if t.startswith("k2")]
            if not mine:
                break
            if (
                os.environ.get("K2_BOOTSTRAP")
                and not development_settings().tests_may_delete_topics
            ):
                pytest.fail(f"{bootstrap} holds {sorted(mine)}: set {MAY_DELETE}=1 to delete them")
            await admin.delete_topics(mine)
            await asyncio.sleep(0.2)
    finally:
        await admin.close()
    await _create_topics(bootstrap, TRADES_INPUT)


def processed(worker: LocalWorker) -> int:
    """Raw records that the worker's answers hold."""
    return sum(worker.get("/v1/status", within_s=10.0)["watermark"].values())


class Cluster:
    """Workers, the producer and the verifier on one broker and one folder.

    Args:
        bootstrap: the broker.
        directory: the folder.
        lake_settings: where the lake is, if not in that folder.
    """

    def __init__(
        self, bootstrap: str, directory: Path, lake_settings: Mapping[str, str] | None = None
    ) -> None:
        self.bootstrap = bootstrap
        self.directory = directory
        self.lake_settings = dict(lake_settings or {})
        self.workers: list[LocalWorker] = []
        self._spawned: list[forked.Forked] = []

    @property
    def lake(self) -> LakeConfig:
        """The lake that the workers write."""
        return from_environment({"K2_DATA_DIR": str(self.directory), **self.lake_settings}).lake

    def worker(
        self,
        worker_id: int = 0,
        topology: str = "trades",
        app: str | None = None,
        **settings: str,
    ) -> LocalWorker:
        """A worker of a topology of the product's, or of an app of the tests'; not started."""
        # A ledger is three more sinks and tails: those tests have one that are about it.
        defaults = {
            "K2_LAKE_COMMIT_INTERVAL_S": "1", "K2_RATE_LIMIT_PER_S": "100000", "K2_LEDGER": "0",
        }  # fmt: skip
        environment = {**defaults, **self.lake_settings, **settings}
        worker = LocalWorker(
            self.directory,
            self.bootstrap,
            worker_id,
            environment,
            topology=topology,
            app=app,
            # What is found by this path is loaded when an interpreter starts. A fork has pytest's
            # path, with the apps of the tests.
            launch=launch if "PYTHONPATH" in settings else forked.Forked,
        )
        self.workers.append(worker)
        return worker

    def k2(
        self, *arguments: str, within_s: float = 300.0, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the `k2` command to its end."""
        self.directory.mkdir(parents=True, exist_ok=True)
        return forked.run([K2, *arguments], self._environment(settings), self.directory, within_s)

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "K2_BOOTSTRAP": self.bootstrap,
            "K2_DATA_DIR": str(self.directory),
            "NO_COLOR": "1",
            **self.lake_settings,
            **more,
        }

    def spawn(self, *arguments: str) -> forked.Forked:
        """Start the `k2` command and go on."""
        self.directory.mkdir(parents=True, exist_ok=True)
        printed = self.directory / f"k2-{time.monotonic_ns()}.out"
        process = forked.Forked([K2, *arguments], self._environment({}), printed)
        self._spawned.append(process)
        return process

    def produce(self, *arguments: str) -> Path:
        """Send, and give the truth file."""
        truth = self.directory / f"truth-{time.monotonic_ns()}.jsonl"
        code, printed = self._command("produce", *arguments, "--truth", str(truth))
        assert code == 0, printed
        return truth

    def _command(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a `k2` command, run here, where its modules are loaded already.

        In another thread than the first it is a process: a command listens for signals.
        """
        if threading.current_thread() is not threading.main_thread():
            done = self.k2(*arguments)
            return done.returncode, done.stdout + done.stderr
        runner, environment = CliRunner(), self._environment({})
        try:
            found = runner.invoke(main, arguments, env=environment, catch_exceptions=False)
        finally:
            structlog.reset_defaults()  # the command's log goes to its own output
        return found.exit_code, found.output

    def verify(
        self, worker: LocalWorker, *truths: Path, within_s: int = 240, also: str | None = "--sql"
    ) -> None:
        """Every number agrees, in plain SQL as well where something tells rows apart."""
        more = [argument for truth in truths for argument in ("--truth", str(truth))]
        more += [also] if also else []
        code, printed = self._command(
            "verify", *more, "--url", worker.url, "--timeout", str(within_s)
        )
        assert code == 0, f"{printed}\n{worker.last_words()}"

    def has_answered_all(self, worker: LocalWorker) -> bool:
        """Whether the worker's answers hold every record of the raw topic.

        `lag_records` of a status does not tell: it counts from what a fetch has seen to what is
        processed, and answers hold what is committed.
        """
        partitions = [TopicPartition(RAW, number) for number in range(PARTITIONS)]
        ends = asyncio.run(end_offsets(KafkaConfig(bootstrap=self.bootstrap), partitions))
        return processed(worker) == sum(ends.values())

    def close(self) -> None:
        """End what still runs."""
        for process in self._spawned:
            process.send_signal(signal.SIGKILL)
        for worker in self.workers:
            worker.kill()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3-compatible server, ended by its process at the end."""
    if not any((ROOT / ".cache" / "object-store" / "lib").glob("s3proxy-*.jar")):
        pytest.skip("no object store: `make test-s3` fetches it")
    store = ObjectStore(tmp_path_factory.mktemp("s3"), free_port())
    yield store
    store.close()


@pytest.fixture
def lake_settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Where the lake of this test is: in its folder, or as `K2_TESTS_LAKE` says."""
    if development_settings().tests_lake != "s3":
        yield {}
        return
    store = request.getfixturevalue("object_store")
    settings = store_settings(store.url, tmp_path.name)
    # What this process reads of the lake itself.
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    catalog = RestCatalog(tmp_path / "rest", free_port(), store, tmp_path.name)
    yield settings | {"K2_CATALOG_URI": catalog.url}
    catalog.close()


@pytest.fixture
def k2(broker: str, tmp_path: Path, lake_settings: dict[str, str]) -> Iterator[Cluster]:
    """No topics, no lake, no worker yet."""
    reset_topics(broker)
    cluster = Cluster(broker, tmp_path, lake_settings)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings beside the checkout."""
    if not DATA.exists():
        pytest.skip("no recordings beside the checkout (../shared/data)")
    return DATA


def verdicts(worker: LocalWorker) -> dict[str, int]:
    """What the worker's metrics say of verdicts."""
    import urllib.request  # noqa: PLC0415 - used here alone

    with urllib.request.urlopen(worker.url + "/metrics", timeout=10) as answer:  # noqa: S310 - loopback
        lines = answer.read().decode().splitlines()
    found = {}
    for line in lines:
        if line.startswith("k2_verdicts_total"):
            name = line.split('"')[1]
            found[name] = int(float(line.rsplit(" ", 1)[1]))
    return found
