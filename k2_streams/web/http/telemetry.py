"""What the server reports of each request: its metrics and its access line."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from k2_streams import traces
from k2_streams.clock import Clock
from k2_streams.web.http.correlation import correlation_id
from k2_streams.web.http.security import API_KEY

_log = structlog.get_logger(__name__)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Asked every few seconds by machines: their access lines are of level DEBUG unless they fail.
_PROBES = frozenset({"/health/live", "/health/ready", "/metrics"})
#: The client closed its connection before the response was complete (as in nginx); never sent.
CLIENT_CLOSED_REQUEST = 499

#: Of a stream: when its first byte was sent. It lasts as long as its reader likes.
BEGUN_S: web.RequestKey[float] = web.RequestKey("begun_s", float)
#: Of rows: what asks for the same again. Of a stream: what goes on behind its last frame.
ANSWER_TOKEN: web.RequestKey[str] = web.RequestKey("answer_token", str)


class Telemetry(Protocol):
    """Counts what happens in the server: `k2_streams.runtime.metrics.web` implements it."""

    def request_answered(
        self, method: str, path: str, status: int, duration_s: float, trace_id: str = ""
    ) -> None:
        """A request ended; method and path come from the server's own lists.

        Args:
            method: of HTTP.
            path: the route.
            status: of the answer.
            duration_s: until its last byte.
            trace_id: of the request's trace; empty: there is none.
        """
        ...

    def measure(self, connections: Callable[[], int], response_bytes: Callable[[], int]) -> None:
        """Take what reads the open connections and the memory of responses in progress."""
        ...

    def streams(self, count: int) -> None:
        """So many streams are open."""
        ...

    def stream_refused(self) -> None:
        """All places for streams were taken."""
        ...

    def rows_streamed(self, rows: int, late_s: float | None) -> None:
        """Rows were given; where they are paced, so long after they were due."""
        ...

    def stream_fell_back(self) -> None:
        """A stream's reader fell behind the tail."""
        ...

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """All metrics of the process, and their content type.

        Args:
            accept: what the caller takes: Prometheus' text format, or that of OpenMetrics, which
                has the exemplars.
        """
        ...


def telemetry(report: Telemetry, clock: Clock) -> Middleware:
    """The middleware that counts, times and logs each request.

    One access line per request: method, route, status, duration, bytes of the body, token of the
    rows, name of the API key; the correlation id is bound to it. Neither query nor headers are
    logged: they may contain keys and what a desk is interested in. A token has offsets alone. The
    log's sampler bounds the lines per interval (`runtime.logs`).
    """

    def ended(
        request: web.Request, status: int, size_bytes: int, started_s: float, span: traces.TraceSpan
    ) -> None:
        duration_s = request.get(BEGUN_S, clock.monotonic()) - started_s
        # Labels come from our own routes, never from the caller: their number is bounded.
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        report.request_answered(method, path, status, duration_s, span.trace_id)
        for name, value in (("method", method), ("path", path), ("status", status)):
            span.set(name, value)
        if status >= 500:
            span.fail(str(status))
        key, token = request.get(API_KEY), request.get(ANSWER_TOKEN)
        _log.log(
            _level(path, status),
            "request answered",
            method=method,
            path=path,
            status=status,
            duration_ms=round(duration_s * 1e3, 1),
            size_bytes=size_bytes,
            **({} if token is None else {"token": token}),
            **({} if key is None else {"key": key.name}),
        )

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started_s = clock.monotonic()
        parent = request.headers.get("traceparent")
        with traces.span("request", parent, correlation_id=correlation_id(request)) as span:
            try:
                response = await handler(request)
            except asyncio.CancelledError:
                ended(request, CLIENT_CLOSED_REQUEST, 0, started_s, span)
                raise
            ended(request, response.status, _size_bytes(request, response), started_s, span)
            return response

    return middleware


def _level(path: str, status: int) -> int:
    if status >= 500 and status != web.HTTPServiceUnavailable.status_code:
        return logging.ERROR
    if status == web.HTTPServiceUnavailable.status_code:
        return logging.WARNING
    return logging.DEBUG if path in _PROBES and status < 400 else logging.INFO


def _size_bytes(request: web.Request, response: web.StreamResponse) -> int:
    """Bytes of the body; of one in chunks, as sent. A response that broke off counts as 0."""
    if request.method == "HEAD" or (response.prepared and not response.body_length):
        return 0
    return response.body_length if response.content_length is None else response.content_length
