"""Around every view: ids, keys, limits, errors, metrics and log lines."""

import asyncio
import io
import json
import logging
import re

import pytest
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from web_support import CannedQueries, FixedClock, application, services

from k2_streams.query.errors import (
    BehindError,
    BusyError,
    LakeUnavailable,
    NotYetError,
    QueryError,
    TooMuchError,
    UnknownSymbolError,
)
from k2_streams.query.token import Token
from k2_streams.runtime.logs import configure_logs
from k2_streams.runtime.logs.sampler import SAME_EVENT_MAX, Sampler
from k2_streams.runtime.metrics.web import WebMetrics
from k2_streams.web.http import answers, security
from k2_streams.web.http.correlation import is_acceptable
from k2_streams.web.http.telemetry import CLIENT_CLOSED_REQUEST
from k2_streams.web.server import install, new_runner
from k2_streams.web.services import Readiness

KEY = "s3cret-key-of-a-desk"
OTHER = "another-key"


async def error_of(response):
    """The body of an error, its shape checked."""
    assert response.headers["Content-Type"] == "application/json"
    body = await response.json()
    assert set(body) == {"error", "correlation_id"}
    assert body["correlation_id"] == response.headers["X-Correlation-ID"]
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "field"}
    return body["error"]


@pytest.mark.parametrize("offered", ["a", "x" * 128, "req 7/ä"[:6], "~!@#$%^&*()"])
async def test_a_callers_id_comes_back(client_of, offered):
    client = await client_of(application())
    response = await client.get("/v1/status", headers={"X-Correlation-ID": offered})
    assert response.headers["X-Correlation-ID"] == offered


@pytest.mark.parametrize("offered", ["", "x" * 129, "ü", "a\tb"])
async def test_another_id_is_made_where_the_callers_cannot_be_used(client_of, offered):
    client = await client_of(application())
    seen = set()
    for _ in range(2):
        response = await client.get("/v1/status", headers={"X-Correlation-ID": offered})
        seen.add(response.headers["X-Correlation-ID"])
    assert len(seen) == 2
    assert offered not in seen
    assert all(map(is_acceptable, seen))


@pytest.mark.parametrize("offered", ["a\nb", "a\rb", "a\x00b", "\x7f", "é", "", "x" * 129])
def test_what_could_forge_a_log_line_is_no_id(offered):
    assert not is_acceptable(offered)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"X-API-Key": KEY + "x"},
        {"X-API-Key": KEY[:-1]},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {KEY}"},
    ],
)
async def test_without_a_key_of_ours_401(client_of, headers):
    queries = CannedQueries()
    client = await client_of(application(queries, keys=(KEY, OTHER)))
    for path in ("/v1/trades", "/v1/status", "/metrics", "/nowhere"):
        response = await client.get(path, headers=headers)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await error_of(response))["code"] == "unauthorized"
    assert queries.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY},
        {"x-api-key": OTHER},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {OTHER}"},
    ],
)
async def test_with_a_key_of_ours(client_of, headers):
    client = await client_of(application(keys=(KEY, OTHER)))
    for path in ("/v1/trades", "/metrics"):
        assert (await client.get(path, headers=headers)).status == 200


async def test_some_paths_need_no_key(client_of):
    client = await client_of(application(keys=(KEY,)))
    for path in ("/health/live", "/health/ready", "/", "/v1/openapi.json"):
        assert (await client.get(path)).status == 200


def test_an_empty_key_is_refused():
    with pytest.raises(ValueError, match="not empty"):
        application(keys=("",))


def test_keys_are_not_shown():
    assert KEY not in repr(services(keys=(KEY,)))


async def test_without_keys_only_loopback_names_are_answered(client_of):
    client = await client_of(application())
    for host in ("127.0.0.1:6066", "localhost", "[::1]:6066", "127.9.9.9"):
        assert (await client.get("/v1/status", headers={"Host": host})).status == 200
    for host in ("evil.example", "127.0.0.1.evil.example:6066", "10.0.0.7", "[2001:db8::1]:80"):
        response = await client.get("/v1/status", headers={"Host": host})
        assert response.status == 403
        assert (await error_of(response))["code"] == "loopback_only"
    assert (await client.get("/health/live", headers={"Host": "10.0.0.7"})).status == 200


FORWARDED = {
    "Forwarded": "for=203.0.113.7",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "x-forwarded-client-cert": "",
    "X-Real-IP": "203.0.113.7",
    "Via": "1.1 proxy",
    "CF-Connecting-IP": "203.0.113.7",
}


