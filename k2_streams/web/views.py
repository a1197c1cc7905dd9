"""The paths of the HTTP contract. A view reads the request, asks one question, and hands over."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

import msgspec
import pyarrow as pa
from aiohttp import web
from multidict import MultiMapping
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from k2_streams.core.lines.stats import LineReport
from k2_streams.core.sequence.gaps import Gap
from k2_streams.query.answer import SnapshotRow, symbol_row
from k2_streams.query.request import (
    parse_gaps,
    parse_rows,
    parse_snapshots,
    parse_symbols,
)
from k2_streams.web.http.answers import Sender, is_known, pinned_headers
from k2_streams.web.http.errors import bad_parameter, unavailable
from k2_streams.web.http.formats import Format, encode_json
from k2_streams.web.http.negotiation import choose
from k2_streams.web.http.tables import table_of
from k2_streams.web.services import Services

#: The longest wait that a caller may ask for (5 s) and the longest query, with room.
ANSWER_TIMEOUT_S = 30.0
NO_STORE = {"Cache-Control": "no-store"}
_Request = TypeVar("_Request")
_Result = TypeVar("_Result")


class SnapshotsMeta(msgspec.Struct, frozen=True):
    """How many snapshots are listed."""

    snapshots: int


class LinesAnswer(msgspec.Struct, frozen=True):
    """How the redundant lines do, of the partitions that this worker works."""

    lines: list[LineReport]
    partitions: list[int]  # what the figures are of
    complete: bool  # those are all there are: nothing is worked elsewhere


class Health(msgspec.Struct, frozen=True):
    """What a probe is told."""

    status: Literal["live", "ready"]


class Views:
    """The handlers, over the services that were given at `install`."""

    def __init__(self, services: Services, sender: Sender) -> None:
        self._services = services
        self._sender = sender

    async def rows(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/trades`, or whatever the stream is called."""
        asked = _parsed(request.query, parse_rows)
        with self._sender.reserve(request, asked.limit) as reservation:
            answer = await _bounded(self._services.query.rows(asked))
            form = choose(asked.format, request.headers.get("Accept", ""))
            headers = NO_STORE
            if answer.meta.pinned:
                meta = answer.meta
                question = f"{asked!r}{meta.token}{form.value}"
                headers = pinned_headers(
                    question, complete=meta.complete, settled=meta.settled, gaps=meta.gaps
                )
                if is_known(request, headers["ETag"]):
                    return web.Response(status=304, headers={"Vary": "Accept", **headers})
            return await self._sender.send(
                request, answer.rows, answer.meta, form, headers, reservation
            )

    async def gaps(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/gaps`."""
        asked = _parsed(request.query, parse_gaps)
        answer = await _bounded(self._services.query.gaps(asked))
        rows = table_of(answer.gaps, Gap)
        return await self._fresh(request, rows, answer.meta, asked.format)

    async def symbols(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/symbols`."""
        asked = _parsed(request.query, parse_symbols)
        answer = await _bounded(self._services.query.symbols(asked))
        rows = table_of(answer.symbols, symbol_row(self._services.stream))
        return await self._fresh(request, rows, answer.meta, asked.format)

    async def snapshots(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/snapshots`."""
        asked = _parsed(request.query, parse_snapshots)
        found = await _bounded(self._services.query.snapshots(asked))
        rows = table_of(found, SnapshotRow)
        return await self._fresh(request, rows, SnapshotsMeta(len(found)), asked.format)

    async def status(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/status`."""
        take_no_parameters(request)
        return _json(self._services.status())

    async def lines(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/lines`."""
        take_no_parameters(request)
        found = self._services.lines()
        complete = len(found.partitions) == found.of_partitions
        return _json(LinesAnswer(found.lines, found.partitions, complete))

    async def live(self, request: web.Request) -> web.StreamResponse:
        """`GET /health/live`: the event loop turns."""
        take_no_parameters(request)
        return _json(Health("live"))

    async def ready(self, request: web.Request) -> web.StreamResponse:
        """`GET /health/ready`: queries may be sent here."""
        take_no_parameters(request)
        readiness = self._services.ready()
        if not readiness.ok:
            raise unavailable("not_ready", readiness.reason, max(1, readiness.retry_after_s))
        return _json(Health("ready"))

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """`GET /metrics`, in Prometheus' text format."""
        take_no_parameters(request)
        body = generate_latest(self._services.metrics_registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST, **NO_STORE})

    async def _fresh(
        self, request: web.Request, rows: pa.Table, meta: msgspec.Struct, name: str | None
    ) -> web.StreamResponse:
        form = choose(name, request.headers.get("Accept", ""))
        return await self._sender.send(request, rows, meta, form, NO_STORE)


def _parsed(
    query: MultiMapping[str], parse: Callable[[dict[str, list[str]]], _Request]
) -> _Request:
    return parse({name: query.getall(name) for name in query})


def take_no_parameters(request: web.Request) -> None:
    """Refuse any parameter, with its name.

    Raises:
        ApiError: 422, there is one.
    """
    for name in request.query:
        raise bad_parameter(name, "unknown; expected no parameter")


async def _bounded(question: Awaitable[_Result]) -> _Result:
    """The answer to a question, or 503 when it takes too long."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await question
    except TimeoutError as error:
        raise unavailable("timeout", f"no answer within {ANSWER_TIMEOUT_S:.0f} s") from error


def _json(value: object) -> web.Response:
    headers = {"Content-Type": Format.JSON.value, **NO_STORE}
    return web.Response(body=encode_json(value), headers=headers)
