"""The exchange with nodes, without a socket: what to send, after which pause, and when to stop.

An `Operation` is a generator. It yields what to send and is given what came of it; its value is
the result. `Client` and `AsyncClient` only carry it out, so both ask and retry alike.
"""

import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from k2_client.errors import QuestionRefusedError, UnavailableError

DEFAULT_ADDRESS = "http://127.0.0.1:6066"
#: How long a question is asked again: K2's own longest wait is 10 s, and a node starts in 20.
PATIENCE_S = 30.0
#: Between two rounds over all nodes, where none told how long to wait; doubled each time.
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
#: The same question may be answered by another node, or later.
RETRIED = frozenset({429, 502, 503, 504})
#: Statements that exceed their time would exceed it again.
NOT_RETRIED = frozenset({"query_timeout"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of whichever node; with a statement it is a POST."""

    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    statement: str | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send a question to a node, after a pause."""

    address: str
    question: Question
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end. Names of headers are in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class NoReply:
    """No answer in time, or a connection that was refused or broke off."""

    reason: str


Outcome: TypeAlias = Reply | NoReply
Operation: TypeAlias = Generator[Send, Outcome, T]


class Nodes:
    """Where questions are asked; the node that answered last is asked first.

    Args:
        url: one address or several, also as one text with commas. None: K2's default.
        patience_s: how long a question is asked again.
        clock: monotonic seconds.

    Raises:
        ValueError: an address is none of HTTP.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = (url or DEFAULT_ADDRESS).split(",") if isinstance(url, str | None) else url
        self._addresses = tuple(_checked(one) for one in given)
        if not self._addresses:
            raise ValueError("expected at least one address")
        self._patience_s = patience_s
        self._clock = clock

    @property
    def addresses(self) -> tuple[str, ...]:
        """The nodes, in the order in which they are asked."""
        return self._addresses

    def ask(self, question: Question) -> Operation[Reply]:
        """The answer with status 200.

        Raises:
            QuestionRefusedError: a node refuses the question.
            UnavailableError: none answered in time.
        """
        attempts = self.attempts(question.path)
        while True:
            address, pause_s = attempts.following()
            outcome = yield Send(address, question, pause_s)
            if isinstance(outcome, Reply) and outcome.status == 200:
                attempts.succeeded()
                return outcome
            attempts.failed(outcome)

    def attempts(self, path: str) -> "Attempts":
        """Attempts to get an answer to a path; patience begins now."""
        return Attempts(self, path, self._patience_s, self._clock)

    def prefer(self, address: str) -> None:
        """Ask this node first, from now on."""
        others = (one for one in self._addresses if one != address)
        self._addresses = (address, *others)


class Attempts:
    """Whom to ask next, after which pause, and when to stop.

    1. Each node is asked in turn until one answers.
    2. Then there is a pause, as long as the nodes told, or longer each time.
    3. It begins again, until the patience is over. After an answer all begins anew.

    Args:
        nodes: who can be asked.
        path: for errors.
        patience_s: how long.
        clock: monotonic seconds.
    """

    def __init__(
        self, nodes: Nodes, path: str, patience_s: float, clock: Callable[[], float]
    ) -> None:
        self._nodes = nodes
        self._path = path
        self._patience_s = patience_s
        self._clock = clock
        self._asked = ""
        self._begin()

    def _begin(self) -> None:
        self._deadline = self._clock() + self._patience_s
        self._backoff_s = FIRST_PAUSE_S
        self._left: list[str] = []  # not asked yet in this round
        self._failures: list[str] = []
        self._told_s: list[float] = []

    def following(self) -> tuple[str, float]:
        """The node to ask next, and the pause before.

        Raises:
            UnavailableError: the patience is over.
        """
        pause_s = 0.0
        if not self._left:
            if self._failures:
                pause_s = self._pause_s()
            self._failures, self._told_s = [], []
            self._left = list(self._nodes.addresses)
        self._asked = self._left.pop(0)
        return self._asked, pause_s

    def _pause_s(self) -> float:
        pause_s = min(max(min(self._told_s, default=0.0), self._backoff_s), MAX_PAUSE_S)
        self._backoff_s = min(2 * self._backoff_s, MAX_PAUSE_S)
        if self._clock() + pause_s > self._deadline:
            raise UnavailableError(self._path, self._failures)
        return pause_s

    def succeeded(self) -> None:
        """The node that was asked answered."""
        self._nodes.prefer(self._asked)
        self._begin()

    def failed(self, outcome: Outcome) -> None:
        """The node that was asked did not.

        Raises:
            QuestionRefusedError: asking again would change nothing.
        """
        if isinstance(outcome, NoReply):
            self._failures.append(f"{self._asked}: {outcome.reason}")
            return
        refusal = refusal_of(outcome)
        if outcome.status not in RETRIED or refusal.code in NOT_RETRIED:
            raise refusal
        self._failures.append(f"{self._asked}: {refusal}")
        self._told_s.append(_retry_after_s(outcome))


def refusal_of(reply: Reply) -> QuestionRefusedError:
    """The error that a reply is; a body that is not K2's is its message."""
    try:
        body = json.loads(reply.body)
        error = body["error"]
        return QuestionRefusedError(
            reply.status,
            str(error["code"]),
            str(error["message"]),
            error.get("field"),
            body.get("correlation_id"),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        text = reply.body[:300].decode(errors="replace")
        return QuestionRefusedError(reply.status, "http", text or "no text", None, None)


def _checked(url: str) -> str:
    address = url.strip().rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise ValueError(f"expected an address as http://HOST:PORT, found {url!r}")
    return address


def _retry_after_s(reply: Reply) -> float:
    text = reply.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() else 0.0
