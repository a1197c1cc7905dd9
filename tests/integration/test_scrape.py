"""A worker's own scrape, after it has worked: every declared metric is there, and what moved."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from conftest import PARTITIONS, Cluster, eventually  # type: ignore[import-not-found]
from metric_values import samples
from trace_collector import collector

from k2_streams.runtime.metrics.reference import declarations
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

MESSAGES = 4_000
#: Above 0 in every worker that has read, committed and answered.
MOVED = {
    "k2_build_info",
    "k2_disk_free_bytes",
    "k2_memory_used_ratio",
    "k2_rocksdb_block_cache_bytes",
    "k2_rocksdb_memtable_bytes",
    "k2_background_task_up",
    "k2_source_records_total",
    "k2_verdicts_total",
    "k2_accepted_rows_total",
    "k2_tasks",
    "k2_take_over_seconds_count",
    "k2_checkpoint_seconds_count",
    "k2_lake_commit_seconds_count",
    "k2_lake_committed_rows_total",
    "k2_circuit_breaker_state",
    "k2_tail_spill_limit_bytes",
    "k2_freshness_seconds_count",
    "k2_query_memory_bytes",
    "k2_query_memory_limit_bytes",
    "k2_ready",
    "k2_source_partitions",
    "k2_query_footer_cache_bytes",
    "k2_http_requests_total",
    "k2_http_request_seconds_count",
    "k2_http_connections",
}
#: Of another value at some time of the run, and at its end.
SEEN = {"k2_tail_rows", "k2_tail_memory_bytes", "k2_lag_records", "k2_source_paused"}


def scrape(worker: LocalWorker) -> str:
    with urllib.request.urlopen(worker.url + "/metrics", timeout=10) as answer:  # noqa: S310 - loopback
        return str(answer.read().decode())


def test_a_worker_that_works_moves_its_metrics(k2: Cluster) -> None:
    worker = k2.worker(K2_LAKE_COMMIT_INTERVAL_S="2").start().wait_ready()
    truth = k2.produce("--messages", str(MESSAGES), "--seed", "5")
    rows = eventually(lambda: samples(scrape(worker))["k2_tail_rows"], what="rows in the tail")
    assert rows > 0
    k2.verify(worker, truth, also=None)
    found = eventually(lambda: _all_committed(worker), what="every row in the lake")
    worker.get("/v1/trades?limit=10")
    text = scrape(worker)
    found = samples(text)
    assert {name for name in MOVED if found.get(name, 0) <= 0} == set()
    assert found.keys() >= SEEN
    assert found["k2_lag_records"] == 0
    assert found["k2_tail_memory_bytes"] >= 0
    assert found["k2_source_paused"] == 0
    assert f'k2_tasks{{state="running"}} {PARTITIONS}.0' in text
    exposed = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP k2_")}
    assert {each.name for each in declarations()} <= exposed


def test_lines_are_objects_and_one_id_is_in_header_error_log_and_trace(k2: Cluster) -> None:
    """K2's lines, Faust's, mode's and aiokafka's; the banner that Faust prints is no line of it."""
    with collector() as (address, spans):
        worker = k2.worker(K2_LOG_FORMAT="json", K2_TRACES_ENDPOINT=address).start().wait_ready()
        k2.produce("--messages", "500", "--seed", "5", "--invalid", "0.01")
        eventually(lambda: k2.has_answered_all(worker), what="all messages")
        refused = _refused(worker)
        worker.stop()  # it sends the spans that it still has
    written = worker.log_file.read_text().splitlines()
    lines = [json.loads(line) for line in written if line.startswith("{")]
    assert [line for line in written if "timestamp" in line and not line.startswith("{")] == []
    assert not [line for line in written if line.startswith(("Traceback", "[20"))]
    assert all({"timestamp", "level", "logger", "event"} <= set(line) for line in lines)
    writers = {line["logger"].partition(".")[0] for line in lines}
    assert {"k2_streams", "faust"} <= writers
    assert len(writers & {"mode", "aiokafka"}) > 0
    assert refused.headers["X-Correlation-ID"] == "desk-7"
    assert json.loads(refused.read())["correlation_id"] == "desk-7"
    [access] = [line for line in lines if line.get("correlation_id") == "desk-7"]
    assert access["event"] == "request answered"
    assert (access["path"], access["status"]) == ("/v1/trades", 422)
    assert access["size_bytes"] > 0
    [request] = [span for span in spans if _correlation_id(span) == "desk-7"]
    assert request.trace_id.hex() == access["trace_id"]


def _refused(worker: LocalWorker) -> urllib.error.HTTPError:
    """The answer to a question that cannot be answered, asked under the id `desk-7`."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        worker.url + "/v1/trades?limit=none", headers={"X-Correlation-ID": "desk-7"}
    )
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310 - loopback
    return raised.value


def _correlation_id(span: Any) -> str | None:
    found = {each.key: each.value.string_value for each in span.attributes}
    return found.get("k2.correlation_id")


def _all_committed(worker: LocalWorker) -> bool:
    found = samples(scrape(worker))
    return found["k2_lake_committed_rows_total"] == found["k2_accepted_rows_total"] > 0
