"""Answers within bounds: what they hold together, and how long a reader may take."""

import asyncio
import json
import re
import socket
from contextlib import asynccontextmanager

import pyarrow as pa
import pytest
from msgspec.structs import replace
from web_support import META, CannedQueries, application, trades_table

from k2_streams.query.answer import Answer
from k2_streams.web.http import answers
from k2_streams.web.http.connections import BoundedSite, Connections
from k2_streams.web.http.formats import ROWS_AT_ONCE
from k2_streams.web.http.room import Room, size_of
from k2_streams.web.server import new_runner

ROWS = pa.concat_tables([trades_table(500)] * 40)


class Asked(CannedQueries):
    """As many rows as are asked for, up to 20,000; the most that were being answered at once."""

    async def rows(self, request):
        self._ask(request)
        rows = ROWS.slice(0, request.limit)
        return Answer(rows, replace(META, rows=rows.num_rows))


@asynccontextmanager
async def served(query, **changes):
    connections = Connections()
    app = application(query, connections=connections, rate_limit_per_s=1e9, **changes)
    runner = new_runner(app)
    await runner.setup()
    await BoundedSite(runner, "127.0.0.1", 0, connections).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def asking(port, limit):
    """A connection that has asked for so many rows and takes little of them by itself."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)  # noqa: FBT003 - its only argument
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=1_024)
    writer.write(
        f"GET /v1/trades?limit={limit} HTTP/1.1\r\nHost: localhost\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    return reader, writer


async def status_of(reader):
    return int((await reader.readline()).split()[1])


async def taken(reader):
    """All that is left to read; where the connection was cut off, what had come until then."""
    received = b""
    try:
        while piece := await reader.read(1 << 16):
            received += piece
    except ConnectionError:
        pass
    return received


@pytest.fixture
def rooms(monkeypatch):
    """The rooms of the servers of a test, and the most that each has held."""
    made = []

    class Watched(Room):
        def __init__(self, total_bytes):
            super().__init__(total_bytes)
            self.most = 0
            made.append(self)

        def take(self, caller, size_bytes):
            place = super().take(caller, size_bytes)
            self.most = max(self.most, self.held_bytes)
            return place

    monkeypatch.setattr("k2_streams.web.server.Room", Watched)
    return made


@pytest.mark.parametrize("limit", [ROWS_AT_ONCE, 20_000])
async def test_an_answer_of_any_length_to_a_reader_that_stalls_is_cut_off(
    limit, rooms, monkeypatch
):
    monkeypatch.setattr(answers, "STALLED_READER_S", 0.2)
    async with served(Asked()) as port, asyncio.timeout(30):
        reader, writer = await asking(port, limit)
        assert await status_of(reader) == 200
        while rooms[0].held_bytes:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.02)
        received = await taken(reader)
        writer.close()
        assert not received.endswith((b"}}", b"0\r\n\r\n")), "it does not look like a whole answer"


async def test_a_reader_that_takes_a_little_now_and_then_is_cut_off_in_the_end(rooms, monkeypatch):
    monkeypatch.setattr(answers, "SEND_TIMEOUT_S", 0.5)
    async with served(Asked()) as port, asyncio.timeout(30):
        reader, writer = await asking(port, 20_000)
        assert await status_of(reader) == 200
        while rooms[0].held_bytes:
            await reader.read(10_000)
            await asyncio.sleep(0.02)
        writer.close()


async def test_what_all_answers_hold_is_bounded_and_small_ones_pass(rooms):
    """100 readers that stall: some are answered, the others refused before their query runs."""
    total = 4 * size_of(10_000, ROWS_AT_ONCE)
    query = Asked()
    async with served(query, answers_bytes=total) as port, asyncio.timeout(60):
        stalled = [await asking(port, 10_000) for _ in range(100)]
        statuses = [await status_of(reader) for reader, _ in stalled]
        answered = statuses.count(200)
        assert statuses.count(503) == 100 - answered
        assert 2 <= answered <= 8
        assert len(query.asked) == answered, "nothing was worked out for those that were refused"
        assert rooms[0].most <= total
        for _ in range(10):
            reader, writer = await asking(port, 100)
            assert await status_of(reader) == 200
            assert (await taken(reader)).endswith(b"}}")
            writer.close()
        for _, writer in stalled:
            writer.close()
        while rooms[0].held_bytes:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.02)


async def test_room_is_free_again_where_the_query_fails(rooms):
    async with served(CannedQueries(error=RuntimeError("broken"))) as port, asyncio.timeout(30):
        for _ in range(3):
            reader, writer = await asking(port, 100_000)
            assert await status_of(reader) == 500
            writer.close()
        assert rooms[0].held_bytes == 0


async def test_a_slow_reader_gets_all_of_it():
    async with served(Asked()) as port, asyncio.timeout(60):
        reader, writer = await asking(port, 5_000)
        assert await status_of(reader) == 200
        _, _, received = (await taken(reader)).partition(b"\r\n\r\n")
        body = re.sub(rb"(^|\r\n)[0-9A-Fa-f]+\r\n", b"", received)
        assert len(json.loads(body)["data"]) == 5_000
        writer.close()
