"""A proxy on loopback between a client and an HTTP service, which does something to its answers."""

import http.client
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

#: Headers of one connection, which the other makes itself. `Host` is passed on: it is signed.
_OWN_HEADERS = {"connection", "transfer-encoding", "content-length", "expect"}
#: Longer than any service here takes.
ANSWER_WITHIN_S = 60.0


class Request(NamedTuple):
    """What a client asks."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    """What it is answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Proxy(ThreadingHTTPServer):
    """Forwards to a port of this machine what `handler` does not keep to itself.

    Args:
        upstream: the service's port.
        port: the proxy's own.
        handler: what it does.
    """

    daemon_threads = True
    #: Clients of an object store open many connections at once.
    request_queue_size = 128

    def __init__(self, upstream: int, port: int, handler: type["Handler"]) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{port}"
        self._upstream = upstream
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def send_on(self, request: Request) -> Answer:
        """The service's own answer."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._upstream, timeout=ANSWER_WITHIN_S
        )
        kept = {name: it for name, it in request.headers.items() if not _is_own(name)}
        if request.body or request.method in {"PUT", "POST"}:
            kept["Content-Length"] = str(len(request.body))
        try:
            connection.request(request.method, request.path, request.body or None, kept)
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def handle_error(self, *_: object) -> None:
        """A connection that was cut is what this is for."""

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler, ABC):
    """Reads a request and lets `handle_request` decide."""

    protocol_version = "HTTP/1.1"

    @abstractmethod
    def handle_request(self, request: Request) -> None:
        """Answer it, or do not."""

    def _asked(self) -> None:
        self.handle_request(Request(self.command, self.path, dict(self.headers), self._body()))

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _asked  # noqa: N815 - http.server's names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(parts)

    def answer(self, answer: Answer, only_bytes: int | None = None) -> None:
        """Send an answer, or so much of its body."""
        self.send_response(answer.status)
        length = len(answer.body)
        for name, value in answer.headers:
            if self.command == "HEAD" and name.lower() == "content-length":
                length = int(value)
            elif not _is_own(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(answer.body[:only_bytes])
        self.wfile.flush()

    def hang_up(self) -> None:
        """An end in order, without an answer."""
        self.close_connection = True

    def reset(self) -> None:
        """An end that does not linger: what was sent and not read yet is gone."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _is_own(header: str) -> bool:
    return header.lower() in _OWN_HEADERS
