"""A lake in an object store: the same answers, its keys kept, and a store that is away."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]

from faults.object_store import KEY_ID, SECRET, ObjectStore, StoreProxy, settings
from k2_streams.testing.local.loopback import free_port
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[StoreProxy]:
    """The way to the store, which can be closed."""
    proxy = StoreProxy(object_store.port, free_port(), seed=1)
    yield proxy
    proxy.close()


@pytest.fixture
def lake_settings(
    proxy: StoreProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """With the catalog in a sqlite file."""
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    return settings(proxy.url, tmp_path.name) | {
        "K2_BREAKER_FAILURES": "3",
        "K2_BREAKER_OPEN_S": "2",
    }


def asked(worker: LocalWorker, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(worker.url + path, timeout=60) as answer:  # noqa: S310 - loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""  # it does not listen yet


def in_lake(worker: LocalWorker) -> int:
    found: int = worker.get("/v1/trades?symbol=S0000")["meta"]["rows_lake"]
    return found


def test_a_killed_worker_a_store_that_goes_away_and_no_key_told(
    k2: Cluster, proxy: StoreProxy
) -> None:
    """Rows of both parts through a kill -9; 503 and the tail while the store is away; then all."""
    worker = k2.worker()
    worker.start().wait_ready()
    first = k2.produce("--messages", "5000", "--symbols", "5", "--seed", "3", "--gaps", "0.01")
    worker.kill()
    worker.start().wait_ready()
    second = k2.produce(
        "--messages", "5000", "--symbols", "5", "--seed", "4", "--exchange", "SECOND"
    )
    k2.verify(worker, first, second)
    eventually(lambda: in_lake(worker) > 0, what="rows of the lake in an answer")
    worker.kill()  # with what it remembered of the files
    worker.start().wait_ready()

    said = []
    proxy.kind = "away"
    third = k2.produce("--messages", "2000", "--symbols", "5", "--seed", "5", "--exchange", "THIRD")
    lake = "/v1/trades?symbol=S0000&exchange=SIM"
    deadline = time.monotonic() + 60
    while worker.get("/v1/status")["store_breaker"]["state"] == "closed":
        status, body = asked(worker, lake)
        said.append(body)
        assert (status, json.loads(body)["error"]["code"]) == (503, "lake_unavailable")
        assert time.monotonic() < deadline
    eventually(lambda: asked(worker, "/v1/trades?exchange=THIRD&limit=1")[0] == 200)
    eventually(lambda: worker.get("/v1/status")["sink"]["retrying"], what="commits fail too")
    said.append(asked(worker, "/v1/status")[1])
    said.append(asked(worker, "/metrics")[1])
    proxy.kind = None

    eventually(lambda: asked(worker, lake)[0] == 200, what="the lake answers again")
    k2.verify(worker, first, second, third)
    said.append(worker.log_file.read_text())
    assert "NETWORK" in "".join(said), "what the store's client says is told"
    for secret in (SECRET, KEY_ID):
        assert secret not in "".join(said)


def test_a_store_that_refuses_the_keys_says_so_and_not_which(k2: Cluster) -> None:
    """The worker does not begin, and names the refusal; the keys stand nowhere."""
    wrong = "wrong-secret-77aa"
    worker = k2.worker(K2_S3_SECRET_ACCESS_KEY=wrong).start()
    eventually(lambda: "ACCESS_DENIED" in worker.last_words(1_000), what="the refusal in the log")
    eventually(lambda: asked(worker, "/health/ready")[0] == 503, what="a worker that is not ready")
    told = [asked(worker, path)[1] for path in ("/v1/status", "/v1/trades?symbol=A", "/metrics")]
    told.append(worker.log_file.read_text())
    assert wrong not in "".join(told)
    assert KEY_ID not in "".join(told)
