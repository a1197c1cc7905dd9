"""Connections are bounded: in number, per address, by descriptors, and in time."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from metric_values import value
from prometheus_client import CollectorRegistry
from web_support import CannedQueries, FixedClock, application

from k2_streams.runtime.metrics.web import WebMetrics
from k2_streams.web.http import connections as bounds
from k2_streams.web.http.connections import BoundedSite, ConnectionLimits, Connections
from k2_streams.web.server import new_runner

WHOLE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = b"GET /health/live HTTP/1.1\r\nHost: loc"


@asynccontextmanager
async def served(connections, query=None, **changes):
    """The port of an application whose connections are bounded so."""
    runner = new_runner(
        application(query, connections=connections, rate_limit_per_s=1e9, **changes)
    )
    await runner.setup()
    site = BoundedSite(runner, "127.0.0.1", 0, connections)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def opened(port, said=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    return reader, writer


async def status_of(port):
    """The status that a new connection gets."""
    reader, writer = await opened(port, WHOLE)
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


async def settled(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what a server does sets no event
            await asyncio.sleep(0.01)


async def is_closed(reader):
    try:
        async with asyncio.timeout(10):
            return await reader.read() == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("said", [b"", HALF])
async def test_who_says_nothing_makes_room_for_who_asks(said):
    limits = ConnectionLimits(total=10, per_address=8)
    registry = CollectorRegistry()
    metrics = WebMetrics(registry)
    connections = Connections(limits, FixedClock(), on_closed=metrics.connection_closed)
    async with served(connections, telemetry=metrics) as port:
        idle = [await opened(port, said) for _ in range(40)]
        await settled(lambda: connections.evicted == 32)
        assert len(connections) == limits.per_address
        for _ in range(5):
            assert await status_of(port) == 200
        reader, _ = await opened(port, WHOLE.replace(b"/health/live", b"/metrics"))
        scraped = (await reader.readuntil(b"k2_http_response_memory_bytes 0.0")).decode()
        assert f"k2_http_connections {len(connections)}.0" in scraped
        evicted = value(registry, "k2_http_connections_closed_total", reason="evicted")
        assert evicted == connections.evicted
        assert value(registry, "k2_http_connections") == len(connections)
        assert value(registry, "k2_http_response_memory_bytes") == 0
        assert await is_closed(idle[0][0]), "the one that waited longest goes first"
        for _, writer in idle:
            writer.close()
        await settled(lambda: not len(connections))
        assert not connections._addresses


async def test_who_sent_half_a_head_gives_way_before_who_sent_nothing_yet():
    """A client sends its head at once: a new connection is not mistaken for a stalled one."""
    connections = Connections(ConnectionLimits(total=4, per_address=4), FixedClock())
    async with served(connections) as port:
        early, writer = await opened(port)
        halves = [await opened(port, HALF) for _ in range(3)]
        await settled(lambda: len(connections._partial) == 3)
        more = [await opened(port, HALF) for _ in range(20)]
        await settled(lambda: connections.evicted + connections.refused == 20)
        writer.write(WHOLE)
        assert b"200" in await early.readline()
        assert await is_closed(halves[0][0])
        for _, half in [*halves, *more]:
            half.close()


@pytest.mark.parametrize("said", [HALF, b""])
async def test_a_storm_of_connections_does_not_keep_who_asks_out(said):
    """Many come while the loop is busy, so that none of them is read before the next."""
    connections = Connections(ConnectionLimits(total=8, per_address=6), FixedClock())

    def knock(said):
        knocked = socket.create_connection(("127.0.0.1", port), timeout=10)
        knocked.sendall(said)
        return knocked

    async with served(connections) as port:
        for before in range(0, 21, 2):
            storm = [knock(said) for _ in range(before)]
            asks = knock(WHOLE)
            storm += [knock(said) for _ in range(20 - before)]
            assert b"200 OK" in await asyncio.to_thread(asks.recv, 1_000)
            assert len(connections) <= 6
            for each in [asks, *storm]:
                each.close()


async def test_a_head_that_does_not_come_ends_the_connection():
    clock = FixedClock()
    connections = Connections(clock=clock)
    async with served(connections) as port:
        silent, _ = await opened(port)
        half, writer = await opened(port, HALF)
        await settled(lambda: len(connections) == 2)
        clock.now_s += bounds.HEAD_TIMEOUT_S - 1
        connections.sweep()
        assert len(connections) == 2
        writer.write(b"al")  # a byte now and then does not help
        await asyncio.sleep(0.05)
        clock.now_s += 1
        connections.sweep()
        assert connections.timed_out == 2
        assert await is_closed(silent)
        assert await is_closed(half)


async def test_between_two_requests_there_is_more_time_and_a_second_head_has_its_own():
    clock = FixedClock()
    connections = Connections(clock=clock)
    async with served(connections) as port:
        reader, writer = await opened(port, WHOLE)
        await reader.readuntil(b"}")
        clock.now_s += bounds.IDLE_TIMEOUT_S - 1
        connections.sweep()
        assert len(connections) == 1
        writer.write(HALF)
        await settled(lambda: connections._partial)
        clock.now_s += bounds.HEAD_TIMEOUT_S - 1
        connections.sweep()
        writer.write(b"alhost\r\n\r\n")
        await reader.readuntil(b"}")
        assert len(connections) == 1
        clock.now_s += bounds.IDLE_TIMEOUT_S
        connections.sweep()
        assert await is_closed(reader)


async def test_a_connection_is_idle_only_when_its_answer_is_written():
    """It may give way to another then, and would take the answer with it."""
    written = []

    @web.middleware
    async def look(request, handler):
        response = await handler(request)
        written.append(response.prepared)
        return response

    connections = Connections()
    app = application(connections=connections)
    app.middlewares.insert(0, look)
    runner = new_runner(app)
    await runner.setup()
    await BoundedSite(runner, "127.0.0.1", 0, connections).start()
    try:
        assert await status_of(runner.addresses[0][1]) == 200
        assert written == [True]
    finally:
        await runner.cleanup()


async def test_an_answer_of_one_piece_that_is_not_taken_ends_its_connection(monkeypatch):
    monkeypatch.setattr(bounds, "WRITE_TIMEOUT_S", 0.2)

    async def large(_request):
        return web.Response(body=bytes(16 << 20))

    connections = Connections()
    app = application(connections=connections)
    app.router.add_get("/large", large)
    runner = new_runner(app)
    await runner.setup()
    await BoundedSite(runner, "127.0.0.1", 0, connections).start()
    try:
        _, writer = await opened(runner.addresses[0][1], WHOLE.replace(b"/health/live", b"/large"))
        await settled(lambda: connections.timed_out == 1)
        assert not len(connections)
        writer.close()
    finally:
        await runner.cleanup()


class Waits(CannedQueries):
    """Answers only when told."""

    def __init__(self):
        super().__init__()
        self.go_on = asyncio.Event()
        self.begun = 0
        self.cancelled = 0

    async def rows(self, request):
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return await super().rows(request)


async def test_where_all_are_busy_the_next_is_refused_and_none_is_cut_off():
    connections = Connections(ConnectionLimits(total=3, per_address=3), FixedClock())
    query = Waits()
    async with served(connections, query) as port:
        asked = b"GET /v1/trades HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        busy = [await opened(port, asked) for _ in range(3)]
        await settled(lambda: not connections._idle and len(connections) == 3)
        reader, _ = await opened(port, WHOLE)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in head
        assert json.loads(body)["error"]["code"] == "busy"
        assert connections.refused == 1
        query.go_on.set()
        for reader, _ in busy:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_a_query_whose_client_has_gone_is_cancelled():
    query = Waits()
    async with served(Connections(), query) as port:
        _, writer = await opened(port, b"GET /v1/trades HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await settled(lambda: query.begun == 1)
        writer.close()
        await settled(lambda: query.cancelled == 1)


async def test_no_connection_keeps_a_descriptor_that_the_rest_may_need():
    connections = Connections(ConnectionLimits(descriptor=0), FixedClock())
    async with served(connections) as port:
        assert await status_of(port) == 503


@pytest.mark.parametrize(
    ("limit", "total"), [(300, 44), (1_024, 256), (65_536, 256), (256, 32), (100, 32)]
)
def test_the_number_follows_from_the_limit_of_descriptors(limit, total):
    limits = ConnectionLimits.for_descriptors(limit, 192)
    assert limits.total == total
    assert 0 < limits.per_address < total
    assert limits.descriptor == limit - bounds.DESCRIPTORS_LEFT
