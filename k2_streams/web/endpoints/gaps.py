"""`GET /v1/gaps`: gaps of sequence numbers that are known."""

from typing import Annotated, Any

import msgspec

from k2_streams.core.records.stream import Stream
from k2_streams.core.records.struct_tables import table_of
from k2_streams.core.sequence.gaps import Gap
from k2_streams.query.ledger.gaps import continued
from k2_streams.query.relations import relations_of
from k2_streams.query.request import DEFAULT_LIMIT, GapsRequest, GapState
from k2_streams.query.token import GapsCursor, TagName, Token, TokenError
from k2_streams.web.declaration.endpoint import Call, Endpoint, Rows
from k2_streams.web.declaration.parameters import RULE, Rule
from k2_streams.web.declaration.shared_parameters import (
    MAX_LISTED,
    EndTime,
    Exchanges,
    KnownAt,
    Start,
    Symbols,
    WaitMs,
    Window,
    Zone,
    decode_as_of,
    refuse_beside_cursor,
    wait_ms_of,
)
from k2_streams.web.http.errors import (
    BEFORE_HISTORY,
    LAKE_BEHIND,
    LAKE_UNAVAILABLE,
    NOT_YET,
    QUERY_TIMEOUT,
    QUERY_TOO_LARGE,
)

_ERRORS = (
    BEFORE_HISTORY,
    QUERY_TOO_LARGE,
    NOT_YET,
    LAKE_BEHIND,
    LAKE_UNAVAILABLE,
    QUERY_TIMEOUT,
)
_OF_LEDGER = frozenset({"as_of", "cursor", "wait_ms"})


def _decode_cursor(text: str) -> GapsCursor:
    try:
        cursor = GapsCursor.decode(text)
    except TokenError as error:
        raise ValueError(f"expected a cursor of an earlier answer of gaps ({error})") from error
    if not 1 <= cursor.limit <= MAX_LISTED:
        raise ValueError(f"expected a cursor with a limit from 1 to {MAX_LISTED}")
    return cursor


class GapsParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Which gaps."""

    symbol: Symbols = ()
    exchange: Exchanges = ()
    state: Annotated[
        tuple[GapState, ...],
        msgspec.Meta(
            min_length=1,
            description="May be repeated or separated by commas. None: all.",
            extra={RULE: Rule(separator=",")},
        ),
    ] = ()
    start: Start = None
    end: EndTime = None
    window: Window = None
    tz: Zone = None
    known_at: KnownAt = None
    as_of: Annotated[
        Token | TagName | None,
        msgspec.Meta(
            description="An earlier answer's `meta.token`: the same gaps again. Or `tag:NAME`, of "
            "the table of gap events.",
            extra_json_schema={"type": "string", "format": "k2-token", "minLength": 1},
            extra={RULE: Rule(decode_as_of)},
        ),
    ] = None
    cursor: (
        Annotated[
            GapsCursor,
            msgspec.Meta(
                description="The last page's `meta.next_cursor`: the next gaps, of the same query "
                "and token. It holds the query: beside it `limit`, `format` and `wait_ms` may be "
                "given.",
                extra_json_schema={"type": "string", "format": "k2-cursor", "minLength": 1},
                extra={RULE: Rule(_decode_cursor)},
            ),
        ]
        | None
    ) = None
    wait_ms: WaitMs = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LISTED, description="Gaps at most.")] = (
        DEFAULT_LIMIT
    )


#: What may be given beside a cursor, which holds the whole query.
_BESIDE_CURSOR = frozenset({"cursor", "limit", "format", "wait_ms"})


def _request(parameters: GapsParameters, given: frozenset[str]) -> GapsRequest:
    """The query that the parameters ask.

    Raises:
        InvalidParameter: two of them contradict each other.
    """
    wait_ms = wait_ms_of(parameters.wait_ms, None)
    if parameters.cursor is not None:
        refuse_beside_cursor(given - _BESIDE_CURSOR)
        limit = parameters.limit if "limit" in given else None
        return continued(parameters.cursor, limit=limit, wait_ms=wait_ms)
    return GapsRequest(
        symbols=parameters.symbol,
        exchanges=parameters.exchange,
        states=parameters.state,
        start_ns=parameters.start,
        end_ns=parameters.end,
        window_ns=parameters.window,
        limit=parameters.limit,
        known_at_ns=parameters.known_at,
        as_of=parameters.as_of,
        wait_ms=wait_ms,
    )


async def _gaps(call: Call[GapsParameters]) -> Rows:
    log = call.services.relations["gaps"].log.name
    request = _request(call.parameters, call.given)
    answer = await call.services.by_name[log].query.gaps(request)
    return Rows(table_of(answer.gaps, Gap), answer.meta)


def endpoints(streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint, where rows are sequenced."""
    relation = relations_of(streams).get("gaps")
    if relation is None:
        return []
    # Without a ledger gaps are those in memory, which no token names.
    without = frozenset() if relation.log.is_ledger else _OF_LEDGER
    return [Endpoint.of(relation, _gaps, GapsParameters, errors=_ERRORS, without=without)]
