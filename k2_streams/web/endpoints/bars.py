"""`GET /v1/bars`: open, high, low, close, volume and averages of intervals of time."""

from typing import Annotated, Any, Literal

import msgspec

from k2_streams.core.query.bars.interval import Interval, parse_interval
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.symbols import SYMBOL_RULE
from k2_streams.query.bars.answer import BARS, BarsMeta
from k2_streams.query.bars.request import BarsRequest, continued
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.request import DEFAULT_LIMIT
from k2_streams.query.token import BarsCursor, TokenError
from k2_streams.web.declaration.endpoint import Call, Endpoint, Pinned, Rows, TableAnswer
from k2_streams.web.declaration.parameters import RULE, Rule
from k2_streams.web.declaration.shared_parameters import (
    MAX_LIMIT,
    MAX_SYMBOLS,
    AsOf,
    EndOrLast,
    Exchanges,
    KnownAt,
    MinOffsets,
    Start,
    Symbol,
    WaitMs,
    Window,
    Zone,
    refuse_beside_cursor,
    wait_ms_of,
)
from k2_streams.web.endpoints.rows import ROWS_ERRORS


def _decode_cursor(text: str) -> BarsCursor:
    try:
        cursor = BarsCursor.decode(text)
    except TokenError as error:
        raise ValueError(f"expected a cursor of an earlier answer of bars ({error})") from error
    if not 1 <= cursor.limit <= MAX_LIMIT:
        raise ValueError(f"expected a cursor with a limit from 1 to {MAX_LIMIT}")
    return cursor


class BarsParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Which bars, of which trades, at which read point."""

    symbol: Annotated[
        tuple[Symbol, ...],
        msgspec.Meta(
            min_length=1,
            max_length=MAX_SYMBOLS,
            description=f"{SYMBOL_RULE}, as UTF-8. May be repeated.",
        ),
    ]
    exchange: Exchanges = ()
    interval: Annotated[
        Interval,
        msgspec.Meta(
            description="How long a bar is: a length (`1s` to `1d`) that divides a day, "
            "`session` (of `calendar`), or `all`: the whole range.",
            examples=["1m"],
            extra_json_schema={"type": "string", "format": "k2-interval"},
            extra={RULE: Rule(parse_interval)},
        ),
    ]
    align: Annotated[
        Literal["utc", "tz", "session"],
        msgspec.Meta(
            description="Bars begin at multiples of the interval since midnight in UTC, since "
            "midnight by the clock of `tz`, or since the open of each session of `calendar`."
        ),
    ] = "utc"
    tz: Zone = None
    calendar: (
        Annotated[
            str,
            msgspec.Meta(
                pattern="^[A-Za-z0-9_/]{1,16}$",
                description="An exchange's calendar, for `align=session` and `interval=session`. "
                "What is traded outside of its sessions is in no bar.",
                examples=["XASX"],
            ),
        ]
        | None
    ) = None
    fill: Annotated[
        Literal["none", "null", "prev"],
        msgspec.Meta(
            description="A bar without a trade is left out, has no prices, or has the last price. "
            "A price is carried over 7 days at most."
        ),
    ] = "none"
    conditions: (
        Annotated[
            Literal["eligible", "all"],
            msgspec.Meta(
                description="`eligible`: what the conditions of a trade let it count for "
                "(`K2_CONDITIONS_FILE`); `all`: every trade counts. Without it: `eligible` where "
                "there are rules."
            ),
        ]
        | None
    ) = None
    view: Annotated[
        Literal["reported", "corrected"],
        msgspec.Meta(
            description="Trades as they were reported, or what stands after cancels and "
            "corrections."
        ),
    ] = "corrected"
    start: Start = None
    end: EndOrLast = None
    window: Window = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT, description="Bars at most.")] = (
        DEFAULT_LIMIT
    )
    cursor: (
        Annotated[
            BarsCursor,
            msgspec.Meta(
                description="The last page's `meta.next_cursor`: the next bars, of the same query "
                "and token. It holds the query: beside it `symbol` and `interval` are repeated, "
                "and `limit`, `format`, `wait_ms` and `as_of` may be given.",
                extra_json_schema={"type": "string", "format": "k2-cursor", "minLength": 1},
                extra={RULE: Rule(_decode_cursor)},
            ),
        ]
        | None
    ) = None
    as_of: AsOf = None
    known_at: KnownAt = None
    min_offsets: MinOffsets = None
    wait_ms: WaitMs = None


#: What may be given beside a cursor, which holds the whole query.
_BESIDE_CURSOR = frozenset({"cursor", "symbol", "interval", "limit", "format", "wait_ms", "as_of"})


def bars_request(parameters: BarsParameters, given: frozenset[str]) -> BarsRequest:
    """The query that the parameters ask.

    Raises:
        InvalidParameter: one is missing, or two contradict each other.
    """
    cursor = parameters.cursor
    if cursor is not None:
        refuse_beside_cursor(given - _BESIDE_CURSOR)
        if (parameters.symbol, parameters.interval) != (cursor.symbols, cursor.interval):
            raise InvalidParameter("cursor", "the cursor was issued for a different query")
        return continued(
            cursor,
            limit=parameters.limit if "limit" in given else None,
            wait_ms=wait_ms_of(parameters.wait_ms, None),
            as_of=parameters.as_of,
        )
    return BarsRequest(
        symbols=parameters.symbol,
        exchanges=parameters.exchange,
        interval=parameters.interval,
        align=parameters.align,
        zone=None if parameters.tz is None else str(parameters.tz),
        calendar=parameters.calendar,
        fill=parameters.fill,
        conditions=parameters.conditions,
        view=parameters.view,
        start_ns=parameters.start,
        end_ns=parameters.end,
        window_ns=parameters.window,
        limit=parameters.limit,
        as_of=parameters.as_of,
        known_at_ns=parameters.known_at,
        min_offsets=parameters.min_offsets or {},
        wait_ms=wait_ms_of(parameters.wait_ms, parameters.min_offsets),
    )


async def _bars(call: Call[BarsParameters]) -> Rows:
    request = bars_request(call.parameters, call.given)
    (relation,) = call.endpoint.relations
    call.reserve(request.limit)
    answer = await call.services.by_name[relation].query.bars(request)
    meta = answer.meta
    if not meta.pinned:
        return Rows(answer.rows, meta)
    lacks = (meta.gaps, answer.rows["missing"].to_pylist(), answer.rows["complete"].to_pylist())
    return Rows(
        answer.rows, meta, Pinned(f"{request!r}{meta.token}", meta.complete, lacks, settled=False)
    )


def endpoints(streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint, where trades are served."""
    trades = next((stream for stream in streams if stream.is_enriched), None)
    if trades is None:
        return []
    return [
        Endpoint(
            path="/v1/bars",
            summary="Bars of trades, each with what is missing of it.",
            handler=_bars,
            parameters=BarsParameters,
            answer=TableAnswer("BarRow", BARS, BarsMeta),
            relations=(trades.name,),
            errors=ROWS_ERRORS,
        )
    ]