@pytest.mark.parametrize("name", FORWARDED)
async def test_without_keys_nothing_comes_through_a_proxy(client_of, name):
    queries = CannedQueries()
    client = await client_of(application(queries))
    for path in ("/v1/trades", "/v1/status", "/metrics"):
        response = await client.get(path, headers={name: FORWARDED[name]})
        assert response.status == 403
        assert (await error_of(response))["code"] == "proxied"
    assert queries.asked == []
    assert (await client.get("/health/ready", headers={name: FORWARDED[name]})).status == 200
    keyed = await client_of(application(keys=(KEY,)))
    headers = {name: FORWARDED[name], "X-API-Key": KEY}
    assert (await keyed.get("/v1/status", headers=headers)).status == 200


async def test_without_keys_nothing_comes_from_another_sites_page(client_of):
    client = await client_of(application())
    response = await client.get("/v1/trades", headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status == 403
    assert (await error_of(response))["code"] == "cross_site"
    for site in ("same-origin", "none"):
        response = await client.get("/v1/trades", headers={"Sec-Fetch-Site": site})
        assert response.status == 200
    keyed = await client_of(application(keys=(KEY,)))
    headers = {"Sec-Fetch-Site": "cross-site", "X-API-Key": KEY}
    assert (await keyed.get("/v1/trades", headers=headers)).status == 200


@pytest.mark.parametrize(
    "path", ["/", "/v1/status", "/v1/trades", "/v1/gaps", "/v1/symbols", "/health/ready", "/v1/no"]
)
async def test_head_is_get_without_the_body(client_of, path):
    client = await client_of(application())
    got, head = await client.get(path), await client.head(path)
    assert head.status == got.status
    assert await head.read() == b""
    varying = {"X-Correlation-ID", "Date", "Content-Length"}
    assert {k: v for k, v in head.headers.items() if k not in varying} == {
        k: v for k, v in got.headers.items() if k not in varying
    }


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        (None, True),
        ("10.1.2.3", False),
        ("::ffff:10.1.2.3", False),
        ("nonsense", False),
    ],
)
def test_loopback_addresses(address, expected):
    assert security._is_loopback(address) is expected


async def test_the_rate_of_each_key_is_limited(client_of):
    clock = FixedClock()
    client = await client_of(application(keys=(KEY, OTHER), rate_limit_per_s=3, clock=clock))

    async def status_of(key):
        return await client.get("/v1/status", headers={"X-API-Key": key})

    assert [(await status_of(KEY)).status for _ in range(4)] == [200, 200, 200, 429]
    response = await status_of(KEY)
    assert response.headers["Retry-After"] == "1"
    assert (await error_of(response))["code"] == "rate_limited"
    assert (await status_of(OTHER)).status == 200
    assert [(await status_of("guess")).status for _ in range(4)] == [401, 401, 401, 429]
    clock.now_s += 1
    assert (await status_of(KEY)).status == 200
    assert (await client.get("/health/live")).status == 200


