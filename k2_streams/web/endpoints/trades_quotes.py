"""`GET /v1/trades/quotes`: trades, each with the quote that stood at its time."""

from typing import Annotated, Any, Literal

import msgspec

from k2_streams.core.query.asof.strategy import AsOfRule
from k2_streams.core.records.stream import QUOTES, TRADES, Stream
from k2_streams.query.asof.request import TRADES_QUOTES, JoinRequest, TradesQuotesMeta
from k2_streams.query.time_texts import parse_window
from k2_streams.query.token import TagName, Token
from k2_streams.web.declaration.endpoint import Call, Endpoint, Pinned, Rows, TableAnswer
from k2_streams.web.declaration.parameters import RULE, Rule
from k2_streams.web.declaration.shared_parameters import decode_as_of
from k2_streams.web.endpoints.rows import ROWS_ERRORS, RowsParameters, rows_request

_LENGTH = {"type": "string", "format": "k2-window"}


def _is_length(text: str) -> bool:
    try:
        return parse_window(text) > 0
    except ValueError:
        return False


class TradesQuotesParameters(RowsParameters, frozen=True, kw_only=True):
    """Which trades, and which quote of each."""

    strategy: Annotated[
        Literal["backward", "forward", "nearest"],
        msgspec.Meta(
            description="`backward`: the last quote at or before a trade; `forward`: the first at "
            "or after it; `nearest`: the nearer of the two, of two as near the one before."
        ),
    ] = "backward"
    tolerance: Annotated[
        int,
        msgspec.Meta(
            description="The longest time between a trade and its quote (default `1h`, at most "
            "`7d`).",
            examples=["5s"],
            extra_json_schema=_LENGTH,
            extra={RULE: Rule(parse_window)},
        ),
    ] = AsOfRule().tolerance_ns
    allow_exact_matches: Annotated[
        bool, msgspec.Meta(description="Whether a quote at the time of the trade is one.")
    ] = True
    markouts: Annotated[
        tuple[Annotated[str, msgspec.Meta(extra_json_schema={"format": "k2-window"})], ...],
        msgspec.Meta(
            min_length=1,
            max_length=8,
            description="Times after each trade (at most `1d`) at which the mid is wanted, as "
            "`1s,5s,1m`: by their names in the column `markouts`.",
            extra={RULE: Rule(is_valid=_is_length, expected="lengths as 1s,5m", separator=",")},
        ),
    ] = ()
    quotes_as_of: (
        Annotated[
            Token | TagName,
            msgspec.Meta(
                description="An earlier answer's `meta.quotes.token`: the same quotes again. "
                "`as_of` and `cursor` are about the trades alone.",
                extra_json_schema={"type": "string", "format": "k2-token", "minLength": 1},
                extra={RULE: Rule(decode_as_of)},
            ),
        ]
        | None
    ) = None


_OF_JOIN = frozenset(TradesQuotesParameters.__struct_fields__) - set(
    RowsParameters.__struct_fields__
)


async def _joined(call: Call[TradesQuotesParameters]) -> Rows:
    parameters = call.parameters
    own = {name: getattr(parameters, name) for name in RowsParameters.__struct_fields__}
    request = rows_request(RowsParameters(**own), call.given - _OF_JOIN)
    join = JoinRequest(
        rule=AsOfRule(parameters.strategy, parameters.tolerance, parameters.allow_exact_matches),
        markouts=tuple((text, parse_window(text)) for text in parameters.markouts),
        as_of=parameters.quotes_as_of,
        known_at_ns=request.known_at_ns,
        wait_ms=request.wait_ms,
    )
    trades = await call.rows(TRADES.name, request)
    call.reserve(request.limit)
    joined = await call.services.by_name[QUOTES.name].query.quotes_of(trades.rows, join)
    rows, meta = joined.beside(trades)
    if not meta.pinned or join.as_of is None:
        return Rows(rows, meta)
    lacks = (meta.gaps, joined.meta.gaps, rows["quote_complete"].to_pylist())
    query = f"{request!r}{join!r}{meta.token}"
    return Rows(rows, meta, Pinned(query, meta.complete, lacks, settled=False))


def endpoints(streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint, where trades and quotes are served by one node."""
    if not {TRADES, QUOTES} <= set(streams):
        return []
    return [
        Endpoint(
            path="/v1/trades/quotes",
            summary="Trades, each with the quote that stood at its time.",
            handler=_joined,
            parameters=TradesQuotesParameters,
            answer=TableAnswer("TradeWithQuoteRow", TRADES_QUOTES, TradesQuotesMeta),
            relations=(TRADES.name, QUOTES.name),
            errors=ROWS_ERRORS,
        )
    ]
