"""Sends a subscription's frames for as long as their reader takes them, within bounds.

A stream has one of a number of places. Of memory it has `STREAM_BYTES` for sure: rows that were
read and not sent, and the frame being sent. While there is room beside answers it reads more at a
time. A reader that takes nothing for a second has its rows dropped, and they are read again when it
goes on: none is left out, whatever its speed.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa
import structlog
from aiohttp import web

from k2_streams.clock import Clock
from k2_streams.core.subscription.limits import STREAMS_MAX
from k2_streams.query.subscription.frames import Frame, FrameSizes, RowsFrame
from k2_streams.query.subscription.subscription import Subscription
from k2_streams.query.token import StreamToken
from k2_streams.web.http.answers import WRITE_BYTES, AnswerSender, abort, vary
from k2_streams.web.http.errors import BUSY, ApiError, retry_later
from k2_streams.web.http.frames import FrameFormat, FrameWriter
from k2_streams.web.http.room import ROW_BYTES, Reservation, Room, size_of
from k2_streams.web.http.security import CALLER
from k2_streams.web.http.telemetry import ANSWER_TOKEN, BEGUN_S, Telemetry

_log = structlog.get_logger(__name__)

#: Memory of one stream, whatever its reader does.
STREAM_BYTES = 2 << 20
#: Rows of a frame. An event is one line of at most 300 KB: clients have limits for a line. Five
#: events are rendered at once: one alone takes as long as all of them.
FRAME_SIZES = {FrameFormat.SSE: FrameSizes(256, at_once=5), FrameFormat.ARROW: FrameSizes(2_048)}
#: Rows that are read at a time within `STREAM_BYTES`.
LEAST_ROWS = 4_096
#: Rows that are read at a time where there is room, the most first. Files are not in the log's
#: order, so that a statement over a day's file costs much the same for a few rows as for so many:
#: 60 MB of rows, of which a stream holds a quarter of the budget at the most.
READ_ROWS = (262_144, 65_536)
READ_SHARE = 0.25
#: A reader that takes nothing for so long has its rows dropped; they are read again.
DROP_AFTER_S = 1.0
#: A reader that takes nothing for so long has gone: it may resume by its token.
GONE_AFTER_S = 300.0
#: What a browser sends when it reconnects: the `id:` of the last event it has.
RESUME_HEADER = "Last-Event-ID"


class StreamRoom:
    """What one stream holds; see `k2_streams.query.subscription.subscription.RowRoom`.

    Args:
        room: of all answers.
        caller: who reads the stream.

    Raises:
        ApiError: 503, there is no room for a stream.
    """

    def __init__(self, room: Room, caller: str) -> None:
        self._room = room
        self._caller = caller
        self._own = room.take(caller, STREAM_BYTES)
        self._more: Reservation | None = None  # beside it, for rows that were read

    def take(self, *, is_paced: bool) -> int:
        """Take room for rows; returns for how many."""
        self.give_back()
        most_bytes = self._room.total_bytes * READ_SHARE
        for rows in () if is_paced else READ_ROWS:
            size_bytes = rows * ROW_BYTES
            if rows > READ_ROWS[-1] and size_bytes > most_bytes:
                continue
            with suppress(ApiError):
                self._more = self._room.take(self._caller, size_bytes)
                return rows
        return LEAST_ROWS

    def holds(self, size_bytes: int) -> None:
        """The rows that were read take so much: what they do not need is given back."""
        if self._more is not None:
            self._more.needs(size_bytes)

    def give_back(self) -> None:
        """Nothing is held any more."""
        more, self._more = self._more, None
        if more is not None:
            more.release()

    @property
    def is_ample(self) -> bool:
        """Whether rows that were read have room of their own."""
        return self._more is not None

    def close(self) -> None:
        """The stream has ended."""
        self.give_back()
        self._own.release()


def _check_sizes() -> None:
    """What is held beside the room of rows that were read is within `STREAM_BYTES`."""
    event, batch = FRAME_SIZES[FrameFormat.SSE], FRAME_SIZES[FrameFormat.ARROW]
    assert size_of(LEAST_ROWS, event.rows) <= STREAM_BYTES  # noqa: S101 - constants
    assert size_of(event.rows * event.at_once, READ_ROWS[0]) <= STREAM_BYTES  # noqa: S101 - the same
    assert (LEAST_ROWS + batch.rows) * ROW_BYTES <= STREAM_BYTES  # noqa: S101 - the same


_check_sizes()


class StreamSender:
    """Sends streams. For one event loop.

    Args:
        sender: renders frames.
        room: of all answers.
        telemetry: of the server.
        clock: the server's.
        limit: streams that may be open at a time.
    """

    def __init__(
        self,
        sender: AnswerSender,
        room: Room,
        telemetry: Telemetry,
        clock: Clock,
        *,
        limit: int = STREAMS_MAX,
    ) -> None:
        self._sender = sender
        self._room = room
        self._telemetry = telemetry
        self._clock = clock
        self._limit = limit
        self._open = 0

    @contextmanager
    def place(self, request: web.Request) -> Iterator[StreamRoom]:
        """One of the places for streams, until the block ends.

        Raises:
            ApiError: 503, all are taken, or there is no memory for one more.
        """
        if self._open >= self._limit:
            self._telemetry.stream_refused()
            raise retry_later(BUSY, f"K2_STREAMS_MAX={self._limit} streams are open")
        room = StreamRoom(self._room, request.get(CALLER, ""))
        self._open += 1
        self._telemetry.streams(self._open)
        try:
            yield room
        finally:
            self._open -= 1
            self._telemetry.streams(self._open)
            room.close()

    async def send(
        self,
        request: web.Request,
        subscription: Subscription,
        columns: pa.Schema,
        form: FrameFormat,
        room: StreamRoom,
    ) -> web.StreamResponse:
        """The frames as a response, until they end or their reader has gone."""
        headers = {"Content-Type": form.value, "Cache-Control": "no-store", "Vary": vary(request)}
        response = web.StreamResponse(headers=headers)
        if request.method == "HEAD":
            return web.Response(headers=headers)
        await response.prepare(request)
        request[BEGUN_S] = self._clock.monotonic()
        try:
            frames = subscription.frames(room, FRAME_SIZES[form])
            await self._send(request, response, subscription, frames, FrameWriter(columns, form))
        except (TimeoutError, ConnectionError) as error:
            _log.info("stream's reader gone", path=request.path, error=type(error).__name__)
            abort(request)
        except Exception:  # noqa: BLE001 - whatever it is, the head is out already
            _log.exception("stream broken off", path=request.path)
            abort(request)
        return response

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        subscription: Subscription,
        frames: AsyncGenerator[Frame, None],
        writer: FrameWriter,
    ) -> None:
        fallbacks = 0
        written: str | StreamToken | None = None
        try:
            async for frame in frames:
                piece = await self._sender.run(lambda: writer.write(frame))  # noqa: B023 - awaited
                await _write(response, piece, subscription)
                written = frame.token
                if isinstance(frame, RowsFrame):
                    self._telemetry.rows_streamed(frame.rows.num_rows, subscription.paced_late_s)
                if subscription.fallbacks > fallbacks:
                    fallbacks = subscription.fallbacks
                    self._telemetry.stream_fell_back()
            await _write(response, writer.end(), subscription)
            await response.write_eof()
        finally:
            if written is not None:
                request[ANSWER_TOKEN] = written if isinstance(written, str) else written.encode()
            await frames.aclose()


async def _write(response: web.StreamResponse, piece: bytes, subscription: Subscription) -> None:
    """Write a piece as fast as its reader takes it.

    Raises:
        TimeoutError: the reader took nothing for too long.
    """
    loop = asyncio.get_running_loop()
    view = memoryview(piece)
    for start in range(0, len(view), WRITE_BYTES):
        drop = loop.call_later(DROP_AFTER_S, subscription.release)
        try:
            async with asyncio.timeout(GONE_AFTER_S):
                await response.write(view[start : start + WRITE_BYTES])
        finally:
            drop.cancel()
