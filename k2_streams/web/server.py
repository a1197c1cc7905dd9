"""Puts K2's paths and middlewares into an aiohttp application, which may be Faust's."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from k2_streams.clock import Clock
from k2_streams.web.declaration.endpoint import Endpoint, Site, check_endpoints
from k2_streams.web.endpoints import declared
from k2_streams.web.http import page_files, session
from k2_streams.web.http.answers import AnswerSender
from k2_streams.web.http.connections import IDLE_TIMEOUT_S
from k2_streams.web.http.correlation import correlation, id_source, name_response
from k2_streams.web.http.dispatch import Dispatcher
from k2_streams.web.http.formats import encode_json
from k2_streams.web.http.middlewares import errors
from k2_streams.web.http.rate_limit import RateLimiter
from k2_streams.web.http.room import Room
from k2_streams.web.http.security import (
    API_KEY,
    MAX_LINE_BYTES,
    RESPONSE_HEADERS,
    access,
    limits,
    offered_key,
    unauthorized,
)
from k2_streams.web.http.streaming import StreamSender
from k2_streams.web.http.telemetry import telemetry
from k2_streams.web.openapi import document
from k2_streams.web.page import files
from k2_streams.web.services import Services

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


@asynccontextmanager
async def serve_on_loopback(services: Services) -> AsyncIterator[str]:
    """Serve K2's paths on a free port of this machine until the block ends; the address."""
    app = web.Application(handler_args=HANDLER_ARGS)
    install(app, services)
    runner = new_runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def install(app: web.Application, services: Services, views: Sequence[Endpoint[Any]] = ()) -> None:
    """Add K2's paths and middlewares to an application that is not frozen yet.

    The middlewares guard every path of the application, also those that others added. The order,
    from the outside in: the connection is busy; an id for the request; count and time it; turn what
    is raised into an error body; bound its size; ask for the key and limit the rate.

    Args:
        app: of aiohttp.
        services: what the endpoints need of the process.
        views: a user's own endpoints, beside the built-in ones and under the same rules.

    Raises:
        RuntimeError: the application is frozen.
        EndpointError: a view cannot be served.
    """
    built_in = declared(services.streams)
    check_endpoints(built_in, views, services.by_name)
    endpoints = (*built_in, *views)
    described = encode_json(document(endpoints, keyed=len(services.keys) > 0))
    room = Room(services.answers_bytes)
    sender = AnswerSender(room)
    services.telemetry.measure(lambda: len(services.connections), lambda: room.held_bytes)
    file_route = app.router.add_resource(files.ROUTE)
    public_paths = frozenset(endpoint.path for endpoint in endpoints if endpoint.is_public)
    limiter = RateLimiter(services.rate_limit_per_s)
    app.middlewares.extend(
        [
            services.connections.middleware(),
            correlation(id_source(services.clock.time_ns())),
            telemetry(services.telemetry, services.clock),
            errors([endpoint.path for endpoint in endpoints]),
            limits(frozenset(endpoint.path for endpoint in endpoints if endpoint.body)),
            access(services.keys, limiter, services.clock, public_paths | {file_route.canonical}),
        ]
    )
    app.on_response_prepare.append(name_response)
    app.on_response_prepare.append(_harden)
    app.on_cleanup.append(_closing(sender))
    streams = StreamSender(
        sender, room, services.telemetry, services.clock, limit=services.streams_max
    )
    dispatcher = Dispatcher(Site(services, endpoints, described), sender, streams)
    for endpoint in endpoints:
        # And HEAD: the same head, without the body.
        app.router.add_get(endpoint.path, dispatcher.handler(endpoint))
        if endpoint.body is not None:
            app.router.add_post(endpoint.path, dispatcher.handler(endpoint))
    file_route.add_route("GET", page_files.send)
    app.router.add_post(session.PATH, _opening_a_session(services.clock))
    app.router.add_delete(session.PATH, _close_session)


def _opening_a_session(clock: Clock) -> Handler:
    async def open_session(request: web.Request) -> web.Response:
        key = request.get(API_KEY)
        if key is None:  # no keys are set: nobody needs a session
            return session.closed()
        if not offered_key(request):  # else a session could renew itself for ever
            raise unauthorized()
        return session.opened(request, key.digest, clock)

    return open_session


async def _close_session(_request: web.Request) -> web.Response:
    return session.closed()


async def _harden(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in RESPONSE_HEADERS.items():
        response.headers.setdefault(name, value)


def _closing(sender: AnswerSender) -> Callable[[web.Application], Awaitable[None]]:
    async def close(_app: web.Application) -> None:
        sender.close()

    return close
