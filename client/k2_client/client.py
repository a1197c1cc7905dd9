"""The client: each method asks, waits, and returns the whole result."""

import contextlib
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
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
from k2_client.transport import TIMEOUT_S, HttpTransport, verification

T = TypeVar("T")


def connect(
    url: str | Sequence[str] | None = None,
    key: str | None = None,
    *,
    ca_file: str | None = None,
    patience_s: float = PATIENCE_S,
    timeout_s: float = TIMEOUT_S,
    page_rows: int = PAGE_ROWS,
) -> "Client":
    """A client of one or more nodes. Nothing is sent yet.

    Args:
        url: a node's address, or several; where one does not answer the next is asked. None: a
            worker of this machine.
        key: the API key.
        ca_file: certificates that vouch for nodes of HTTPS; None: the usual authorities.
        patience_s: how long a question is asked again, while no node answers.
        timeout_s: how long one answer may take.
        page_rows: rows asked for at a time; a result has those of all pages.

    Raises:
        ValueError: an address is none of HTTP.
    """
    nodes = Nodes(url, patience_s)
    transport = HttpTransport(key, timeout_s, verification(nodes.addresses, ca_file))
    return Client(Operations(nodes, page_rows), transport)


class Client:
    """Asks nodes, from any thread. Use as a context manager, or `close` it.

    Every method raises `QuestionRefusedError` where K2 refuses the question, `UnavailableError`
    where no node answers in time, `TooManyRowsError` where there are more rows than are taken
    without a `limit`, and `UnreadableError` where the answer is not K2's.

    Args:
        operations: of the nodes that are asked.
        transport: how; it is closed with the client.
    """

    def __init__(self, operations: Operations, transport: HttpTransport) -> None:
        self._operations = operations
        self._transport = transport

    def trades(self, symbols: Names = (), **options: Unpack[RowsOptions]) -> Result:
        """Trades of symbols (none named: of all), of the lake and the tail as one."""
        return self.rows("trades", symbols, **options)

    def quotes(self, symbols: Names = (), **options: Unpack[RowsOptions]) -> Result:
        """The same of quotes."""
        return self.rows("quotes", symbols, **options)

    def rows(self, relation: str, symbols: Names = (), **options: Unpack[RowsOptions]) -> Result:
        """The same of any log that the nodes serve, as an app's output."""
        return self._run(self._operations.rows(relation, symbols, options))

    def pages(
        self, relation: str, symbols: Names = (), **options: Unpack[RowsOptions]
    ) -> Iterator[Result]:
        """The same a page at a time, for more rows than fit the memory."""
        paging = self._operations.pages(relation, symbols, options)
        while (page := self._run(paging.following())) is not None:
            yield page

    def stream(
        self, relation: str, symbols: Names = (), **options: Unpack[StreamOptions]
    ) -> Generator[StreamFrame, None, None]:
        """Rows of a log from `start` on, and those to come: no row is left out, none comes twice.

        Where a node ends or is slow to answer, the stream goes on from another one behind the last
        frame; with an `end` it ends there, with a frame `end`. `close` the iterator to stop it.
        """
        rows = self._operations.stream(relation, symbols, options)
        while (step := rows.following()) is not None:
            if step.after_s:
                time.sleep(step.after_s)
            with contextlib.closing(self._transport.pieces(step)) as pieces:
                for piece in pieces:
                    yield from rows.receive(piece)

    def trades_quotes(self, symbols: Names = (), **options: Unpack[JoinOptions]) -> Result:
        """Trades, each with the quote that stood at its time."""
        return self._run(self._operations.trades_quotes(symbols, options))

    def bars(self, symbols: Names, interval: str, **options: Unpack[BarsOptions]) -> Result:
        """Bars of trades, each with what is missing of it."""
        return self._run(self._operations.bars(symbols, interval, options))

    def gaps(self, symbols: Names = (), **options: Unpack[GapsOptions]) -> Result:
        """Sequence numbers that were skipped, and what became of them."""
        return self._run(self._operations.gaps(symbols, options))

    def coverage(self, symbols: Names = (), **options: Unpack[CoverageOptions]) -> Result:
        """Of each symbol, trading date and session how many numbers there are of how many."""
        return self._run(self._operations.coverage(symbols, options))

    def symbols(self, symbols: Names = (), **options: Unpack[PointOptions]) -> Result:
        """Symbols with their newest row and what the sequencer found."""
        return self._run(self._operations.symbols(symbols, options))

    def snapshots(self, **options: Unpack[SnapshotsOptions]) -> Result:
        """Snapshots of a log's Iceberg table, the newest first."""
        return self._run(self._operations.snapshots(options))

    def distinct(self, of: Distinct = "trade_id", **options: Unpack[SketchOptions]) -> Result:
        """How many distinct values of trades there are, estimated by sketches, with bounds.

        This and the two below are answered where the app `sketches` runs; elsewhere the question is
        refused with 404.
        """
        return self._run(self._operations.distinct(of, options))

    def top(
        self, measure: TopMeasure = "messages", n: int = TOP, **options: Unpack[SketchOptions]
    ) -> Result:
        """The `n` symbols with most trades or volume, with certain bounds."""
        return self._run(self._operations.top(measure, n, options))

    def quantiles(
        self,
        of: Ordered = "delay_ns",
        q: Sequence[float] = QUANTILES,
        **options: Unpack[SketchOptions],
    ) -> Result:
        """Quantiles `q`, from 0 to 1, of delay or quantity, with certain bounds."""
        return self._run(self._operations.quantiles(of, q, options))

    def sql(
        self,
        query: str,
        params: Mapping[str, object] | None = None,
        **options: Unpack[SqlOptions],
    ) -> Result:
        """Rows of one SELECT; `params` are the values of its `$NAME`."""
        return self._run(self._operations.sql(query, params, options))

    def sql_document(
        self,
        query: str,
        params: Mapping[str, object] | None = None,
        *,
        form: SqlFormat,
        **options: Unpack[SqlOptions],
    ) -> Document:
        """The same as K2 writes it: JSON, an Arrow stream, CSV, a Parquet file or Markdown."""
        return self._run(self._operations.sql_document(query, params, form, options))

    def relations(self) -> dict[str, dict[str, str]]:
        """What a statement may read: the columns of each relation, with their types."""
        return self._run(self._operations.relations())

    def json(self, path: str, **parameters: Any) -> Any:
        """The JSON of another path, as `/v1/status`."""
        return self._run(self._operations.json(path, parameters))

    def _run(self, operation: Operation[T]) -> T:
        try:
            step = next(operation)
            while True:
                if step.after_s:
                    time.sleep(step.after_s)
                step = operation.send(self._transport.send(step))
        except StopIteration as done:
            result: T = done.value
            return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
