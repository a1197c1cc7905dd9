"""Single requests of commands, demos, benchmarks and tests, by the transport of K2's client.

Nothing is asked again: who tests a worker wants to see each answer. Whoever wants rows takes
`k2_client` itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec

from k2_client.exchange import NoReply, Question, Reply, Send
from k2_client.transport import AsyncHttpTransport, HttpTransport, verification

#: Default for the whole of a request: longer than a worker may take for an answer.
REQUEST_TIMEOUT_S = 60.0
#: Bytes of a body that an error text repeats.
_BODY_IN_ERROR_BYTES = 300

Parameters = Mapping[str, str] | Sequence[tuple[str, str]]


class NoAnswerError(OSError):
    """No answer in time, or a connection that was refused or broke off."""


class StatusError(OSError):
    """An answer with a status other than 200."""

    def __init__(self, url: str, answer: Reply) -> None:
        text = answer.body[:_BODY_IN_ERROR_BYTES].decode(errors="replace")
        super().__init__(f"{url} answered {answer.status}: {text}")
        self.status = answer.status
        self.body = answer.body


class HttpClient:
    """Keeps its connections. Use as an async context manager.

    Args:
        api_key: of every request.
        timeout_s: of a whole request.
        connections: open at once, at most; None: no limit.
        addresses: that will be asked; certificates are checked if one is of HTTPS.
    """

    def __init__(
        self,
        api_key: str | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
        connections: int | None = 100,
        *,
        addresses: Sequence[str] = (),
    ) -> None:
        self._transport = AsyncHttpTransport(
            api_key, timeout_s, verify=verification(addresses, None), connections=connections
        )

    async def __aenter__(self) -> Self:
        """Connect to nobody yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._transport.close()

    async def get(self, url: str, parameters: Parameters | None = None) -> Reply:
        """Ask, and read the answer to its end, whatever its status is.

        Raises:
            NoAnswerError: there is none.
        """
        return _answered(url, await self._transport.send(_asked(url, parameters)))

    async def drain(self, url: str) -> Reply:
        """The same without the body of status 200, which is read and dropped piece by piece.

        Raises:
            NoAnswerError: there is none, or it ends early.
        """
        return _answered(url, await self._transport.send(_asked(url), keeps_body=False))


def fetch(url: str, timeout_s: float, api_key: str | None = None) -> Reply:
    """The answer with status 200 to a request on a connection of its own, from any thread.

    Raises:
        StatusError: the answer has another status.
        NoAnswerError: there is none.
    """
    with HttpTransport(api_key, timeout_s, verification((url,), None)) as transport:
        answer = _answered(url, transport.send(_asked(url)))
    if answer.status != 200:
        raise StatusError(url, answer)
    return answer


def fetch_json(url: str, timeout_s: float, api_key: str | None = None) -> Any:
    """The JSON of an answer with status 200.

    Raises:
        StatusError: the answer has another status.
        NoAnswerError: there is none.
    """
    return decode(fetch(url, timeout_s, api_key))


def decode(answer: Reply) -> Any:
    """The JSON of an answer."""
    return msgspec.json.decode(answer.body)


def _asked(url: str, parameters: Parameters | None = None) -> Send:
    pairs = parameters.items() if isinstance(parameters, Mapping) else parameters or ()
    return Send(url, Question("", tuple(pairs)))


def _answered(url: str, outcome: Reply | NoReply) -> Reply:
    if isinstance(outcome, NoReply):
        raise NoAnswerError(f"{url}: {outcome.reason}")
    return outcome