async def test_without_keys_the_rate_is_the_remotes(client_of):
    client = await client_of(application(rate_limit_per_s=2))
    statuses = [(await client.get("/v1/status")).status for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_a_long_query_long_headers_and_a_body_are_refused(client_of):
    client = await client_of(application())
    long = "x" * (security.MAX_QUERY_LENGTH + 1)
    response = await client.get(f"/v1/trades?symbol={long}")
    assert response.status == 413
    assert (await error_of(response))["code"] == "query_too_long"
    headers = {f"X-{place}": "x" * 6_000 for place in range(3)}
    response = await client.get("/v1/trades", headers=headers)
    assert response.status == 413
    assert (await error_of(response))["code"] == "headers_too_long"
    response = await client.get("/v1/trades", data=b"{}")
    assert response.status == 413
    assert (await error_of(response))["code"] == "body_not_allowed"


async def test_a_token_of_1000_partitions_is_taken(client_of):
    queries = CannedQueries()
    client = await client_of(application(queries))
    offsets = {partition: 2**63 - 1 - partition * 2**53 for partition in range(1_000)}
    token = Token("A" * 22, offsets, 2**62, 2**40)
    response = await client.get("/v1/trades", params={"as_of": token.encode(), "symbol": "A" * 64})
    assert response.status == 200
    assert queries.asked[0].as_of == token


@pytest.mark.parametrize(
    ("error", "status", "code", "field", "retry_after"),
    [
        (UnknownSymbolError(("NOPE",)), 404, "unknown_symbol", "symbol", None),
        (TooMuchError("too much"), 413, "query_too_large", None, None),
        (NotYetError("waited", {0: 9}, {0: 1}), 503, "not_yet", None, "1"),
        (BehindError(0, 9, 1), 503, "lake_behind", None, "1"),
        (LakeUnavailable("away"), 503, "lake_unavailable", None, "5"),
        (BusyError("busy"), 503, "busy", None, "1"),
        (BusyError("busy", 4.2), 503, "busy", None, "4"),
        (QueryError("odd"), 500, "query_failed", None, None),
        (RuntimeError(KEY), 500, "internal", None, None),
    ],
)
async def test_errors_of_a_query(client_of, error, status, code, field, retry_after):
    client = await client_of(application(CannedQueries(error=error)))
    response = await client.get("/v1/trades")
    assert response.status == status
    assert response.headers.get("Retry-After") == retry_after
    assert response.headers["Cache-Control"] == "no-store"
    found = await error_of(response)
    assert found["code"] == code
    assert found.get("field") == field
    assert KEY not in json.dumps(found)


async def test_a_request_that_exceeds_its_time_limit_is_ended(client_of):
    class Slow(CannedQueries):
        async def rows(self, request):
            await asyncio.Event().wait()

    client = await client_of(application(Slow(), answer_timeout_s=0.01))
    response = await client.get("/v1/trades")
    assert response.status == 503
    error = await error_of(response)
    assert error["code"] == "timeout"
    assert error["message"] == "the request exceeded its time limit of 0.01 s"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_405(client_of, method):
    client = await client_of(application())
    response = await client.request(method, "/v1/trades")
    assert response.status == 405
    assert response.headers["Allow"] == "GET,HEAD"
    assert (await error_of(response))["code"] == "method_not_allowed"


async def test_an_unknown_path_404(client_of):
    client = await client_of(application())
    response = await client.get("/v2/trades")
    assert response.status == 404
    error = await error_of(response)
    assert error["code"] == "not_found"
    assert "/v1/symbols, /v1/trades" in error["message"]


async def test_not_ready_503(client_of):
    ready = Readiness(ok=False, reason="the source is paused", retry_after_s=7)
    client = await client_of(application(ready=lambda: ready))
    response = await client.get("/health/ready")
    assert response.status == 503
    assert response.headers["Retry-After"] == "7"
    assert (await error_of(response))["message"] == "the source is paused"
    assert (await client.get("/health/live")).status == 200


async def test_requests_are_counted_without_the_callers_words(client_of):
    registry = CollectorRegistry()
    client = await client_of(application(telemetry=WebMetrics(registry)))
    for path in ("/v1/status", "/v1/trades?symbol=A", "/random/one", "/random/two"):
        await client.get(path)
    text = await (await client.get("/metrics")).text()

    def count(path, status):
        labels = {"method": "GET", "path": path, "status": status}
        return registry.get_sample_value("k2_http_requests_total", labels)

    assert count("/v1/status", "200") == 1
    assert count("/v1/trades", "200") == 1
    assert count("unmatched", "404") == 2
    assert "random" not in text
    labels = {"path": "/v1/status"}
    assert registry.get_sample_value("k2_http_request_seconds_count", labels) == 1


async def test_no_secret_and_no_query_is_logged(client_of, caplog):
    caplog.set_level(logging.DEBUG)
    client = await client_of(application(CannedQueries(error=RuntimeError("boom")), keys=(KEY,)))
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        await client.get("/v1/trades?symbol=PRIVATE", headers={"X-API-Key": KEY})
        await client.get("/v1/trades", headers={"Authorization": "Bearer guessed-key"})
        await client.get("/v1/trades", headers={"X-API-Key": KEY, "X-Correlation-ID": "mine"})
    said = json.dumps(logs, default=repr) + caplog.text
    assert {line["event"] for line in logs} >= {"view failed", "request answered"}
    assert all(line["correlation_id"] for line in logs)
    assert "mine" in {line["correlation_id"] for line in logs}
    for secret in (KEY, "guessed-key", "PRIVATE"):
        assert secret not in said


def access_lines(logs):
    return [line for line in logs if line["event"] == "request answered"]


async def test_each_request_has_one_access_line(client_of):
    client = await client_of(application())
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        status = await client.get("/v1/status", headers={"X-Correlation-ID": "mine"})
        trades = await client.get("/v1/trades?symbol=A")
        head = await client.head("/v1/status")
        missing = await client.post("/nowhere")
    sent = [len(await answer.read()) for answer in (status, trades, head, missing)]
    lines = access_lines(logs)
    assert [line["size_bytes"] for line in lines] == sent
    assert sent[2] == 0
    assert min(sent[0], sent[1], sent[3]) > 0
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/v1/status", 200),
        ("GET", "/v1/trades", 200),
        ("HEAD", "/v1/status", 200),
        ("POST", "unmatched", 404),
    ]
    assert all(line["duration_ms"] >= 0 and line["log_level"] == "info" for line in lines)
    assert lines[0]["correlation_id"] == "mine"
    asked_again_by = [line.get("token") for line in lines]
    assert asked_again_by == [None, (await trades.json())["meta"]["token"], None, None]
    assert len({line["correlation_id"] for line in lines}) == 4


