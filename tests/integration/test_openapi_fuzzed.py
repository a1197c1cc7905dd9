"""Ten minutes of requests that the OpenAPI document allows and forbids, of a worker at work.

Every path of the document is asked: nothing answers but as the document says, and nothing fails.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
from conftest import Cluster  # type: ignore[import-not-found]
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from openapi_cases import register_formats
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from k2_streams.testing.local.workers import LocalWorker

pytestmark = [pytest.mark.integration, pytest.mark.long]

FUZZED_S = 600.0
EXAMPLES = 25  # of a path, one turn after the other
#: A refusal that says when to ask again is an answer: a time not read yet, every turn taken.
RETRIED = "Retry-After"
_TO_THE_END = {"from": "begin", "to": "end", "speed": "max", "batch_ms": 0}
REQUESTS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Sender(threading.Thread):
    """Sends trades until it is told to stop, so that tail, lake and gaps move meanwhile."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self._cluster = cluster
        self.stop = threading.Event()

    def run(self) -> None:
        """A little at a time."""
        seed = 100
        while not self.stop.is_set():
            seed += 1
            self._cluster.k2(
                "produce", "--messages", "2000", "--rate", "500", "--symbols", "20",
                "--seed", str(seed), "--start", "now", "--gaps", "0.01",
            )  # fmt: skip


def fails_by_chance_alone(_context: Any, response: Any, _case: Any) -> None:
    """A 503 says when to ask again, and there is no other failure."""
    retried = response.status_code == 503 and RETRIED.lower() in response.headers
    assert response.status_code < 500 or retried, response.text


def ends(case: Any) -> bool:
    """Whether an answer ends; a stream is asked for what there is, as fast as it comes."""
    if not case.path.endswith("/stream"):
        return True
    query = case.query or {}
    if _TO_THE_END.keys() & query.keys() and case.meta.generation.mode is GenerationMode.NEGATIVE:
        return False  # what is wrong with it may be what would be replaced
    case.query = {**query, **_TO_THE_END}
    return True


class Fuzzed:
    """One document, and what was wrong so far."""

    def __init__(self, worker: LocalWorker) -> None:
        self._url = worker.url
        self._session = requests.Session()
        self.asked: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.wrong: dict[tuple[str, str], str] = {}

    def turn(self, operation: Any) -> None:
        """Some requests of one path, as its parameters are described, and as they are not."""
        self._turn(operation, GenerationMode.POSITIVE)
        # Where nothing can be wrong, there is no such request.
        with suppress(Unsatisfiable):
            self._turn(operation, GenerationMode.NEGATIVE)

    def _turn(self, operation: Any, mode: GenerationMode) -> None:
        @given(operation.as_strategy(generation_mode=mode))
        @REQUESTS
        def ask(case: Any) -> None:
            if ends(case):
                self._ask(operation.label, case)

        ask()

    def _ask(self, label: str, case: Any) -> None:
        self.asked[label] += 1
        try:
            response = case.call(base_url=self._url, session=self._session, timeout=60)
            self.statuses[response.status_code] += 1
            case.validate_response(
                response,
                additional_checks=[fails_by_chance_alone],
                # Rules between parameters are no part of a schema, and 503 has a check of its own.
                excluded_checks=[not_a_server_error, positive_data_acceptance],
            )
        except (AssertionError, BaseExceptionGroup, requests.RequestException) as error:
            self.wrong.setdefault(
                (label, type(error).__name__), f"{error}\n{case.as_curl_command()}"
            )


def test_ten_minutes_of_requests_get_what_the_document_says(
    k2: Cluster, record_property: Callable[[str, object], None]
) -> None:
    worker = k2.worker(K2_LEDGER="1").start().wait_ready()
    k2.produce("--messages", "20000", "--symbols", "20", "--seed", "7", "--gaps", "0.01")
    token = worker.get("/v1/trades?limit=1&wait_ms=5000")["meta"]["token"]
    register_formats(st.just(token), around_ns=time.time_ns())
    document = schemathesis.openapi.from_url(f"{worker.url}/v1/openapi.json")
    operations = [one.ok() for one in document.get_all_operations()]
    fuzzed, sender = Fuzzed(worker), Sender(k2)
    sender.start()
    until_s = time.monotonic() + FUZZED_S
    while time.monotonic() < until_s:
        for operation in operations:
            fuzzed.turn(operation)
    sender.stop.set()
    sender.join()
    record_property("requests", fuzzed.asked.total())
    record_property("statuses", dict(sorted(fuzzed.statuses.items())))
    assert not fuzzed.wrong, "\n\n".join(f"{key}: {text}" for key, text in fuzzed.wrong.items())
    assert min(fuzzed.asked[one.label] for one in operations) >= EXAMPLES
    assert worker.get("/health/live")
