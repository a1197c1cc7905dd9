"""Narrows queries to what their caller may read.

`EntitledQueries` stands before what answers the queries of a log. Every path that reads rows asks
through it, so that none of them has a rule of its own.
"""

from collections.abc import Iterable
from typing import TypeVar

import msgspec
import pyarrow as pa

from k2_streams.core.query.entitlement import Entitlement
from k2_streams.core.records.stream import Stream
from k2_streams.query.answer import Answer, GapsAnswer, SnapshotRow, SymbolsAnswer
from k2_streams.query.asof.request import Joined, JoinRequest
from k2_streams.query.bars.answer import BarsAnswer
from k2_streams.query.bars.request import BarsRequest
from k2_streams.query.errors import NotEntitledError
from k2_streams.query.ledger.coverage import CoverageAnswer, CoverageRequest
from k2_streams.query.relations import Queries, ServedLog
from k2_streams.query.request import (
    GapsRequest,
    RowsRequest,
    SnapshotsRequest,
    SymbolsRequest,
)
from k2_streams.query.subscription.request import StreamRequest
from k2_streams.query.subscription.subscription import Subscription

_EXCHANGE = "exchange"
Request = TypeVar("Request", RowsRequest, BarsRequest, SymbolsRequest, StreamRequest)


def check_relation(entitlement: Entitlement, name: str) -> None:
    """Refuse a relation that may not be read.

    Raises:
        NotEntitledError: it may not.
    """
    relations = entitlement.relations
    if relations is not None and name not in relations:
        raise NotEntitledError(
            f"the key may not read {name}: it may read {', '.join(sorted(relations))}"
        )


def exchanges_of(
    entitlement: Entitlement, name: str, key: Iterable[str], wanted: tuple[str, ...]
) -> tuple[str, ...]:
    """The exchanges that a query is narrowed to; empty: all.

    Args:
        entitlement: of the caller.
        name: of the relation.
        key: the columns by which its rows can be selected.
        wanted: the exchanges that the query names; empty: it names none.

    Raises:
        NotEntitledError: it names one that may not be read, or its rows cannot be selected by their
            exchange.
    """
    permitted = entitlement.exchanges
    if permitted is None:
        return wanted
    if _EXCHANGE not in key:
        raise NotEntitledError(
            f"{name} has no key column exchange, and the key may read some exchanges alone"
        )
    refused = sorted(set(wanted) - permitted)
    if refused:
        raise NotEntitledError(
            f"the key may not read exchange {', '.join(refused)}: it may read "
            f"{', '.join(sorted(permitted))}"
        )
    return wanted or tuple(sorted(permitted))


class EntitledQueries:
    """The queries of a log, narrowed to what may be read; raises `NotEntitledError` for the rest.

    Args:
        queries: of the log.
        stream: the log's.
        entitlement: of the caller.
    """

    def __init__(self, queries: Queries, stream: Stream, entitlement: Entitlement) -> None:
        self._queries = queries
        self._stream = stream
        self._entitlement = entitlement

    async def rows(self, request: RowsRequest) -> Answer:
        """As `Queries`."""
        return await self._queries.rows(self._permitted(self._stream.name, request))

    async def bars(self, request: BarsRequest) -> BarsAnswer:
        """As `Queries`."""
        return await self._queries.bars(self._permitted(self._stream.name, request))

    async def quotes_of(self, trades: pa.Table, request: JoinRequest) -> Joined:
        """As `Queries`; a trade's quotes are those of its own exchange."""
        self._exchanges(self._stream.name, ())
        return await self._queries.quotes_of(trades, request)

    async def gaps(self, request: GapsRequest) -> GapsAnswer:
        """As `Queries`."""
        exchanges = self._exchanges("gaps", request.exchanges)
        return await self._queries.gaps(msgspec.structs.replace(request, exchanges=exchanges))

    async def coverage(self, request: CoverageRequest) -> CoverageAnswer:
        """As `Queries`."""
        exchanges = self._exchanges("coverage", request.exchanges)
        return await self._queries.coverage(msgspec.structs.replace(request, exchanges=exchanges))

    async def subscribe(self, request: StreamRequest) -> Subscription:
        """As `Queries`."""
        return await self._queries.subscribe(self._permitted(self._stream.name, request))

    async def symbols(self, request: SymbolsRequest) -> SymbolsAnswer:
        """As `Queries`."""
        return await self._queries.symbols(self._permitted("symbols", request))

    async def snapshots(self, request: SnapshotsRequest) -> list[SnapshotRow]:
        """As `Queries`; a snapshot says how many rows of all exchanges there are."""
        for name in ("snapshots", self._stream.name):
            check_relation(self._entitlement, name)
        exchanges_of(self._entitlement, "snapshots", (), ())
        return await self._queries.snapshots(request)

    def _permitted(self, name: str, request: Request) -> Request:
        """The request, narrowed.

        The exchanges are no part of what a cursor or a token says: each page is narrowed to what
        its own caller may read.
        """
        permitted = self._exchanges(name, request.exchanges)
        if self._entitlement.exchanges is None:
            return request
        return msgspec.structs.replace(request, permitted=permitted)

    def _exchanges(self, name: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The exchanges that a query about a relation is narrowed to; empty: all."""
        check_relation(self._entitlement, name)
        return exchanges_of(self._entitlement, name, self._stream.key, wanted)


def entitled(log: ServedLog, entitlement: Entitlement) -> ServedLog:
    """A log as a caller sees it."""
    return ServedLog(log.stream, EntitledQueries(log.query, log.stream, entitlement))
