"""A finished answer as a response: its format, its validators, and its bytes without a pile-up."""

import asyncio
import contextvars
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import structlog
from aiohttp import web

from k2_streams.web.http.errors import BUSY, retry_later
from k2_streams.web.http.formats import (
    META_HEADER,
    ROWS_AT_ONCE,
    Format,
    encode_json,
    meta_header,
    render,
)
from k2_streams.web.http.room import Reservation, Room, size_of
from k2_streams.web.http.security import API_KEY, CALLER, KEY_HEADER

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")
#: Two threads: rendering gives the interpreter up for most of its time, and two is what it takes
#: for a short answer not to wait for a long one.
RENDER_THREADS = 2
#: Answers of more than one piece being sent at once; what they hold in memory has a bound of its
#: own (`web.http.room`).
MAX_LONG_ANSWERS = 32
#: A reader that takes nothing for so long has gone, or means harm.
STALLED_READER_S = 10.0
#: From the first byte of an answer to its last: 40 MB at 140 KB/s. A reader that takes a little now
#: and then holds its rows no longer than this.
SEND_TIMEOUT_S = 300.0
#: Written at a time; then it is waited until the reader has taken most of it. What is not taken is
#: held twice until then, by the connection too.
WRITE_BYTES = 64 << 10
_PINNED_SETTLED = "private, max-age=86400, immutable"
_PINNED_OPEN = "private, no-cache"
#: What an answer depends on, for caches: its format, and where keys are set whose key it is.
_VARY = "Accept"
_VARY_BY_KEY = f"{_VARY}, Cookie, Authorization, {KEY_HEADER}"


class AnswerSender:
    """Renders answers beside the event loop and sends them, in pieces and within bounds.

    Args:
        room: what all answers may hold in memory together.
    """

    def __init__(self, room: Room | None = None) -> None:
        self._room = room or Room()
        self._pool = ThreadPoolExecutor(RENDER_THREADS, thread_name_prefix="k2-render")
        self._long_answers = 0

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def reserve(self, request: web.Request, rows: int) -> Reservation:
        """Room for an answer of at most so many rows, to be taken before they are looked for.

        Raises:
            ApiError: 503, there is none.
        """
        return self._room.take(request.get(CALLER, ""), size_of(rows, ROWS_AT_ONCE))

    async def send(
        self,
        request: web.Request,
        rows: pa.Table,
        meta: msgspec.Struct,
        form: Format,
        headers: dict[str, str],
        reservation: Reservation | None = None,
    ) -> web.StreamResponse:
        """The answer as a response, which has been sent when this returns.

        Args:
            request: what is answered.
            rows: the answer's.
            meta: its proof.
            form: how it is written.
            headers: more of the response's.
            reservation: the room that was taken for it, and that its caller gives back.

        Raises:
            ApiError: 503 if too many long answers are on their way, or there is no room for it.
        """
        headers = {"Vary": vary(request), **headers, "Content-Type": form.content_type}
        if not form.has_meta:
            headers[META_HEADER] = meta_header(meta)
        if request.method == "HEAD":
            return web.Response(headers=headers)
        if reservation is None:
            size_bytes = size_of(rows.num_rows, ROWS_AT_ONCE, rows.nbytes)
            with self._room.take(request.get(CALLER, ""), size_bytes):
                return await self._send(request, rows, render(rows, meta, form), headers)
        reservation.needs(size_of(rows.num_rows, ROWS_AT_ONCE, rows.nbytes))
        return await self._send(request, rows, render(rows, meta, form), headers)

    async def send_body(
        self, request: web.Request, body: bytes, headers: dict[str, str]
    ) -> web.StreamResponse:
        """A body that is made already, to a reader who takes it within the bounds.

        Raises:
            ApiError: 503, there is no room for it.
        """
        if request.method == "HEAD":
            return web.Response(headers=headers)
        with self._room.take(request.get(CALLER, ""), len(body)):
            response = web.StreamResponse(headers=headers)
            return await self._stream_body(request, response, body)

    async def _send(
        self, request: web.Request, rows: pa.Table, pieces: Iterator[bytes], headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        if rows.num_rows <= ROWS_AT_ONCE:
            body = await self.run(lambda: b"".join(pieces))
            return await self._stream_body(request, response, body)
        if self._long_answers >= MAX_LONG_ANSWERS:
            raise retry_later(BUSY, f"expected at most {MAX_LONG_ANSWERS} long answers at once")
        self._long_answers += 1
        try:
            # The first piece is made before the head is sent: what fails until then is an error
            # body.
            first = await self.run(lambda: next(pieces, b""))
            return await self._stream(request, response, first, pieces)
        finally:
            self._long_answers -= 1

    async def _stream_body(
        self, request: web.Request, response: web.StreamResponse, body: bytes
    ) -> web.StreamResponse:
        """Send a body whose length its reader knows.

        Its last bytes end the response: a reader that has them may close the connection at once,
        and nothing that is still to be done may be cancelled for it.
        """
        response.content_length = len(body)
        last = max(len(body) - WRITE_BYTES, 0)

        async def write() -> None:
            await _write(response, memoryview(body)[:last])
            await _end(response, body[last:])

        return await self._in_time(request, response, write)

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        piece: bytes | None,
        more: Iterator[bytes],
    ) -> web.StreamResponse:
        async def write() -> None:
            following = piece
            while following is not None:
                await _write(response, memoryview(following))
                following = await self.run(lambda: next(more, None))
            await _end(response)

        return await self._in_time(request, response, write)

    async def _in_time(
        self,
        request: web.Request,
        response: web.StreamResponse,
        write: Callable[[], Awaitable[None]],
    ) -> web.StreamResponse:
        """The response whose body `write` writes, broken off where that fails or takes too long."""
        await response.prepare(request)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await write()
        except (TimeoutError, ConnectionError) as error:
            _log.info("reader gone", path=request.path, error=type(error).__name__)
            abort(request)
        except Exception:  # noqa: BLE001 (whatever it is, the head is out already)
            # Half of it is out: to break the connection is the only way left to say so.
            _log.exception("answer broken off", path=request.path)
            abort(request)
        return response

    async def run(self, work: Callable[[], _T]) -> _T:
        """Render beside the event loop."""
        in_context = contextvars.copy_context().run  # what the thread logs has the request's id
        return await asyncio.get_running_loop().run_in_executor(self._pool, in_context, work)


