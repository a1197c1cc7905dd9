"""Bounds on connections: how many there are, and how long one may take to ask or say nothing.

aiohttp bounds neither, so a client that opens connections and says little takes every descriptor of
the worker. Here each connection is in one of three phases:

    WAITING --first bytes of a request--> HEAD --its head is whole--> BUSY --answered--> WAITING

WAITING and HEAD have a deadline; BUSY has the bounds of the answer. Where there is no room for a
new connection, one that asks nothing gives way: first those that have sent a part of a head (a
client sends all of it at once), then those that have sent nothing, each time the one that has
waited longest. One with a part of a head makes nobody give way but its like. The new one is refused
if nobody does: with 503, and without a look at what it asks.

With TLS a connection is in HEAD from its first byte on, so its handshake is within the same bounds;
the phases behind it are those of what is decrypted. One that is refused is closed without a word.
"""

import asyncio
import enum
import ssl
from asyncio.sslproto import SSLProtocol
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from socket import MSG_DONTWAIT, MSG_PEEK, SO_SNDBUF, SOL_SOCKET, socket
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from k2_streams.clock import SYSTEM_CLOCK, Clock
from k2_streams.web.http.security import MAX_LINE_BYTES

#: More clients at once than a node of two cores can serve; an idle one costs some 50 KB.
MAX_CONNECTIONS = 256
#: Fewer than these are not worth a server: probes, metrics, the page, a few clients.
LEAST_CONNECTIONS = 32
#: Of one address, so that it cannot take all. Behind a proxy all clients have its address.
ADDRESS_SHARE = 0.75
#: Accepted before any of them is looked at (the loop takes up to so many in one go), and the length
#: of the kernel's queue: 64 clients that come at the same time find room.
BACKLOG = 64
#: Descriptors that connections leave to the rest of the worker, at any moment.
DESCRIPTORS_LEFT = 48
#: From the first byte (or the connection) to the end of a request's head. A slow client sends its
#: 16 KB of headers within 2 s.
HEAD_TIMEOUT_S = 10.0
#: Between two requests: longer than proxies and clients usually keep one.
IDLE_TIMEOUT_S = 75.0
#: For an answer of one piece (status, metrics, an error) to be taken. Rows have their own bounds.
WRITE_TIMEOUT_S = 10.0
#: How often deadlines are looked at.
_SWEEP_EVERY_S = 1.0
#: What the kernel keeps of an answer that its reader does not take; it is memory of the worker, and
#: with the default it grows to 4 MB per connection.
SEND_BUFFER_BYTES = 256 << 10

