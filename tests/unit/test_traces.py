"""Spans: what they are of, what names a request everywhere, and what they cost when off."""

import asyncio
import json
import subprocess
import sys
import timeit
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog
from aiohttp.test_utils import TestClient, TestServer
from lake_rows import World
from maintenance_world import SetClock, compactor, filled
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from raw_agents import raw_topology
from sql_world import SqlWorld
from web_support import CannedQueries, application

from k2_streams import traces
from k2_streams.runtime.maintenance.keeper import TableKeeper
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.metrics.web import WebMetrics
from k2_streams.runtime.open_telemetry import OtlpTracer
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.runtime.task.headers import TRACEPARENT
from k2_streams.runtime.tracing import start_traces
from k2_streams.testing.driver import START, InputMessage

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class _Noticing(SimpleSpanProcessor):
    """Says that a request is over once its span is exported."""

    def __init__(self, exporter: InMemorySpanExporter, request_ended: asyncio.Event) -> None:
        super().__init__(exporter)
        self._request_ended = request_ended

    def on_end(self, span) -> None:
        super().on_end(span)
        if span.name == "request":
            self._request_ended.set()


class Recorded:
    """The spans that have ended, in their order."""

    def __init__(self) -> None:
        self.request_ended = asyncio.Event()
        self._exporter = InMemorySpanExporter()
        self.tracer = OtlpTracer(_Noticing(self._exporter, self.request_ended), "k2", "k2-0")

    @property
    def spans(self):
        return self._exporter.get_finished_spans()

    def named(self, name: str):
        (found,) = (span for span in self.spans if span.name == name)
        return found


@pytest.fixture
def recorded():
    made = Recorded()
    traces.start(made.tracer)
    yield made
    traces.start(None)
    made.tracer.close()


def trace_id(span) -> str:
    return f"{span.context.trace_id:032x}"


async def test_a_request_is_a_span_with_its_stages_below(recorded, tmp_path):
    world = SqlWorld(tmp_path)
    app = application(world.world.query, clock=world.world.clock)
    async with TestClient(TestServer(app)) as client:
        headers = {"traceparent": PARENT, "X-Correlation-ID": "mine"}
        response = await client.get("/v1/trades", headers=headers)
        await response.read()
        assert response.status == 200
        async with asyncio.timeout(30):
            await recorded.request_ended.wait()  # who leaves earlier is counted as gone, with 499
    await world.close()
    request = recorded.named("request")
    assert trace_id(request) == PARENT.split("-")[1]  # the caller's trace goes on
    assert request.attributes == {
        "k2.correlation_id": "mine", "k2.method": "GET", "k2.path": "/v1/trades", "k2.status": 200,
    }  # fmt: skip
    stages = {span.name for span in recorded.spans if span.parent is not None} - {"request"}
    assert {"read_point", "plan", "engine", "tail", "scan"} <= stages
    assert {trace_id(span) for span in recorded.spans} == {trace_id(request)}


async def test_one_id_is_in_the_header_the_error_the_log_and_the_trace(recorded):
    app = application(CannedQueries(error=RuntimeError("boom")))
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        await _asked_and_failed(app, recorded)
    request = recorded.named("request")
    assert request.attributes["k2.correlation_id"] == "desk-7"
    assert not request.status.is_ok
    lines = [line for line in logs if line.get("correlation_id") == "desk-7"]
    assert {line["event"] for line in lines} == {"view failed", "request answered"}
    assert {line["trace_id"] for line in lines} == {trace_id(request)}


async def _asked_and_failed(app, recorded) -> None:
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/v1/trades", headers={"X-Correlation-ID": "desk-7"})
        assert response.status == 500
        assert response.headers["X-Correlation-ID"] == "desk-7"
        assert (await response.json())["correlation_id"] == "desk-7"
        async with asyncio.timeout(30):
            await recorded.request_ended.wait()


@pytest.mark.usefixtures("quiet_logs")
def test_checkpoints_and_lake_commits_are_spans(recorded, k2_driver):
    driver = k2_driver(raw_topology("k2"))
    trade = {"exchange": "X", "symbol": "A", "price": "1", "quantity": "2"}
    trade["exchange_time_ns"] = int(START.timestamp()) * 10**9
    driver.input("k2.trades.raw").send({**trade, "sequence": 1})
    assert driver.output("trades").read_all().num_rows == 1
    driver.commit_lake()
    checkpoint = next(span for span in recorded.spans if span.name == "checkpoint")
    assert checkpoint.attributes["k2.topic"] == "k2.trades.raw"
    assert checkpoint.attributes["k2.records"] == 1
    commits = [
        span for span in recorded.spans
        if span.name == "lake commit" and span.attributes["k2.stream"] == "trades"
    ]  # fmt: skip
    assert sum(span.attributes["k2.rows"] for span in commits) == 1
    assert commits[-1].attributes["k2.snapshot"].isdigit()