async def test_probes_that_succeed_are_details_and_what_fails_is_not(client_of):
    ready = Readiness(ok=False, reason="the source is paused")
    client = await client_of(
        application(CannedQueries(error=RuntimeError("x")), ready=lambda: ready)
    )
    with structlog.testing.capture_logs() as logs:
        for path in ("/health/live", "/metrics", "/health/ready", "/v1/trades"):
            await client.get(path)
    levels = {line["path"]: line["log_level"] for line in access_lines(logs)}
    assert levels == {
        "/health/live": "debug",
        "/metrics": "debug",
        "/health/ready": "warning",
        "/v1/trades": "error",
    }


async def answered(logs):
    """Wait until a request has its access line."""
    async with asyncio.timeout(10):
        while not access_lines(logs):  # noqa: ASYNC110 - what a server does sets no event
            await asyncio.sleep(0.01)


async def test_a_client_that_goes_away_has_an_access_line_too(client_of):
    asked = asyncio.Event()

    class Slow(CannedQueries):
        async def rows(self, request):
            asked.set()
            await asyncio.Event().wait()

    registry = CollectorRegistry()
    runner = new_runner(application(Slow(), telemetry=WebMetrics(registry)))
    await runner.setup()
    with structlog.testing.capture_logs() as logs:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        _, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"GET /v1/trades HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asked.wait()
        writer.close()
        await answered(logs)
    await runner.cleanup()
    [line] = access_lines(logs)
    assert (line["status"], line["size_bytes"]) == (CLIENT_CLOSED_REQUEST, 0)
    labels = {"method": "GET", "path": "/v1/trades", "status": "499"}
    assert registry.get_sample_value("k2_http_requests_total", labels) == 1


async def test_a_client_that_leaves_with_the_last_byte_was_answered(monkeypatch):
    run = answers.AnswerSender.run

    async def slow(self, work):
        try:
            return await run(self, work)
        finally:
            await asyncio.sleep(0.1)  # time for a client to leave

    monkeypatch.setattr(answers.AnswerSender, "run", slow)
    runner = new_runner(application(CannedQueries()))
    await runner.setup()
    with structlog.testing.capture_logs() as logs:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"GET /v1/trades HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        await reader.readexactly(length)
        writer.close()
        await answered(logs)
    await runner.cleanup()
    [line] = access_lines(logs)
    assert (line["status"], line["size_bytes"]) == (200, length)


async def test_what_a_request_does_in_threads_has_its_id(client_of, monkeypatch):
    """Rendering is beside the event loop."""
    log = structlog.get_logger("k2_streams.web.http.answers")
    render = answers.render

    def logged(rows, meta, form):
        for piece in render(rows, meta, form):
            log.info("piece rendered")
            yield piece

    monkeypatch.setattr(answers, "render", logged)
    client = await client_of(application())
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        await client.get("/v1/trades", headers={"X-Correlation-ID": "mine"})
    found = [line for line in logs if line["event"] == "piece rendered"]
    assert found
    assert {line.get("correlation_id") for line in found} == {"mine"}


async def test_access_lines_are_bounded(client_of):
    """What the sampler lets through of a storm of requests, and of its one failure."""
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(Sampler())
    logger = logging.getLogger("k2_streams.web.http.telemetry")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    configured = structlog.get_config()
    configure_logs()
    try:
        client = await client_of(application(rate_limit_per_s=1e9))
        for _ in range(SAME_EVENT_MAX + 20):
            await client.get("/v1/status")
        await client.get("/v1/trades", headers={"Connection": "close"})
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        structlog.configure(**configured)
    lines = handler.stream.getvalue().splitlines()
    assert len(lines) == SAME_EVENT_MAX


async def test_answers_are_hardened(client_of):
    client = await client_of(application())
    for path in ("/", "/v1/status", "/nowhere"):
        headers = (await client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_paths_of_others_are_guarded_too(client_of):
    async def theirs(_request):
        return web.Response(text="theirs")

    app = web.Application()
    app.router.add_get("/theirs", theirs)
    install(app, services(keys=(KEY,)))
    client = await client_of(app)
    assert (await client.get("/theirs")).status == 401
    response = await client.get("/theirs", headers={"X-API-Key": KEY})
    assert await response.text() == "theirs"
    assert "X-Correlation-ID" in response.headers
