"""`GET /v1/gaps`: gaps of sequence numbers that are known."""

from typing import Annotated, Any

import msgspec

from k2_streams.core.records.stream import Stream
from k2_streams.core.records.struct_tables import table_of
from k2_streams.core.sequence.gaps import Gap
from k2_streams.query.relations import relations_of
from k2_streams.query.request import DEFAULT_LIMIT, GapsRequest, GapState
from k2_streams.web.declaration.endpoint import Call, Endpoint, Rows
from k2_streams.web.declaration.parameters import RULE, Rule
from k2_streams.web.declaration.shared_parameters import (
    MAX_LISTED,
    EndTime,
    Exchanges,
    KnownAt,
    Start,
    Symbols,
    Window,
    Zone,
)
from k2_streams.web.http.errors import (
    BEFORE_HISTORY,
    LAKE_BEHIND,
    LAKE_UNAVAILABLE,
    NOT_YET,
    QUERY_TIMEOUT,
)

#: Of gaps as known at a time.
_ERRORS = (BEFORE_HISTORY, NOT_YET, LAKE_BEHIND, LAKE_UNAVAILABLE, QUERY_TIMEOUT)


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
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LISTED, description="Gaps at most.")] = (
        DEFAULT_LIMIT
    )


async def _gaps(call: Call[GapsParameters]) -> Rows:
    parameters = call.parameters
    answer = await call.services.sequenced.query.gaps(
        GapsRequest(
            symbols=parameters.symbol,
            exchanges=parameters.exchange,
            states=parameters.state,
            start_ns=parameters.start,
            end_ns=parameters.end,
            window_ns=parameters.window,
            limit=parameters.limit,
            known_at_ns=parameters.known_at,
        )
    )
    return Rows(table_of(answer.gaps, Gap), answer.meta)


def endpoints(streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint, where rows are sequenced."""
    relation = relations_of(streams).get("gaps")
    if relation is None:
        return []
    return [Endpoint.of(relation, _gaps, GapsParameters, errors=_ERRORS)]
