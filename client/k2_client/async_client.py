"""The client for coroutines: the methods of `Client`, awaited."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self, TypeVar, Unpack

from k2_client.exchange import PATIENCE_S, Nodes, Operation
from k2_client.operations import QUANTILES, TOP, Document, Operations
from k2_client.options import (
    BarsOptions,
    CoverageOptions,
    Distinct,
    GapsOptions,
    JoinOptions,
    Names,
    Ordered,
    PointOptions,
    RowsOptions,
    SketchOptions,
    SnapshotsOptions,
    SqlFormat,
    SqlOptions,
    StreamOptions,
    TopMeasure,
)
from k2_client.paging import PAGE_ROWS
from k2_client.result import Result
from k2_client.row_stream import StreamFrame
from k2_client.transport import TIMEOUT_S, AsyncHttpTransport, verification

T = TypeVar("T")


class AsyncClient:
    """As `Client`, for one event loop. Use as an async context manager, or `close` it.

    Args:
        url, key, ca_file, patience_s, timeout_s, page_rows: as of `connect`.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        key: str | None = None,
        *,
        ca_file: str | None = None,
        patience_s: float = PATIENCE_S,
        timeout_s: float = TIMEOUT_S,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        nodes = Nodes(url, patience_s)
        self._operations = Operations(nodes, page_rows)
        self._transport = AsyncHttpTransport(key, timeout_s, verification(nodes.addresses, ca_file))

    async def trades(self, symbols: Names = (), **options: Unpack[RowsOptions]) -> Result:
        """As `Client.trades`."""
        return await self.rows("trades", symbols, **options)

    async def quotes(self, symbols: Names = (), **options: Unpack[RowsOptions]) -> Result:
        """As `Client.quotes`."""
        return await self.rows("quotes", symbols, **options)

    async def rows(
        self, relation: str, symbols: Names = (), **options: Unpack[RowsOptions]
    ) -> Result:
        """As `Client.rows`."""
        return await self._run(self._operations.rows(relation, symbols, options))

    async def pages(
        self, relation: str, symbols: Names = (), **options: Unpack[RowsOptions]
    ) -> AsyncIterator[Result]:
        """As `Client.pages`."""
        paging = self._operations.pages(relation, symbols, options)
        while (page := await self._run(paging.following())) is not None:
            yield page

    async def stream(
        self, relation: str, symbols: Names = (), **options: Unpack[StreamOptions]
    ) -> AsyncIterator[StreamFrame]:
        """As `Client.stream`."""
        rows = self._operations.stream(relation, symbols, options)
        while (step := rows.following()) is not None:
            if step.after_s:
                await asyncio.sleep(step.after_s)
            async with contextlib.aclosing(self._transport.pieces(step)) as pieces:
                async for piece in pieces:
                    for frame in rows.receive(piece):
                        yield frame

    async def trades_quotes(self, symbols: Names = (), **options: Unpack[JoinOptions]) -> Result:
        """As `Client.trades_quotes`."""
        return await self._run(self._operations.trades_quotes(symbols, options))

    async def bars(self, symbols: Names, interval: str, **options: Unpack[BarsOptions]) -> Result:
        """As `Client.bars`."""
        return await self._run(self._operations.bars(symbols, interval, options))

    async def gaps(self, symbols: Names = (), **options: Unpack[GapsOptions]) -> Result:
        """As `Client.gaps`."""
        return await self._run(self._operations.gaps(symbols, options))

    async def coverage(self, symbols: Names = (), **options: Unpack[CoverageOptions]) -> Result:
        """As `Client.coverage`."""
        return await self._run(self._operations.coverage(symbols, options))

    async def symbols(self, symbols: Names = (), **options: Unpack[PointOptions]) -> Result:
        """As `Client.symbols`."""
        return await self._run(self._operations.symbols(symbols, options))

    async def snapshots(self, **options: Unpack[SnapshotsOptions]) -> Result:
        """As `Client.snapshots`."""
        return await self._run(self._operations.snapshots(options))

    async def distinct(self, of: Distinct = "trade_id", **options: Unpack[SketchOptions]) -> Result:
        """As `Client.distinct`."""
        return await self._run(self._operations.distinct(of, options))

    async def top(
        self, measure: TopMeasure = "messages", n: int = TOP, **options: Unpack[SketchOptions]
    ) -> Result:
        """As `Client.top`."""
        return await self._run(self._operations.top(measure, n, options))

    async def quantiles(
        self,
        of: Ordered = "delay_ns",
        q: Sequence[float] = QUANTILES,
        **options: Unpack[SketchOptions],
    ) -> Result:
        """As `Client.quantiles`."""
        return await self._run(self._operations.quantiles(of, q, options))

    async def sql(
        self,
        query: str,
        params: Mapping[str, object] | None = None,
        **options: Unpack[SqlOptions],
    ) -> Result:
        """As `Client.sql`."""
        return await self._run(self._operations.sql(query, params, options))

    async def sql_document(
        self,
        query: str,
        params: Mapping[str, object] | None = None,
        *,
        form: SqlFormat,
        **options: Unpack[SqlOptions],
    ) -> Document:
        """As `Client.sql_document`."""
        return await self._run(self._operations.sql_document(query, params, form, options))

    async def relations(self) -> dict[str, dict[str, str]]:
        """As `Client.relations`."""
        return await self._run(self._operations.relations())

    async def json(self, path: str, **parameters: Any) -> Any:
        """As `Client.json`."""
        return await self._run(self._operations.json(path, parameters))

    async def _run(self, operation: Operation[T]) -> T:
        try:
            step = next(operation)
            while True:
                if step.after_s:
                    await asyncio.sleep(step.after_s)
                step = operation.send(await self._transport.send(step))
        except StopIteration as done:
            result: T = done.value
            return result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
