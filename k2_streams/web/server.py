"""Puts K2's paths and middlewares into an aiohttp application, which may be Faust's."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from k2_streams.web.http.answers import Sender
from k2_streams.web.http.connections import IDLE_TIMEOUT_S
from k2_streams.web.http.correlation import correlation, id_source, name_response
from k2_streams.web.http.formats import Format, encode_json
from k2_streams.web.http.load_metrics import LoadMetrics
from k2_streams.web.http.middlewares import errors, telemetry
from k2_streams.web.http.rate_limit import RateLimiter
from k2_streams.web.http.room import Room
from k2_streams.web.http.security import MAX_LINE_BYTES, RESPONSE_HEADERS, access, limits
from k2_streams.web.openapi import document
from k2_streams.web.page import handler as page
from k2_streams.web.services import Services
from k2_streams.web.views import NO_STORE, Views, take_no_parameters

#: Of `aiohttp.web.Application`: what the parser of requests takes.
HANDLER_ARGS = {"max_line_size": MAX_LINE_BYTES, "max_field_size": MAX_LINE_BYTES}


def new_runner(app: web.Application) -> web.AppRunner:
    """The server of an application. A query whose client has gone is cancelled."""
    return web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=2 * IDLE_TIMEOUT_S,  # the bounds on connections come first
    )


def install(app: web.Application, services: Services) -> None:
    """Add K2's paths and middlewares to an application that is not frozen yet.

    The middlewares guard every path of the application, also those that others added. The order,
    from the outside in: the connection is busy; an id for the request; count and time it; turn what
    is raised into an error body; bound its size; ask for the key and limit the rate.

    Raises:
        RuntimeError: the application is frozen.
        ValueError: an API key is empty.
    """
    room = Room(services.answers_bytes)
    sender = Sender(room)
    LoadMetrics(services.metrics_registry, services.connections, room)
    views = Views(services, sender)
    app.middlewares.extend(
        [
            services.connections.middleware(),
            correlation(id_source(services.clock.time_ns())),
            telemetry(services.metrics_registry, services.clock),
            errors(),
            limits(),
            access(services.keys, RateLimiter(services.rate_limit_per_s), services.clock),
        ]
    )
    app.on_response_prepare.append(name_response)
    app.on_response_prepare.append(_harden)
    app.on_cleanup.append(_closing(sender))
    described = encode_json(document(services.stream, keyed=bool(services.keys)))
    for path, view in {
        "/": page.view,
        "/v1/openapi.json": _constant(described),
        f"/v1/{services.stream.name}": views.rows,
        "/v1/gaps": views.gaps,
        "/v1/symbols": views.symbols,
        "/v1/snapshots": views.snapshots,
        "/v1/lines": views.lines,
        "/v1/status": views.status,
        "/health/live": views.live,
        "/health/ready": views.ready,
        "/metrics": views.metrics,
    }.items():
        app.router.add_get(path, view)  # and HEAD: the same head, without the body


def _constant(body: bytes) -> Handler:
    async def view(request: web.Request) -> web.StreamResponse:
        take_no_parameters(request)
        return web.Response(body=body, headers={"Content-Type": Format.JSON.value, **NO_STORE})

    return view


async def _harden(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in RESPONSE_HEADERS.items():
        response.headers.setdefault(name, value)


def _closing(sender: Sender) -> Callable[[web.Application], Awaitable[None]]:
    async def close(_app: web.Application) -> None:
        sender.close()

    return close
