"""`GET /v1/coverage`: how many numbers there are of how many, by symbol, date and session."""

import datetime as dt
from typing import Annotated, Any

import msgspec

from k2_streams.core.records.stream import Stream
from k2_streams.query.ledger.coverage import DEFAULT_COVERAGE, CoverageRequest
from k2_streams.query.relations import relations_of
from k2_streams.web.declaration.endpoint import Call, Endpoint, Rows
from k2_streams.web.declaration.parameters import RULE, Rule
from k2_streams.web.declaration.shared_parameters import (
    MAX_LISTED,
    Exchanges,
    KnownAt,
    Symbols,
    WaitMs,
    Zone,
    wait_ms_of,
)
from k2_streams.web.endpoints.rows import ROWS_ERRORS
from k2_streams.web.http.errors import UNKNOWN_SYMBOL

#: Days of one request: their rows are read as a whole.
MAX_DATES = 31


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a date as 2026-11-30") from None


_Date = Annotated[
    dt.date,
    msgspec.Meta(
        examples=["2026-11-30"],
        extra_json_schema={"type": "string", "format": "date"},
        extra={RULE: Rule(_date)},
    ),
]


class CoverageParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Whose coverage, of which days."""

    date: Annotated[
        tuple[_Date, ...],
        msgspec.Meta(
            min_length=1,
            max_length=MAX_DATES,
            description="Trading dates. May be repeated. None: all, of which every row is read.",
            extra={RULE: Rule(_date)},
        ),
    ] = ()
    symbol: Symbols = ()
    exchange: Exchanges = ()
    tz: Zone = None
    known_at: KnownAt = None
    wait_ms: WaitMs = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LISTED, description="Rows at most.")] = (
        DEFAULT_COVERAGE
    )


async def _coverage(call: Call[CoverageParameters]) -> Rows:
    parameters = call.parameters
    answer = await call.services.sequenced.query.coverage(
        CoverageRequest(
            symbols=parameters.symbol,
            exchanges=parameters.exchange,
            dates=parameters.date,
            limit=parameters.limit,
            known_at_ns=parameters.known_at,
            wait_ms=wait_ms_of(parameters.wait_ms, None),
        )
    )
    return Rows(answer.rows, answer.meta)


def endpoints(streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint, where a ledger is kept."""
    relation = relations_of(streams).get("coverage")
    if relation is None:
        return []
    errors = tuple(kind for kind in ROWS_ERRORS if kind is not UNKNOWN_SYMBOL)
    return [Endpoint.of(relation, _coverage, CoverageParameters, errors=errors)]
