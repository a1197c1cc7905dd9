"""`GET /v1/distinct`, `/v1/top`, `/v1/quantiles`: sketches of trades, merged, with their bounds."""

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa

from k2_streams.core.records.stream import Stream
from k2_streams.core.sketches.distinct import BOUND_ERRORS, STANDARD_ERROR
from k2_streams.core.sketches.measures import (
    DELAY,
    MESSAGES,
    QUANTITY,
    SKETCHES,
    SKETCHES_NAME,
    SYMBOLS,
    TRADE_IDS,
    VOLUME,
    Measure,
    Sketch,
)
from k2_streams.core.sketches.quantiles import RELATIVE_ERROR
from k2_streams.query.request import RowsRequest
from k2_streams.query.sketches import Merged, SketchesMeta, merged
from k2_streams.web.declaration.endpoint import Call, Endpoint, Rows, TableAnswer
from k2_streams.web.declaration.parameters import RULE, Rule
from k2_streams.web.declaration.shared_parameters import (
    AsOf,
    EndTime,
    Exchanges,
    KnownAt,
    Start,
    WaitMs,
    Window,
    Zone,
    wait_ms_of,
)
from k2_streams.web.endpoints.rows import ROWS_ERRORS
from k2_streams.web.http.errors import UNKNOWN_SYMBOL

#: Names of one answer: the bounds of those behind them overlap.
MAX_TOP = 100
_COUNTED = {one.name: one for one in (TRADE_IDS, SYMBOLS)}
_SUMMED = {one.name: one for one in (MESSAGES, VOLUME)}
_ORDERED = {one.name: one for one in (DELAY, QUANTITY)}
#: A volume is counted in units of the 18th decimal.
_UNITS = {MESSAGES.name: 1, VOLUME.name: 10**18}
_BOUNDS = [
    pa.field("estimate", pa.float64(), nullable=False),
    pa.field("lower", pa.float64(), nullable=False),
    pa.field("upper", pa.float64(), nullable=False),
    pa.field("error", pa.float64(), nullable=False),
]
_DISTINCT = pa.schema([pa.field("of", pa.string(), nullable=False), *_BOUNDS])
_TOP = pa.schema([pa.field("symbol", pa.string(), nullable=False), *_BOUNDS])
_QUANTILES = pa.schema([pa.field("q", pa.float64(), nullable=False), *_BOUNDS])


class SketchParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of which minutes, at which read point. A minute is in the range if it begins there."""

    exchange: Exchanges = ()
    start: Start = None
    end: EndTime = None
    window: Window = None
    tz: Zone = None
    as_of: AsOf = None
    known_at: KnownAt = None
    wait_ms: WaitMs = None


class DistinctParameters(SketchParameters, frozen=True, kw_only=True):
    """What is counted."""

    of: Annotated[
        Literal["trade_id", "symbol"],
        msgspec.Meta(
            description="Trades by exchange, symbol and id (those without an id are left out), or "
            "symbols by exchange."
        ),
    ] = "trade_id"


class TopParameters(SketchParameters, frozen=True, kw_only=True):
    """By what the symbols are ordered."""

    by: Annotated[Literal["symbol"], msgspec.Meta(description="What is listed.")] = "symbol"
    measure: Annotated[
        Literal["messages", "volume"], msgspec.Meta(description="Trades, or their quantities.")
    ] = "messages"
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOP, description="Rows at most.")] = 20


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise ValueError("expected a number from 0 to 1")
    return share


class QuantilesParameters(SketchParameters, frozen=True, kw_only=True):
    """Which quantiles, of what."""

    of: Annotated[
        Literal["delay_ns", "quantity"],
        msgspec.Meta(
            description="The time from the venue to the receiver (without its time: to the "
            "broker), or the quantity of a trade."
        ),
    ] = "delay_ns"
    q: Annotated[
        tuple[Annotated[float, msgspec.Meta(ge=0, le=1)], ...],
        msgspec.Meta(
            min_length=1,
            max_length=20,
            description="Shares, from 0 to 1. May be repeated.",
            extra={RULE: Rule(_share)},
        ),
    ] = (0.5, 0.9, 0.99)


async def _merged(
    call: Call[Any], asked: SketchParameters, measure: Measure[Sketch]
) -> Merged[Sketch]:
    request = RowsRequest(
        exchanges=asked.exchange,
        start_ns=asked.start,
        end_ns=asked.end,
        window_ns=asked.window,
        as_of=asked.as_of,
        known_at_ns=asked.known_at,
        wait_ms=wait_ms_of(asked.wait_ms, None),
        checks_names=False,  # of an exchange without a closed minute there is no row yet
    )
    return await merged(partial(call.rows, SKETCHES_NAME), measure, request)


async def _distinct(call: Call[DistinctParameters]) -> Rows:
    """The bounds are three standard errors from the estimate; the error is one, relative."""
    of = call.parameters.of
    found = await _merged(call, call.parameters, _COUNTED[of])
    estimate = found.sketch.estimate()
    reach = BOUND_ERRORS * STANDARD_ERROR
    row = (of, estimate, estimate * (1 - reach), estimate * (1 + reach), STANDARD_ERROR)
    return _answer(_DISTINCT, [row], found.meta)


async def _top(call: Call[TopParameters]) -> Rows:
    """The bounds are certain; the error is how far they are apart."""
    measure = call.parameters.measure
    found = await _merged(call, call.parameters, _SUMMED[measure])
    unit = _UNITS[measure]
    rows = [
        (one.name, one.lower / unit, one.lower / unit, one.upper / unit, error / unit)
        for one in found.sketch.top(call.parameters.n)
        for error in [one.upper - one.lower]
    ]
    return _answer(_TOP, rows, found.meta)


async def _quantiles(call: Call[QuantilesParameters]) -> Rows:
    """The bounds are certain; the error is relative, of the estimate."""
    found = await _merged(call, call.parameters, _ORDERED[call.parameters.of])
    at = [(q, found.sketch.at(q)) for q in call.parameters.q]
    rows = [(q, *one, RELATIVE_ERROR) for q, one in at if one is not None]
    return _answer(_QUANTILES, rows, found.meta)


def _answer(schema: pa.Schema, rows: list[tuple[Any, ...]], meta: SketchesMeta) -> Rows:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(one, kind.type) for one, kind in zip(columns, schema, strict=True)]
    return Rows(pa.table(arrays, schema=schema), meta)


def endpoints(streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoints, where the rows of `topologies/sketches.py` are served."""
    if not any(one.name == SKETCHES_NAME and one.log_schema == SKETCHES for one in streams):
        return []
    declared = (
        (
            "How many distinct trades or symbols there are.",
            _distinct,
            DistinctParameters,
            _DISTINCT,
        ),
        ("The symbols with most trades or volume.", _top, TopParameters, _TOP),
        ("Quantiles of delay or quantity.", _quantiles, QuantilesParameters, _QUANTILES),
    )
    return [
        Endpoint(
            path=f"/v1/{name}",
            summary=f"{summary} By sketches, with bounds.",
            handler=handler,
            parameters=parameters,
            answer=TableAnswer(f"{name.capitalize()}Row", columns, SketchesMeta),
            relations=(SKETCHES_NAME,),
            errors=tuple(kind for kind in ROWS_ERRORS if kind is not UNKNOWN_SYMBOL),
        )
        for summary, handler, parameters, columns in declared
        for name in [handler.__name__.removeprefix("_")]
    ]
