"""`GET /v1/<stream>`: rows of lake and tail as one, of every stream that is served."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from k2_streams.core.query.keys import keys_of
from k2_streams.core.records.stream import Stream
from k2_streams.query.relations import relations_of
from k2_streams.query.request import DEFAULT_LIMIT, RowsRequest
from k2_streams.web.declaration.endpoint import Call, Endpoint, Pinned, Rows
from k2_streams.web.declaration.key_parameters import STANDARD, key_names, with_key
from k2_streams.web.declaration.shared_parameters import (
    MAX_LIMIT,
    AsOf,
    EndOrLast,
    Exchanges,
    KnownAt,
    MinOffsets,
    NextCursor,
    Start,
    Symbols,
    WaitMs,
    Window,
    Zone,
    wait_ms_of,
)
from k2_streams.web.http.errors import (
    BEFORE_HISTORY,
    LAKE_BEHIND,
    LAKE_UNAVAILABLE,
    NOT_YET,
    QUERY_TIMEOUT,
    QUERY_TOO_LARGE,
    UNKNOWN_SYMBOL,
)


class RowsParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows, in which order, at which read point."""

    symbol: Symbols = ()
    exchange: Exchanges = ()
    start: Start = None
    end: EndOrLast = None
    window: Window = None
    tz: Zone = None
    order: Annotated[
        Literal["asc", "desc"],
        msgspec.Meta(description="Of event time, then partition, offset and row of the log."),
    ] = "asc"
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT, description="Rows at most.")] = (
        DEFAULT_LIMIT
    )
    cursor: NextCursor = None
    as_of: AsOf = None
    known_at: KnownAt = None
    min_offsets: MinOffsets = None
    wait_ms: WaitMs = None
    view: Annotated[
        Literal["reported", "corrected"],
        msgspec.Meta(
            description="`reported`: every row, corrections as rows of their own; `corrected`: "
            "what stands after cancels and corrections."
        ),
    ] = "reported"


#: Of queries for rows.
ROWS_ERRORS = (
    UNKNOWN_SYMBOL,
    BEFORE_HISTORY,
    QUERY_TOO_LARGE,
    NOT_YET,
    LAKE_BEHIND,
    LAKE_UNAVAILABLE,
    QUERY_TIMEOUT,
)
#: Parameters that say which rows are wanted: beside a cursor they must repeat its query.
_QUERY = frozenset({"symbol", "exchange", "start", "end", "window", "order", "view"})


def rows_request(parameters: RowsParameters, given: frozenset[str]) -> RowsRequest:
    """The query that the parameters ask.

    Raises:
        InvalidParameter: two parameters contradict each other.
    """
    cursor = parameters.cursor
    names = key_names(type(parameters), RowsParameters)
    is_page = cursor is not None and "limit" not in given
    request = RowsRequest(
        symbols=parameters.symbol,
        exchanges=parameters.exchange,
        start_ns=parameters.start,
        end_ns=parameters.end,
        window_ns=parameters.window,
        limit=cursor.limit if cursor is not None and is_page else parameters.limit,
        descending=parameters.order == "desc",
        cursor=cursor,
        as_of=parameters.as_of,
        known_at_ns=parameters.known_at,
        min_offsets=parameters.min_offsets or {},
        wait_ms=wait_ms_of(parameters.wait_ms, parameters.min_offsets),
        view=parameters.view,
        keys=keys_of(**{name: getattr(parameters, name) for name in names}),
    )
    if cursor is None:
        return request
    return request.continued(cursor, is_repeated=bool(given & _QUERY.union(names)))


async def _rows(call: Call[RowsParameters]) -> Rows:
    request = rows_request(call.parameters, call.given)
    (relation,) = call.endpoint.relations
    if call.services.by_name[relation].stream.is_ledger:
        # Of a symbol, a feed or a worker without findings there are none: it is not unknown.
        request = msgspec.structs.replace(request, checks_names=False)
    answer = await call.rows(relation, request)
    meta = answer.meta
    if not meta.pinned:
        return Rows(answer.rows, meta)
    query = f"{request!r}{meta.token}"
    return Rows(answer.rows, meta, Pinned(query, meta.complete, meta.gaps, meta.settled))


def endpoints(streams: tuple[Stream, ...]) -> Iterator[Endpoint[RowsParameters]]:
    """One endpoint per log, from its relation alone."""
    for relation in relations_of(streams).values():
        if not relation.is_log:
            continue
        stream = relation.log
        absent = {name for name in STANDARD if name not in stream.key}
        if not stream.is_corrected:
            absent.add("view")
        if stream.is_ledger:  # no record of it says how far the source was processed
            absent.add("min_offsets")
        yield Endpoint.of(
            relation,
            _rows,
            with_key(RowsParameters, stream),
            errors=ROWS_ERRORS,
            without=frozenset(absent),
        )


def check_key(stream: Stream) -> None:
    """Whether the columns of a stream's key can be parameters of its path.

    Raises:
        EndpointError: one of them cannot.
    """
    with_key(RowsParameters, stream)
