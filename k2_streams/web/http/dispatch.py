"""From a request to an endpoint's answer: what no endpoint has to care about."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from k2_streams.query.entitlement import check_relation
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.subscription.subscription import Subscription
from k2_streams.web.declaration.endpoint import (
    Body,
    Call,
    Endpoint,
    JsonAnswer,
    PageAnswer,
    Result,
    Rows,
    Site,
    StreamAnswer,
    TableAnswer,
    TextAnswer,
)
from k2_streams.web.http.answers import AnswerSender, is_known, pinned_headers
from k2_streams.web.http.errors import (
    BODY_TOO_LONG,
    TIMEOUT,
    UNSUPPORTED_MEDIA_TYPE,
    ApiError,
    retry_later,
)
from k2_streams.web.http.formats import ROWS_AT_ONCE, Format, encode_json
from k2_streams.web.http.negotiation import choose, choose_frames
from k2_streams.web.http.room import Reservation, size_of
from k2_streams.web.http.security import API_KEY
from k2_streams.web.http.streaming import RESUME_HEADER, StreamSender
from k2_streams.web.http.telemetry import ANSWER_TOKEN

#: The media type of a body that is sent, its length, and how long it may take to come.
SQL = "application/sql"
MAX_BODY_BYTES = 64 << 10
BODY_TIMEOUT_S = 10.0
NO_STORE = {"Cache-Control": "no-store"}


class Dispatcher:
    """Makes the handlers of a site's endpoints."""

    def __init__(self, site: Site, sender: AnswerSender, streams: StreamSender) -> None:
        self._site = site
        self._sender = sender
        self._streams = streams

    def handler(self, endpoint: Endpoint[Any]) -> Handler:
        """The handler of an endpoint.

        1. Read the parameters; narrow what the handler sees to what the caller's key may read.
        2. Call the endpoint's handler, within the time limit; it may reserve room for its rows.
        3. Send what it returns, in the format that the caller wants. Room is given back then.
        """
        if isinstance(endpoint.answer, StreamAnswer):
            return self._stream_handler(endpoint, endpoint.answer)

        async def handle(request: web.Request) -> web.StreamResponse:
            query = {name: request.query.getall(name) for name in request.query}
            if request.method == "POST" and endpoint.body is not None:
                query.setdefault(endpoint.body, []).append(await _body_of(request))
            reservations: list[Reservation] = []
            with ExitStack() as room:

                def reserve(rows: int) -> None:
                    taken = room.enter_context(self._sender.reserve(request, rows))
                    reservations.append(taken)

                call = endpoint.call(query, self._site_for(request, endpoint), reserve)
                result = await self._answered(
                    replace(call, accept=request.headers.get("Accept", ""))
                )
                if isinstance(endpoint.answer, TableAnswer):
                    form = choose(call.format, request.headers.get("Accept", ""))
                    return await self._send_rows(request, _rows(call, result), form, reservations)
                return await self._send_body(request, endpoint, result)

        return handle

    def _stream_handler(self, endpoint: Endpoint[Any], answer: StreamAnswer) -> Handler:
        """The handler of an endpoint that gives frames.

        1. Take one of the places that there are for streams.
        2. Read the parameters; the header that a browser resumes by stands for `from`.
        3. Call the endpoint's handler, within the time limit, and send frames.
        """

        async def handle(request: web.Request) -> web.StreamResponse:
            query = {name: request.query.getall(name) for name in request.query}
            resumed = request.headers.get(RESUME_HEADER)
            if resumed is not None:
                query["from"] = [resumed]
            with self._streams.place(request) as place:
                call = endpoint.call(query, self._site_for(request, endpoint))
                subscription = await self._answered(call)
                if not isinstance(subscription, Subscription):
                    raise TypeError(f"{endpoint.path} declares a stream: found {subscription!r}")
                form = choose_frames(call.format, request.headers.get("Accept", ""))
                return await self._streams.send(request, subscription, answer.columns, form, place)

        return handle

    def _site_for(self, request: web.Request, endpoint: Endpoint[Any]) -> Site:
        """What is served, as far as the caller may read it.

        Raises:
            NotEntitledError: of this endpoint nothing.
        """
        key = request.get(API_KEY)
        if key is None or key.entitlement.is_all:
            return self._site
        if endpoint.granted_as is not None:
            check_relation(key.entitlement, endpoint.granted_as)
        return replace(self._site, services=self._site.services.entitled_to(key.entitlement))

    async def _answered(self, call: Call[Any]) -> Result:
        limit_s = self._site.services.answer_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await call.endpoint.handler(call)
        except TimeoutError as error:
            raise retry_later(
                TIMEOUT, f"the request exceeded its time limit of {limit_s:g} s"
            ) from error

    async def _send_rows(
        self, request: web.Request, rows: Rows, form: Format, reservations: list[Reservation]
    ) -> web.StreamResponse:
        headers = NO_STORE
        if (pinned := rows.pinned) is not None:
            headers = pinned_headers(
                request,
                pinned.query + form.value,
                complete=pinned.complete,
                settled=pinned.settled,
                gaps=pinned.gaps,
            )
            if is_known(request, headers["ETag"]):
                return web.Response(status=304, headers=headers)
        if (token := getattr(rows.meta, "token", None)) is not None:
            request[ANSWER_TOKEN] = token
        size_bytes = size_of(rows.table.num_rows, ROWS_AT_ONCE, rows.table.nbytes)
        reservation = _kept(reservations, size_bytes)
        return await self._sender.send(request, rows.table, rows.meta, form, headers, reservation)

    async def _send_body(
        self, request: web.Request, endpoint: Endpoint[Any], result: Result
    ) -> web.StreamResponse:
        body, headers = _encoded(endpoint, result)
        if endpoint.relations:  # its length depends on rows: it is bounded as they are
            return await self._sender.send_body(request, body, headers)
        return web.Response(body=body, headers=headers)


