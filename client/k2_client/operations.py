"""What each method does, as an operation: question, pages, result."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from k2_client.errors import TooManyRowsError, UnreadableError
from k2_client.exchange import Nodes, Operation, Question, Reply
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
    ShapeOptions,
    SketchOptions,
    SnapshotsOptions,
    SqlFormat,
    SqlOptions,
    StreamOptions,
    TopMeasure,
    shape_of,
)
from k2_client.paging import PAGE_ROWS, Paging
from k2_client.parameters import Parameters, parameters_of, statement_parameters
from k2_client.result import META_KEY, Result, joined, result_of
from k2_client.row_stream import RowStream

#: Rows of a result without `limit`: some 3 GB.
MAX_ROWS = 10_000_000
#: The most that one answer of these paths has.
MAX_GAPS = 10_000
MAX_COVERAGE = 10_000
MAX_SNAPSHOTS = 10_000
MAX_SQL_ROWS = 100_000
#: What is asked of sketches where the caller does not say: symbols, and quantiles.
TOP = 20
QUANTILES = (0.5, 0.9, 0.99)
#: Where an answer in text has its proof.
META_HEADER = "X-K2-Meta"


class Document(NamedTuple):
    """An answer in a format of K2's, with its proof; in a header of 4 KiB some may be left out."""

    body: bytes
    proof: Mapping[str, Any]


class Operations:
    """Operations that ask nodes.

    Args:
        nodes: where.
        page_rows: rows of a page.
    """

    def __init__(self, nodes: Nodes, page_rows: int = PAGE_ROWS) -> None:
        self._nodes = nodes
        self._page_rows = page_rows

    def rows(self, relation: str, symbols: Names, options: RowsOptions) -> Operation[Result]:
        """Rows of a log."""
        return self._paged(f"/v1/{relation}", _of_rows(symbols, options), (), options)

    def pages(self, relation: str, symbols: Names, options: RowsOptions) -> Paging:
        """The same page by page; without `limit` there is none."""
        path = f"/v1/{relation}"
        return self._paging(path, _of_rows(symbols, options), (), options, None)

    def stream(self, relation: str, symbols: Names, options: StreamOptions) -> RowStream:
        """The same, and those to come."""
        where = options.get("where") or {}
        given = {name: value for name, value in options.items() if name not in {"start", "end"}}
        asked = parameters_of({"symbol": symbols, **where, **given, "to": options.get("end")})
        ((_, start),) = parameters_of({"from": options.get("start", "now")})
        path = f"/v1/{relation}/stream"
        return RowStream(self._nodes, path, asked, start, shape_of(options))

    def trades_quotes(self, symbols: Names, options: JoinOptions) -> Operation[Result]:
        """Trades, each with the quote that stood at its time."""
        names = ("strategy", "tolerance", "allow_exact_matches", "markouts", "quotes_as_of")
        asked = (*parameters_of({"symbol": symbols}), *parameters_of(options))
        repeated = tuple(one for one in asked if one[0] in names)
        return self._paged("/v1/trades/quotes", asked, repeated, options)

    def bars(self, symbols: Names, interval: str, options: BarsOptions) -> Operation[Result]:
        """Bars of trades."""
        repeated = parameters_of({"symbol": symbols, "interval": interval})
        return self._paged("/v1/bars", (*repeated, *parameters_of(options)), repeated, options)

    def gaps(self, symbols: Names, options: GapsOptions) -> Operation[Result]:
        """Sequence numbers that were skipped."""
        asked = (*parameters_of({"symbol": symbols}), *parameters_of(options))
        return self._one("/v1/gaps", asked, options, MAX_GAPS)

    def coverage(self, symbols: Names, options: CoverageOptions) -> Operation[Result]:
        """How many numbers there are of how many."""
        asked = (*parameters_of({"symbol": symbols}), *parameters_of(options))
        return self._one("/v1/coverage", asked, options, MAX_COVERAGE)

    def symbols(self, symbols: Names, options: PointOptions) -> Operation[Result]:
        """Symbols with their newest row."""
        asked = (*parameters_of({"symbol": symbols}), *parameters_of(options))
        return self._one("/v1/symbols", asked, options, None)

    def snapshots(self, options: SnapshotsOptions) -> Operation[Result]:
        """Snapshots of a log's table."""
        return self._one("/v1/snapshots", parameters_of(options), options, MAX_SNAPSHOTS)

    def distinct(self, of: Distinct, options: SketchOptions) -> Operation[Result]:
        """An estimate of how many values there are."""
        return self._sketched("/v1/distinct", {"of": of}, options)

    def top(self, measure: TopMeasure, n: int, options: SketchOptions) -> Operation[Result]:
        """The symbols with most of a measure."""
        return self._sketched("/v1/top", {"measure": measure, "n": n}, options)

    def quantiles(
        self, of: Ordered, q: Sequence[float], options: SketchOptions
    ) -> Operation[Result]:
        """Quantiles of a value."""
        return self._sketched("/v1/quantiles", {"of": of, "q": q}, options)

    def sql(
        self, query: str, params: Mapping[str, object] | None, options: SqlOptions
    ) -> Operation[Result]:
        """Rows of a statement."""
        asked = statement_parameters(params, options)
        return self._one("/v1/sql", asked, options, MAX_SQL_ROWS, query)

    def sql_document(
        self,
        query: str,
        params: Mapping[str, object] | None,
        form: SqlFormat,
        options: SqlOptions,
    ) -> Operation[Document]:
        """Rows of a statement as K2 writes them in a format."""
        more = (("limit", str(_limit(options, MAX_SQL_ROWS))), ("format", form))
        asked = (*statement_parameters(params, options), *more)
        reply = yield from self._nodes.ask(Question("/v1/sql", asked, query))
        return Document(reply.body, _proof_of(reply, form))

    def json(self, path: str, parameters: Mapping[str, Any] | None = None) -> Operation[Any]:
        """The JSON at a path."""
        reply = yield from self._nodes.ask(Question(path, parameters_of(parameters or {})))
        return _json_of(reply)

    def relations(self) -> Operation[dict[str, dict[str, str]]]:
        """The relations of a statement, each with its columns and their types."""
        document = yield from self.json("/v1/openapi.json")
        try:
            return dict(sorted(_relations(document)))
        except (KeyError, TypeError, AttributeError) as error:
            raise UnreadableError(f"expected K2's OpenAPI document: {error}") from error

    def _paged(
        self, path: str, asked: Parameters, repeated: Parameters, options: ShapeOptions
    ) -> Operation[Result]:
        """All pages of a question as one result.

        Raises:
            TooManyRowsError: there are more than `MAX_ROWS`, and the caller gave no limit.
        """
        paging = self._paging(path, asked, repeated, options, MAX_ROWS)
        pages = []
        while (page := (yield from paging.following())) is not None:
            pages.append(page)
        if paging.is_more:
            _check_limit(path, MAX_ROWS, options)
        return joined(pages, truncated=paging.is_more)

    def _paging(
        self,
        path: str,
        asked: Parameters,
        repeated: Parameters,
        options: ShapeOptions,
        most: int | None,
    ) -> Paging:
        return Paging(
            self._nodes,
            Question(path, asked),
            repeated,
            shape_of(options),
            page_rows=self._page_rows,
            limit=_limit(options, most),
        )

    def _sketched(
        self, path: str, named: Mapping[str, Any], options: SketchOptions
    ) -> Operation[Result]:
        return self._one(path, (*parameters_of(named), *parameters_of(options)), options, None)

    def _one(
        self,
        path: str,
        asked: Parameters,
        options: ShapeOptions,
        most: int | None,
        statement: str | None = None,
    ) -> Operation[Result]:
        """A question whose answer has no pages; `most` rows, or all."""
        more = [("format", "arrow")]
        if most is not None:
            more.append(("limit", str(_limit(options, most))))
        reply = yield from self._nodes.ask(Question(path, (*asked, *more), statement))
        result = result_of(reply, shape_of(options))
        result.truncated = bool(result.proof.get("omitted") or result.proof.get("truncated"))
        if result.truncated and most is not None:
            _check_limit(path, most, options)
        return result


