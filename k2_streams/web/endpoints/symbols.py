"""`GET /v1/symbols`: every symbol with its newest row and what the sequencer found."""

from typing import Any

import msgspec

from k2_streams.core.records.stream import Stream
from k2_streams.core.records.struct_tables import table_of
from k2_streams.query.answer import symbol_row
from k2_streams.query.relations import relations_of
from k2_streams.query.request import SymbolsRequest
from k2_streams.web.declaration.endpoint import Call, Endpoint, Rows
from k2_streams.web.declaration.shared_parameters import (
    AsOf,
    Exchanges,
    KnownAt,
    MinOffsets,
    Symbols,
    WaitMs,
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


class SymbolsParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Which symbols, at which read point."""

    symbol: Symbols = ()
    exchange: Exchanges = ()
    as_of: AsOf = None
    known_at: KnownAt = None
    tz: Zone = None
    min_offsets: MinOffsets = None
    wait_ms: WaitMs = None


async def _symbols(call: Call[SymbolsParameters]) -> Rows:
    parameters = call.parameters
    stream, query = call.services.sequenced
    answer = await query.symbols(
        SymbolsRequest(
            symbols=parameters.symbol,
            exchanges=parameters.exchange,
            as_of=parameters.as_of,
            known_at_ns=parameters.known_at,
            min_offsets=parameters.min_offsets or {},
            wait_ms=wait_ms_of(parameters.wait_ms, parameters.min_offsets),
        )
    )
    return Rows(table_of(answer.symbols, symbol_row(stream)), answer.meta)


def endpoints(streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint, where rows are sequenced."""
    relation = relations_of(streams).get("symbols")
    if relation is None:
        return []
    return [
        Endpoint.of(
            relation,
            _symbols,
            SymbolsParameters,
            errors=(
                UNKNOWN_SYMBOL,
                BEFORE_HISTORY,
                QUERY_TOO_LARGE,
                NOT_YET,
                LAKE_BEHIND,
                LAKE_UNAVAILABLE,
                QUERY_TIMEOUT,
            ),
        )
    ]