_HEAD_END = b"\r\n\r\n"
_BUSY_BODY = (
    b'{"error":{"code":"busy","message":"too many connections that wait for an answer: '
    b'ask again later"},"correlation_id":""}'
)
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Cache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_BUSY_BODY), _BUSY_BODY)
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections there may be.

    Attributes:
        total: in all.
        per_address: of one peer's address.
        descriptor: no connection keeps a descriptor at or above this one. A new descriptor is the
            lowest that is free, so all below it are taken.
    """

    total: int = MAX_CONNECTIONS
    per_address: int = int(MAX_CONNECTIONS * ADDRESS_SHARE)
    descriptor: int = 1 << 30

    @classmethod
    def for_descriptors(cls, limit: int, others: int) -> "ConnectionLimits":
        """Where the process may have `limit` descriptors and needs `others` of them itself."""
        total = min(MAX_CONNECTIONS, max(LEAST_CONNECTIONS, limit - others - BACKLOG))
        return cls(total, max(1, int(total * ADDRESS_SHARE)), limit - DESCRIPTORS_LEFT)


class _Phase(enum.Enum):
    WAITING = "waiting"
    HEAD = "head"
    BUSY = "busy"


class Connections:
    """The connections of a server. For one event loop.

    Args:
        limits: how many there may be.
        clock: times their deadlines.
        on_closed: told `evicted`, `timed_out` or `refused` for each that the limits close.
    """

    def __init__(
        self,
        limits: ConnectionLimits | None = None,
        clock: Clock = SYSTEM_CLOCK,
        *,
        on_closed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.limits = limits or ConnectionLimits()
        self.evicted = 0  # gave way to another
        self.timed_out = 0
        self.refused = 0
        self._on_closed = on_closed
        self._clock = clock
        self._by_transport: dict[Any, _Guarded] = {}
        self._idle: OrderedDict[_Guarded, None] = OrderedDict()  # WAITING and HEAD, oldest first
        self._partial: OrderedDict[_Guarded, None] = OrderedDict()  # of them, with a part of a head
        self._addresses: Counter[str] = Counter()
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._by_transport)

    def guard(
        self, make: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None = None
    ) -> asyncio.Protocol:
        """A server's protocol for one more connection, within the bounds.

        Args:
            make: the protocol of what is asked and answered.
            tls: of an encrypted connection.
        """
        return _Guarded(self, make, tls)

    def middleware(self) -> Middleware:
        """The outermost middleware: knows when a head is whole, and when its answer is out."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self._by_transport.get(request.transport)
            if connection is None:  # a server of another kind, as in a test
                return await handler(request)
            self._enter(connection, _Phase.BUSY)
            try:
                response = await handler(request)
                # The server would write it after this, when the connection counts as idle again.
                await self._write(connection, request, response)
                return response
            finally:
                if connection.transport in self._by_transport:
                    self._enter(connection, _Phase.WAITING)

        return middleware

    def sweep(self) -> None:
        """Close the connections whose deadline has passed."""
        now_s = self._clock.monotonic()
        for connection in [c for c in self._idle if c.deadline_s <= now_s]:
            self.timed_out += 1
            self._on_closed("timed_out")
            self._abort(connection)

    def close(self) -> None:
        """Look at deadlines no more."""
        if self._sweeper is not None:
            self._sweeper.cancel()

    def admit(self, connection: "_Guarded", transport: asyncio.Transport) -> bool:
        """Whether a new connection may stay; another one may be closed for it."""
        address, descriptor = _peer(transport)
        crowded = self._addresses[address] >= self.limits.per_address
        full = len(self) >= self.limits.total or descriptor >= self.limits.descriptor
        if crowded or full:
            found = b"" if connection.is_encrypted else _unread(transport)
            is_partial = bool(found) and not found.endswith(_HEAD_END)
            oldest = next(
                (
                    each
                    for each in (self._partial if is_partial else chain(self._partial, self._idle))
                    if (not crowded or each.address == address)
                    and not each.has_asked
                    and not _unread(each.transport).endswith(_HEAD_END)
                ),
                None,
            )
            if oldest is None:
                self.refused += 1
                self._on_closed("refused")
                return False
            self.evicted += 1
            self._on_closed("evicted")
            self._abort(oldest)
        connection.address = address
        self._by_transport[transport] = connection
        self._addresses[address] += 1
        self._enter(connection, _Phase.HEAD)
        if self._sweeper is None:
            self._sweep_soon()
        return True

    def decrypted(self, connection: "_Guarded", transport: asyncio.Transport) -> None:
        """The handshake is over: its requests come by this transport now."""
        self._by_transport[transport] = self._by_transport.pop(connection.transport)
        connection.transport = transport

    def heard(self, connection: "_Guarded", data: bytes) -> None:
        """Bytes came; of a new head if none was being read and nothing is being answered."""
        if connection.phase is _Phase.WAITING:
            self._enter(connection, _Phase.HEAD)
        if connection.phase is _Phase.HEAD:
            connection.has_asked = data.endswith(_HEAD_END)
            if not connection.has_asked:
                self._partial.setdefault(connection)

    def gone(self, connection: "_Guarded") -> None:
        """It is closed; may be called more than once."""
        if self._by_transport.pop(connection.transport, None) is None:
            return
        self._idle.pop(connection, None)
        self._partial.pop(connection, None)
        self._addresses[connection.address] -= 1
        if not self._addresses[connection.address]:
            del self._addresses[connection.address]

    def _enter(self, connection: "_Guarded", phase: _Phase) -> None:
        connection.phase = phase
        connection.has_asked = False
        if phase is _Phase.BUSY:
            self._idle.pop(connection, None)
            self._partial.pop(connection, None)
            return
        timeout_s = HEAD_TIMEOUT_S if phase is _Phase.HEAD else IDLE_TIMEOUT_S
        connection.deadline_s = self._clock.monotonic() + timeout_s
        self._idle.setdefault(connection)  # its place is that of its last answer

    async def _write(
        self, connection: "_Guarded", request: web.Request, response: web.StreamResponse
    ) -> None:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            self.timed_out += 1
            self._on_closed("timed_out")
            self._abort(connection)

    def _abort(self, connection: "_Guarded") -> None:
        transport = connection.transport
        self.gone(connection)
        transport.abort()

    def _sweep_soon(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(_SWEEP_EVERY_S, self._sweep_and_go_on)

    def _sweep_and_go_on(self) -> None:
        self.sweep()
        self._sweeper = None
        if self._by_transport:
            self._sweep_soon()


class _Guarded(asyncio.Protocol):
    """Passes everything on to the server's own protocol, and tells the bounds of it."""

    def __init__(
        self,
        connections: Connections,
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        self.phase = _Phase.WAITING
        self.deadline_s = 0.0
        self.has_asked = False  # its head is whole, as far as its last bytes say; soon it is BUSY
        self.address = ""
        self.transport: Any = None
        self._connections = connections
        self._make = make
        self._tls = tls
        self._inner: asyncio.Protocol | None = None

    @property
    def is_encrypted(self) -> bool:
        return self._tls is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is a stream server's
        if self.transport is not None:
            self._connections.decrypted(self, transport)
            self._begin(transport)
            return
        self.transport = transport
        if not self._connections.admit(self, transport):
            if not self.is_encrypted:
                transport.write(_REFUSAL)
            transport.close()
            return
        connected = transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES)
        if self._tls is None:
            self._begin(transport)
        else:
            self._shake_hands(transport, self._tls)

    def _begin(self, transport: asyncio.Transport) -> None:
        self._inner = self._make()
        self._inner.connection_made(transport)

    def _shake_hands(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        """Put TLS between the transport and this protocol, whose connection is made once more then.

        As the loop does it for a server with TLS of its own, which would admit connections whose
        handshake is over, and not bound the others.
        """
        loop = asyncio.get_running_loop()
        shaken = loop.create_future()
        shaken.add_done_callback(self._on_shaken)
        between = SSLProtocol(
            loop, self, tls, shaken, server_side=True, ssl_handshake_timeout=int(HEAD_TIMEOUT_S)
        )
        transport.set_protocol(between)
        between.connection_made(transport)

    def _on_shaken(self, shaken: "asyncio.Future[None]") -> None:
        if not shaken.cancelled():
            shaken.exception()  # is seen: a client that knows no TLS is no error of ours
        if self._inner is None:
            self._connections.gone(self)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._connections.heard(self, data)
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.gone(self)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()


class BoundedSite(web.BaseSite):
    """A TCP site whose connections are bounded; with TLS, if it has a context for it."""

    def __init__(
        self,
        runner: web.BaseRunner,
        host: str,
        port: int,
        connections: Connections,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(runner, backlog=BACKLOG)
        self._tls = tls
        self._host = host
        self._port = port
        self._connections = connections

    @property
    def name(self) -> str:
        """The address."""
        return f"http{'' if self._tls is None else 's'}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen."""
        await super().start()
        server = self._runner.server
        assert server is not None  # noqa: S101 - the base class has seen to it
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._connections.guard(server, self._tls),
            self._host,
            self._port,
            backlog=self._backlog,
        )

    async def stop(self) -> None:
        """Listen no more."""
        self._connections.close()
        await super().stop()


def _peer(transport: asyncio.Transport) -> tuple[str, int]:
    """The address of the other side, and our descriptor."""
    name = transport.get_extra_info("peername")
    connected = transport.get_extra_info("socket")
    address = str(name[0]) if isinstance(name, tuple) and name else ""
    return address, -1 if connected is None else connected.fileno()


def _unread(transport: asyncio.Transport) -> bytes:
    """What the kernel holds of a connection and the loop has not come to read yet; it stays there.

    Under a storm of connections many are accepted before any of them is read.
    """
    connected = transport.get_extra_info("socket")
    if connected is None or connected.fileno() < 0:
        return b""
    borrowed = socket(fileno=connected.fileno())
    try:
        return borrowed.recv(MAX_LINE_BYTES, MSG_PEEK | MSG_DONTWAIT)
    except OSError:
        return b""
    finally:
        borrowed.detach()