async def _body_of(request: web.Request) -> str:
    """The text that a request sends.

    Raises:
        ApiError: 413, it is too long; 415, its type is not that of SQL; 422, it is not UTF-8.
    """
    if request.content_type != SQL:
        raise ApiError(UNSUPPORTED_MEDIA_TYPE, f"expected Content-Type: {SQL}")
    body = bytearray()
    async with asyncio.timeout(BODY_TIMEOUT_S):
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise ApiError(BODY_TOO_LONG, f"expected a body of at most {MAX_BODY_BYTES} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InvalidParameter("query", "expected UTF-8") from error


def _kept(reservations: list[Reservation], size_bytes: int) -> Reservation | None:
    """The reservation for the answer; what was read for it is no longer held beside it.

    None: the answer needs more than any of them, so it takes room of its own.
    """
    largest = max(reservations, key=lambda one: one.size_bytes, default=None)
    kept = largest if largest is not None and largest.size_bytes >= size_bytes else None
    for one in reservations:
        if one is not kept:
            one.needs(0)
    return kept


def _rows(call: Call[Any], result: Result) -> Rows:
    if not isinstance(result, Rows):
        raise TypeError(f"{call.endpoint.path} declares a table: expected Rows, found {result!r}")
    return result


def _encoded(endpoint: Endpoint[Any], result: Result) -> tuple[bytes, dict[str, str]]:
    """The bytes of an answer that is no table, and its headers.

    Raises:
        TypeError: it is not what the endpoint declares.
    """
    match endpoint.answer, result:
        case ((JsonAnswer() | TextAnswer() as answer), Body(content=content, headers=headers)):
            media_type = (
                Format.JSON.value
                if isinstance(answer, JsonAnswer)
                else f"{answer.media_type}; charset=utf-8"
            )
            body = content.encode() if isinstance(content, str) else content
            return body, {"Content-Type": media_type, **NO_STORE, **headers}
        case PageAnswer(), Body(content=content, headers=headers):
            body = content.encode() if isinstance(content, str) else content
            return body, {**NO_STORE, **headers}
        case JsonAnswer(), msgspec.Struct() | dict():
            return encode_json(result), {"Content-Type": Format.JSON.value, **NO_STORE}
        case _:
            raise TypeError(
                f"{endpoint.path} declares {endpoint.answer!r}, its handler returned {result!r}"
            )