def _of_rows(symbols: Names, options: RowsOptions) -> Parameters:
    where = options.get("where") or {}
    return (*parameters_of({"symbol": symbols, **where}), *parameters_of(options))


def _limit(options: ShapeOptions, most: int | None) -> int | None:
    limit = options.get("limit")
    return most if limit is None else limit


def _check_limit(path: str, most: int, options: ShapeOptions) -> None:
    if options.get("limit") is None:
        raise TooManyRowsError(
            f"{path} has more than {most:,} rows: narrow the question, or give limit="
        )


def _proof_of(reply: Reply, form: SqlFormat) -> Mapping[str, Any]:
    """The proof where the format has it.

    Raises:
        UnreadableError: it is not there.
    """
    try:
        match form:
            case "json":
                found = json.loads(reply.body)["meta"]
            case "arrow":
                found = json.loads(pa.ipc.open_stream(reply.body).schema.metadata[META_KEY])
            case "parquet":
                import pyarrow.parquet as pq  # noqa: PLC0415 - of those who write one

                schema = pq.read_schema(pa.BufferReader(reply.body))
                found = json.loads(schema.metadata[META_KEY])
            case _:
                found = json.loads(reply.headers[META_HEADER])
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"expected a proof beside {form}: {error}") from error
    return dict(found)


def _json_of(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError as error:
        raise UnreadableError(f"expected JSON: {error}") from error


def _relations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    schemas = document["components"]["schemas"]
    for item in document["paths"].values():
        name = item["get"].get("x-k2-relation")
        if name is not None:
            content = item["get"]["responses"]["200"]["content"]["application/json"]
            reference = content["schema"]["properties"]["data"]["items"]["$ref"]
            columns = schemas[reference.rpartition("/")[2]]["properties"]
            yield name, {column: _type(schema) for column, schema in columns.items()}


def _type(schema: Mapping[str, Any]) -> str:
    """The type of a column, in a word."""
    kinds = [kind for kind in _list(schema["type"]) if kind != "null"]
    if "pattern" in schema:
        return "decimal"
    return str(schema.get("format") or "/".join(kinds))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
