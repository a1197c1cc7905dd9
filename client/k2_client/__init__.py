"""Client of K2 Streams: rows as Arrow, each answer with the proof of how complete it is.

    import k2_client as k2

    c = k2.connect("http://127.0.0.1:6066")
    trades = c.trades("BHP", window="15m").require_complete().polars()

`connect` gives a `Client`; an `AsyncClient` has the same methods for coroutines.
"""

from typing import TYPE_CHECKING, Any

from k2_client.client import Client, connect
from k2_client.errors import (
    ClientError,
    IncompleteError,
    QuestionRefusedError,
    TooManyRowsError,
    UnavailableError,
    UnreadableError,
)
from k2_client.result import Result
from k2_client.row_stream import StreamFrame

if TYPE_CHECKING:
    from k2_client.async_client import AsyncClient

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "IncompleteError",
    "QuestionRefusedError",
    "Result",
    "StreamFrame",
    "TooManyRowsError",
    "UnavailableError",
    "UnreadableError",
    "connect",
]


def __getattr__(name: str) -> Any:
    """`AsyncClient` when it is first used: asyncio takes as long to import as the rest."""
    if name == "AsyncClient":
        from k2_client.async_client import AsyncClient  # noqa: PLC0415

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