async def _write(response: web.StreamResponse, view: memoryview) -> None:
    """Write a piece as fast as its reader takes it.

    Raises:
        TimeoutError: the reader took nothing for too long.
    """
    for start in range(0, len(view), WRITE_BYTES):
        async with asyncio.timeout(STALLED_READER_S):
            await response.write(view[start : start + WRITE_BYTES])


async def _end(response: web.StreamResponse, rest: bytes = b"") -> None:
    """Write what is left, and the end.

    Raises:
        TimeoutError: the reader took nothing for too long.
    """
    async with asyncio.timeout(STALLED_READER_S):
        await response.write_eof(rest)


def vary(request: web.Request) -> str:
    """The headers of a request that choose its answer, as `Vary`."""
    return _VARY if request.get(API_KEY) is None else _VARY_BY_KEY


def pinned_headers(
    request: web.Request, question: str, *, complete: bool, settled: bool, gaps: Any
) -> dict[str, str]:
    """The validators of an answer whose rows are the same for ever, and what it depends on.

    The tag is weak: the rows are the same, times and loads in `meta` are not. The gaps are part of
    it; as long as these may change the answer is asked for again each time. What the caller's key
    may read is part of it too. Where keys are set, each answer is asked for again: a key may be
    taken away or narrowed, and nothing that a cache kept may outlive it.
    """
    key = request.get(API_KEY)
    proof = [complete, gaps]
    if key is not None:
        proof.append(key.entitlement.limits)
    digest = hashlib.blake2b(question.encode() + encode_json(proof), digest_size=16)
    return {
        "ETag": f'W/"{digest.hexdigest()}"',
        "Cache-Control": _PINNED_SETTLED if settled and key is None else _PINNED_OPEN,
        "Vary": vary(request),
    }


def is_known(request: web.Request, etag: str) -> bool:
    """Whether the caller holds this answer already (`If-None-Match`)."""
    value = etag.removeprefix("W/").strip('"')
    return any(known.value in (value, "*") for known in request.if_none_match or ())


def abort(request: web.Request) -> None:
    """Break the connection: what was sent of an answer is not all of it."""
    if request.transport is not None:
        request.transport.abort()
