"""One id names a request everywhere: in its answer, its error, and every line it logs."""

import itertools
from collections.abc import Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

HEADER = "X-Correlation-ID"
#: Long enough for any id in use (a trace context has 55 characters), short enough for a log line.
MAX_LENGTH = 128
_REQUEST_KEY: web.RequestKey[str] = web.RequestKey("correlation_id", str)


def is_acceptable(offered: str) -> bool:
    """Whether a caller's id may be used: 1 to 128 printable ASCII characters.

    Anything else could forge lines of a log.
    """
    return 1 <= len(offered) <= MAX_LENGTH and offered.isascii() and offered.isprintable()


def correlation_id(request: web.Request) -> str:
    """The id of a request that the middleware has seen."""
    return request[_REQUEST_KEY]


def id_source(started_ns: int) -> Callable[[], str]:
    """Ids that no other process gives: the time this one started, and a count."""
    counter = itertools.count(1)
    return lambda: f"{started_ns:016x}-{next(counter):08x}"


def correlation(new_id: Callable[[], str]) -> Middleware:
    """The middleware: takes the caller's id or makes one, and binds it to every log line."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        offered = request.headers.get(HEADER, "")
        request[_REQUEST_KEY] = offered if is_acceptable(offered) else new_id()
        with structlog.contextvars.bound_contextvars(correlation_id=correlation_id(request)):
            return await handler(request)

    return middleware


async def name_response(request: web.Request, response: web.StreamResponse) -> None:
    """A signal for `on_response_prepare`: the id goes out with the answer's headers."""
    known = request.get(_REQUEST_KEY)
    if known is not None:
        response.headers[HEADER] = known
