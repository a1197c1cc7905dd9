"""Sends questions by httpx, waited for or awaited: all that the client does to the world."""

import ssl
import time
from collections.abc import AsyncGenerator, Generator, Iterable
from typing import Any, Self

import httpx

from k2_client.exchange import NoReply, Outcome, Reply, Send

#: Of an answer from the question to its last byte: K2 ends one after 30 s, or sends it for 300.
TIMEOUT_S = 60.0
#: Of an answer: nine times what a page of rows has.
MAX_BODY_BYTES = 512 << 20
#: Connections at once, and those kept for the next question.
MAX_CONNECTIONS = 100
_MAX_IDLE_CONNECTIONS = 8
_SQL = "application/sql"


class HttpTransport:
    """Keeps its connections; may be used from several threads.

    Args:
        key: the API key; None: none is sent.
        timeout_s: of an answer.
        verify: how certificates are checked; see `verification`.
    """

    def __init__(
        self,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._timeout_s = timeout_s
        self._http = httpx.Client(**_settings(key, timeout_s, verify))

    def send(self, step: Send) -> Outcome:
        """What comes of sending a question, without the pause before it."""
        body = _Body(time.monotonic() + self._timeout_s)
        try:
            with self._http.stream(**_request(step)) as response:
                for piece in response.iter_raw():
                    body.add(piece)
        except (httpx.TransportError, TimeoutError) as error:
            return _no_reply(error)
        return Reply(response.status_code, response.headers, body.content())

    def pieces(self, step: Send) -> Generator[Reply | NoReply | bytes, None, None]:
        """The body of status 200 as it comes; else the reply, or why there is none."""
        try:
            with self._http.stream(**_request(step)) as response:
                if response.status_code == 200:
                    yield from response.iter_raw()
                else:
                    yield Reply(response.status_code, response.headers, response.read())
        except httpx.TransportError as error:
            yield _no_reply(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class AsyncHttpTransport:
    """The same for coroutines of one event loop.

    Args:
        key: the API key; None: none is sent.
        timeout_s: of an answer.
        verify: how certificates are checked; see `verification`.
        connections: open at once, at most; None: no limit.
    """

    def __init__(
        self,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        verify: ssl.SSLContext | bool = True,
        connections: int | None = MAX_CONNECTIONS,
    ) -> None:
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(**_settings(key, timeout_s, verify, connections))

    async def send(self, step: Send, *, keeps_body: bool = True) -> Outcome:
        """What comes of sending a question, without the pause before it.

        Without `keeps_body` a body of status 200 is read and dropped.
        """
        body = _Body(time.monotonic() + self._timeout_s)
        try:
            async with self._http.stream(**_request(step)) as response:
                is_kept = keeps_body or response.status_code != 200
                async for piece in response.aiter_raw():
                    body.add(piece if is_kept else b"")
        except (httpx.TransportError, TimeoutError) as error:
            return _no_reply(error)
        return Reply(response.status_code, response.headers, body.content())

    async def pieces(self, step: Send) -> AsyncGenerator[Reply | NoReply | bytes, None]:
        """The body of status 200 as it comes; else the reply, or why there is none."""
        try:
            async with self._http.stream(**_request(step)) as response:
                if response.status_code == 200:
                    async for piece in response.aiter_raw():
                        yield piece
                else:
                    yield Reply(response.status_code, response.headers, await response.aread())
        except httpx.TransportError as error:
            yield _no_reply(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def verification(addresses: Iterable[str], ca_file: str | None) -> ssl.SSLContext | bool:
    """How certificates are checked: by a file of certificates, or the usual authorities.

    Without an address of HTTPS none is, and reading them all takes longer than a question.
    """
    if ca_file is not None:
        return ssl.create_default_context(cafile=ca_file)
    return any(address.startswith("https://") for address in addresses)


class _Body:
    """The pieces of an answer, within its limits."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def add(self, piece: bytes) -> None:
        """Take a piece.

        Raises:
            TimeoutError: it comes too late, or is too much.
        """
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        if self._size_bytes > MAX_BODY_BYTES:
            raise TimeoutError(f"the answer has more than {MAX_BODY_BYTES} bytes")
        if time.monotonic() > self._deadline:
            raise TimeoutError("the answer did not end in time")

    def content(self) -> bytes:
        """All of it."""
        return b"".join(self._pieces)


def _settings(
    key: str | None,
    timeout_s: float,
    verify: ssl.SSLContext | bool,
    connections: int | None = MAX_CONNECTIONS,
) -> dict[str, Any]:
    headers = {"User-Agent": "k2-client", "Accept-Encoding": "identity"}
    return {
        "headers": {**headers, "X-API-Key": key} if key else headers,
        "timeout": timeout_s,
        "limits": httpx.Limits(
            max_connections=connections, max_keepalive_connections=_MAX_IDLE_CONNECTIONS
        ),
        "verify": verify,
        "trust_env": False,  # a node is asked where it is, not through a proxy
    }


def _request(step: Send) -> dict[str, Any]:
    question = step.question
    request: dict[str, Any] = {"method": "GET", "url": step.address + question.path}
    if question.parameters:
        request["params"] = question.parameters
    if question.statement is not None:
        body = {"content": question.statement.encode(), "headers": {"Content-Type": _SQL}}
        request |= {"method": "POST", **body}
    return request


def _no_reply(error: Exception) -> NoReply:
    return NoReply(str(error) or type(error).__name__)
