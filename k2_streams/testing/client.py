"""The HTTP client of commands, demos, benchmarks and tests: GET requests, waited for or awaited.

`HttpClient` is for a coroutine and keeps its connections. `fetch` and `fetch_json` are for anything
else: they open a connection per request, run on an event loop in a thread of their own and return
when the answer is there, so they may be called from any thread.
"""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import aiohttp
import msgspec

#: Default for the whole of a request: longer than a worker may take for an answer.
REQUEST_TIMEOUT_S = 60.0
#: Bytes of a body that an error text repeats.
_BODY_IN_ERROR_BYTES = 300

Parameters = Mapping[str, str] | Sequence[tuple[str, str]]


class HttpAnswer(NamedTuple):
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes


class NoAnswerError(OSError):
    """No answer in time, or a connection that was refused or broke off."""


def key_headers(api_key: str | None) -> dict[str, str]:
    """The headers that send an API key; none without one."""
    return {"X-API-Key": api_key} if api_key else {}


class StatusError(OSError):
    """An answer with a status other than 200."""

    def __init__(self, url: str, answer: HttpAnswer) -> None:
        text = answer.body[:_BODY_IN_ERROR_BYTES].decode(errors="replace")
        super().__init__(f"{url} answered {answer.status}: {text}")
        self.status = answer.status
        self.body = answer.body


class HttpClient:
    """Use as an async context manager, made inside a running event loop.

    Args:
        headers: of every request.
        timeout_s: of a whole request.
        connections: open at once, at most; 0: no limit.
    """

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
        connections: int = 100,
    ) -> None:
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            connector=aiohttp.TCPConnector(limit=connections),
        )

    async def __aenter__(self) -> Self:
        """Connect to nobody yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, url: str, parameters: Parameters | None = None) -> HttpAnswer:
        """Ask, and read the answer to its end, whatever its status is.

        Raises:
            NoAnswerError: there is none.
        """
        async with self._answer(url, parameters) as answer:
            body = await answer.read()
        return HttpAnswer(answer.status, answer.headers, body)

    async def drain(self, url: str) -> HttpAnswer:
        """Ask, and read the answer; the body of status 200 is dropped piece by piece.

        Raises:
            NoAnswerError: there is none, or it ends early.
        """
        async with self._answer(url, None) as answer:
            if answer.status != 200:
                return HttpAnswer(answer.status, answer.headers, await answer.read())
            async for _ in answer.content.iter_any():
                pass
        return HttpAnswer(answer.status, answer.headers, b"")

    @asynccontextmanager
    async def _answer(
        self, url: str, parameters: Parameters | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.get(url, params=parameters) as answer:
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoAnswerError(f"{url}: {str(error) or type(error).__name__}") from error


def fetch(url: str, timeout_s: float, headers: Mapping[str, str] | None = None) -> HttpAnswer:
    """The answer with status 200 to a request on a connection of its own.

    Raises:
        StatusError: the answer has another status.
        NoAnswerError: there is none.
    """
    future = asyncio.run_coroutine_threadsafe(_fetch(url, timeout_s, headers), _loop())
    try:
        answer = future.result()
    finally:
        future.cancel()  # of a caller that a signal interrupts
    if answer.status != 200:
        raise StatusError(url, answer)
    return answer


def fetch_json(url: str, timeout_s: float, headers: Mapping[str, str] | None = None) -> Any:
    """The JSON of an answer with status 200.

    Raises:
        StatusError: the answer has another status.
        NoAnswerError: there is none.
    """
    return decode(fetch(url, timeout_s, headers))


def decode(answer: HttpAnswer) -> Any:
    """The JSON of an answer."""
    return msgspec.json.decode(answer.body)


async def _fetch(url: str, timeout_s: float, headers: Mapping[str, str] | None) -> HttpAnswer:
    async with HttpClient(headers, timeout_s) as client:
        return await client.get(url)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of the requests of threads, started with the first of them."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="http-client", daemon=True).start()
    return loop
