"""A finished answer as a response: its format, its validators, and its bytes without a pile-up."""

import asyncio
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pyarrow as pa
import structlog
from aiohttp import web

from k2_streams.web.errors import unavailable
from k2_streams.web.formats import (
    META_HEADER,
    ROWS_AT_ONCE,
    Format,
    encode_json,
    meta_header,
    render,
)

_log = structlog.get_logger(__name__)
#: Two threads: rendering gives the interpreter up for most of its time, and two is what it takes
#: for a short answer not to wait for a long one.
RENDER_THREADS = 2
#: Answers of more than one piece being sent at once: each holds its rows (25 MB for 100,000) for
#: as long as its reader takes.
MAX_LONG_ANSWERS = 8
#: A reader that takes nothing for so long has gone, or means harm.
STALLED_READER_S = 30.0
_PINNED_SETTLED = "private, max-age=86400, immutable"
_PINNED_OPEN = "private, no-cache"


class Sender:
    """Renders answers beside the event loop and sends them, long ones piece by piece."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(RENDER_THREADS, thread_name_prefix="k2-render")
        self._long_answers = 0

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def send(
        self,
        request: web.Request,
        rows: pa.Table,
        meta: msgspec.Struct,
        form: Format,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        """The answer as a response; one of more than a piece has been sent when this returns.

        Raises:
            ApiError: 503 if too many long answers are on their way.
        """
        headers = {"Vary": "Accept", **headers}
        if form is Format.CSV:
            headers[META_HEADER] = meta_header(meta)
        if request.method == "HEAD":
            return web.Response(headers=headers | {"Content-Type": form.content_type})
        pieces = render(rows, meta, form)
        if rows.num_rows <= ROWS_AT_ONCE:
            body = await self._run(lambda: b"".join(pieces))
            return web.Response(body=body, headers=headers | {"Content-Type": form.content_type})
        if self._long_answers >= MAX_LONG_ANSWERS:
            raise unavailable("busy", f"expected at most {MAX_LONG_ANSWERS} long answers at once")
        self._long_answers += 1
        try:
            return await self._stream(request, pieces, form, headers)
        finally:
            self._long_answers -= 1

    async def _stream(
        self,
        request: web.Request,
        pieces: Iterator[bytes],
        form: Format,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        # The first piece is made before the head is sent: what fails until then is an error body.
        piece = await self._run(lambda: next(pieces, None))
        response = web.StreamResponse(headers=headers | {"Content-Type": form.content_type})
        await response.prepare(request)
        try:
            while piece is not None:
                async with asyncio.timeout(STALLED_READER_S):
                    await response.write(piece)
                piece = await self._run(lambda: next(pieces, None))
            await response.write_eof()
        except (TimeoutError, ConnectionError) as error:
            _log.info("reader gone", path=request.path, error=type(error).__name__)
            _abort(request)
        except Exception:  # noqa: BLE001 (whatever it is, the head is out already)
            # Half of it is out: to break the connection is the only way left to say so.
            _log.exception("answer broken off", path=request.path)
            _abort(request)
        return response

    async def _run(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def pinned_headers(question: str, *, complete: bool, settled: bool, gaps: Any) -> dict[str, str]:
    """The validators of an answer whose rows are the same for ever.

    The tag is weak: the rows are the same, times and loads in `meta` are not. What is said of
    gaps is part of it; as long as that may change the answer is asked for again each time.
    """
    digest = hashlib.blake2b(question.encode() + encode_json((complete, gaps)), digest_size=16)
    return {
        "ETag": f'W/"{digest.hexdigest()}"',
        "Cache-Control": _PINNED_SETTLED if settled else _PINNED_OPEN,
    }


def is_known(request: web.Request, etag: str) -> bool:
    """Whether the caller holds this answer already (`If-None-Match`)."""
    value = etag.removeprefix("W/").strip('"')
    return any(known.value in (value, "*") for known in request.if_none_match or ())


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