@pytest.mark.usefixtures("quiet_logs")
def test_a_checkpoint_links_to_the_traces_of_its_records_up_to_a_limit(recorded, k2_driver):
    driver = k2_driver(raw_topology("k2"), partitions=1)
    trade = {"exchange": "X", "symbol": "A", "price": "1", "quantity": "2"}
    trade["exchange_time_ns"] = int(START.timestamp()) * 10**9
    count = 2 * traces.MAX_LINKS
    sent = [
        InputMessage({**trade, "sequence": n}, headers=((TRACEPARENT, traced(n)),))
        for n in range(1, count + 1)
    ]
    driver.input("k2.trades.raw").send_many(sent)
    assert driver.output("trades").read_all().num_rows == count
    links = [
        [f"{link.context.trace_id:032x}" for link in span.links]
        for span in recorded.spans
        if span.name == "checkpoint"
    ]
    assert links[0][0] == f"{1:032x}"
    assert all(0 < len(each) <= traces.MAX_LINKS for each in links)
    assert len(links[0]) == traces.MAX_LINKS


@pytest.mark.usefixtures("quiet_logs")
def test_a_trace_that_cannot_be_read_is_no_link(recorded, k2_driver):
    driver = k2_driver(raw_topology("k2"), partitions=1)
    trade = {"exchange": "X", "symbol": "A", "price": "1", "quantity": "2", "sequence": 1}
    trade["exchange_time_ns"] = int(START.timestamp()) * 10**9
    headers = ((TRACEPARENT, b"nonsense"),)
    driver.input("k2.trades.raw").send_many([InputMessage(trade, headers=headers)])
    assert driver.output("trades").read_all().num_rows == 1
    assert recorded.named("checkpoint").links == ()


def traced(number: int) -> bytes:
    return f"00-{number:032x}-{number:016x}-01".encode()


async def test_maintenance_is_a_span_per_job(recorded, tmp_path):
    world = World(tmp_path)
    filled(world, 8)
    lake = compactor(world)
    keeper = TableKeeper(
        lake._lake, lake, Metrics().maintenance.of("trades"), SetClock(), may_work=lambda: True,
        interval_s=1.0, delete_delay_s=60.0, thread=ThreadPoolExecutor(1),
    )  # fmt: skip
    await keeper.look()
    await keeper.close()
    assert [span.name for span in recorded.spans] == [
        "maintenance compaction", "maintenance expiry", "maintenance deletion",
    ]  # fmt: skip


async def test_a_block_that_raises_is_a_span_that_failed(recorded):
    with pytest.raises(OSError, match="full"), traces.span("checkpoint", partition=3):
        raise OSError("disk full")
    span = recorded.named("checkpoint")
    assert not span.status.is_ok
    assert span.events[0].attributes["exception.type"] == "OSError"


def test_a_trace_of_a_caller_that_cannot_be_read_is_none(recorded):
    with traces.span("request", "nonsense"):
        pass
    assert recorded.named("request").parent is None


async def test_an_exemplar_of_a_duration_names_the_trace(recorded):
    telemetry = WebMetrics(CollectorRegistry())
    app = application(telemetry=telemetry)
    async with TestClient(TestServer(app)) as client:
        await client.get("/v1/trades")
        open_metrics = "application/openmetrics-text; version=1.0.0"
        response = await client.get("/metrics", headers={"Accept": open_metrics})
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        found = await response.text()
        plain = await client.get("/metrics")
        assert plain.headers["Content-Type"].startswith("text/plain")
        assert "trace_id" not in await plain.text()
    request = next(span for span in recorded.spans if span.name == "request")
    assert f'# {{trace_id="{trace_id(request)}"}}' in found
    assert found.endswith("# EOF\n")


@pytest.mark.slow
def test_nothing_is_imported_while_traces_are_off():
    script = (
        "import sys, topologies.trades\n"
        "from k2_streams.runtime.tracing import start_traces\n"
        "start_traces(None, 'k2', 'k2-0')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_span_that_nobody_records_costs_less_than_the_text_of_a_log_line():

    def off() -> None:
        with traces.span("checkpoint", partition=1):
            pass

    def line() -> None:
        json.dumps({"event": "request answered", "status": 200, "level": "info", "n": [1, 2]})

    assert min(timeit.repeat(off, number=2_000)) < min(timeit.repeat(line, number=2_000))


def test_spans_go_to_the_collector_that_the_setting_names():
    """A collector that is away costs the end some seconds at the most, and nothing before."""
    settings = from_environment({"K2_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"})
    end = start_traces(settings.traces_endpoint, "k2", "k2-0")
    try:
        with traces.span("checkpoint") as span:
            assert len(span.trace_id) == 32
    finally:
        end()
    with traces.span("checkpoint") as span:
        assert span.trace_id == ""
