"""What gaps and coverage need of the query of a log."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from k2_streams.query.reading import Reader
from k2_streams.query.request import RowsRequest
from k2_streams.query.resolved import ResolvedRequest

_T = TypeVar("_T")


class LogQueries(Protocol):
    """A log's read points and rows: `query.hybrid.HybridQuery`."""

    async def ask(
        self, request: RowsRequest, answered: Callable[[ResolvedRequest], Awaitable[_T]]
    ) -> _T:
        """What `answered` makes of a request at a read point."""
        ...

    @property
    def reader(self) -> Reader:
        """Of the log's rows."""
        ...
