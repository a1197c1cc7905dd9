"""What happens to every request around its view: its log line, its metrics, its errors."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Histogram

from k2_streams.clock import Clock
from k2_streams.query.errors import QueryError
from k2_streams.web.http.errors import (
    INTERNAL,
    QUERY_FAILED,
    ApiError,
    ErrorKind,
    of_query,
    response_of,
)

_log = structlog.get_logger(__name__)
#: From a cached 304 to the longest wait and scan; the goal of 500 ms is a bound of its own.
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def telemetry(registry: CollectorRegistry, clock: Clock) -> Middleware:
    """The middleware that counts, times and logs each request, never with its query or headers."""
    requests = Counter(
        "k2_http_requests", "HTTP requests.", ("method", "path", "status"), registry=registry
    )
    seconds = Histogram(
        "k2_http_request_seconds",
        "Time to an answer, its last byte included.",
        ("path",),
        buckets=_BUCKETS_S,
        registry=registry,
    )

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started_s = clock.monotonic()
        response = await handler(request)
        elapsed_s = clock.monotonic() - started_s
        # Labels come from our own routes, never from the caller: their number is bounded.
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        requests.labels(method, path, str(response.status)).inc()
        seconds.labels(path).observe(elapsed_s)
        _log.debug(
            "answered",
            method=method,
            path=path,
            status=response.status,
            elapsed_ms=round(elapsed_s * 1e3, 1),
        )
        return response

    return middleware


def errors() -> Middleware:
    """The middleware that turns whatever a view raises into the error body."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return response_of(error, request)
        except QueryError as error:
            refused = of_query(error)
            if refused.kind is QUERY_FAILED:
                _log.error("query failed", error=str(error), code=error.code)
            return response_of(refused, request)
        except web.HTTPException as error:
            return response_of(_of_http(error), request)
        except Exception:  # noqa: BLE001 (a fault of ours must not reach the caller as text)
            _log.exception("view failed", path=request.path)
            message = "internal error; see the server log for this correlation id"
            return response_of(ApiError(INTERNAL, message), request)

    return middleware


def _of_http(error: web.HTTPException) -> ApiError:
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    code = error.reason.lower().replace(" ", "_")
    return ApiError(ErrorKind(error.status, code, ""), error.reason, headers=headers)
