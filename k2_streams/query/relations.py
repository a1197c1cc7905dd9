"""Relations: rows that can be asked for by a name, and how each is read at a read point.

Paths of the web, its documents and SQL are derived from what stands here. Each log that is served
(trades, quotes, an output) is a relation by its description alone. To add another relation, add a
function that declares it to `_DECLARED`.
"""

import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec
import pyarrow as pa

from k2_streams.core.ledger.streams import gap_events_among
from k2_streams.core.query.keys import Keys, wanted_of
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.struct_tables import schema_of, table_of
from k2_streams.core.sequence.gaps import Gap
from k2_streams.query.answer import (
    Answer,
    GapsAnswer,
    GapsMeta,
    Meta,
    SnapshotRow,
    SnapshotsMeta,
    SymbolsAnswer,
    SymbolsMeta,
    symbol_row,
)
from k2_streams.query.asof.request import Joined, JoinRequest
from k2_streams.query.bars.answer import BarsAnswer
from k2_streams.query.bars.request import BarsRequest
from k2_streams.query.ledger.coverage import (
    COVERAGE,
    CoverageAnswer,
    CoverageMeta,
    CoverageRequest,
)
from k2_streams.query.request import (
    DEFAULT_LIMIT,
    GapsRequest,
    RowsRequest,
    SnapshotsRequest,
    SymbolsRequest,
)
from k2_streams.query.subscription.request import StreamRequest
from k2_streams.query.subscription.subscription import Subscription
from k2_streams.query.token import Token

#: Gaps that a statement reads: the fold of their events takes some seconds.
MAX_GAPS_READ = 50_000


class Queries(Protocol):
    """Answers every query about one log: `k2_streams.query.hybrid.HybridQuery`."""

    async def rows(self, request: RowsRequest) -> Answer:
        """Rows of lake and tail."""
        ...

    async def gaps(self, request: GapsRequest) -> GapsAnswer:
        """What is known to be missing."""
        ...

    async def coverage(self, request: CoverageRequest) -> CoverageAnswer:
        """How many numbers there are, of how many."""
        ...

    async def symbols(self, request: SymbolsRequest) -> SymbolsAnswer:
        """What is known of each symbol."""
        ...

    async def snapshots(self, request: SnapshotsRequest) -> list[SnapshotRow]:
        """The lake's snapshots."""
        ...

    async def bars(self, request: BarsRequest) -> BarsAnswer:
        """Bars of trades."""
        ...

    async def subscribe(self, request: StreamRequest) -> Subscription:
        """Rows from a place in the log on, and those to come."""
        ...

    async def quotes_of(self, trades: pa.Table, request: JoinRequest) -> Joined:
        """What a join with quotes adds to trades."""
        ...


class ServedLog(NamedTuple):
    """A log whose rows can be queried, and what answers the queries."""

    stream: Stream
    query: Queries


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of a relation, at which read point.

    A relation reads at least the rows that match, and none of a name that nobody knows; one that is
    not pruned by a key or by time reads them all, up to `limit`.
    """

    keys: Keys = ()
    start_ns: int | None = None  # inclusive
    end_ns: int | None = None  # exclusive
    limit: int = DEFAULT_LIMIT
    as_of: Token | None = None  # None: now
    beside_as_of: Token | None = None  # of the relation's other log
    known_at_ns: int | None = None  # as known at this accepted time; not beside `as_of`


class RelationRows(NamedTuple):
    """Rows in a relation's columns, and what is known of how complete they are."""

    rows: pa.Table
    proof: msgspec.Struct
    is_complete: bool  # nothing is known to be missing, of either log
    beside_token: str | None = None  # of the relation's other log


#: Reads a relation, by the queries of every log by name.
ReadRelation = Callable[[Mapping[str, Queries], Asked], Awaitable[RelationRows]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """Rows that can be asked for by a name.

    Attributes:
        name: what it is called in SQL, and in the path where the web serves it.
        row: what one of its rows is called in documents.
        summary: one sentence for documents.
        columns: of a row.
        keys: the columns by whose values fewer rows are read.
        time: the column of event time, in ns, by whose range fewer rows are read; None: it has
            none, and is small enough to be read as a whole.
        proof: what an answer says of its completeness.
        log: the stream whose log the rows are made of.
        beside: another one that they are made of too; its token is `events_token` of the proof.
        read: its rows at a read point of that log.
    """

    name: str
    row: str
    summary: str
    columns: pa.Schema
    keys: tuple[str, ...] = ()
    time: str | None = None
    proof: type[msgspec.Struct]
    log: Stream
    beside: Stream | None = None
    read: ReadRelation

    @property
    def path_name(self) -> str:
        """What its path is called: a ledger's name is written as paths are, with hyphens."""
        of_ledger = self.is_log and self.log.is_ledger
        return self.name.replace("_", "-") if of_ledger else self.name

    @property
    def is_log(self) -> bool:
        """Whether its rows are a log's own."""
        return self.name == self.log.name


def relations_of(streams: Iterable[Stream]) -> dict[str, Relation]:
    """Every relation of a worker that serves the logs of these streams, by name."""
    served = tuple(streams)
    return {relation.name: relation for declare in _DECLARED for relation in declare(served)}


def sequenced(streams: Iterable[Stream]) -> Stream | None:
    """The stream that gaps, symbols and lines are about; None: no served rows were sequenced."""
    return next((stream for stream in streams if stream.is_sequenced), None)


def _of_log(
    stream: Stream, read: Callable[[Queries, Asked], Awaitable[RelationRows]]
) -> ReadRelation:
    """Reads by the queries of one log alone."""
    return lambda queries, asked: read(queries[stream.name], asked)


def _logs(streams: tuple[Stream, ...]) -> Iterator[Relation]:
    for stream in streams:
        yield Relation(
            name=stream.name,
            row=f"{''.join(map(str.capitalize, stream.name.replace('-', '_').split('_')))}Row",
            summary=f"Rows of {stream.name}, of the lake and the tail as one, with their proof.",
            columns=stream.table_schema,
            keys=stream.key,
            time=stream.time,
            proof=Meta,
            log=stream,
            read=_of_log(stream, _read_rows),
        )


async def _read_rows(query: Queries, asked: Asked) -> RelationRows:
    answer = await query.rows(rows_request(asked))
    return RelationRows(answer.rows, answer.meta, answer.meta.complete)


def rows_request(asked: Asked) -> RowsRequest:
    """Those of a log."""
    return RowsRequest(
        symbols=texts_of(asked.keys, "symbol"),
        exchanges=texts_of(asked.keys, "exchange"),
        keys=tuple(one for one in asked.keys if one[0] not in {"symbol", "exchange"}),
        start_ns=asked.start_ns,
        end_ns=asked.end_ns,
        limit=asked.limit,
        as_of=asked.as_of,
        known_at_ns=asked.known_at_ns,
        checks_names=False,
    )


def _gaps(streams: tuple[Stream, ...]) -> Iterator[Relation]:
    stream = sequenced(streams)
    if stream is not None:
        log = gap_events_among(streams, stream) or stream
        yield Relation(
            name="gaps",
            row="GapRow",
            summary="Sequence numbers that were skipped, and what became of them.",
            columns=schema_of(Gap),
            keys=("exchange", "symbol"),
            proof=GapsMeta,
            log=log,
            read=_of_log(log, _read_gaps if log.is_ledger else _read_gaps_in_memory),
        )


async def _read_gaps(query: Queries, asked: Asked) -> RelationRows:
    limit = min(asked.limit, MAX_GAPS_READ)
    return await _gaps_of(query, asked, GapsRequest(limit=limit, as_of=asked.as_of))


async def _read_gaps_in_memory(query: Queries, asked: Asked) -> RelationRows:
    """Of a node without a ledger: gaps have no token there."""
    return await _gaps_of(query, asked, GapsRequest(limit=asked.limit))


async def _gaps_of(query: Queries, asked: Asked, request: GapsRequest) -> RelationRows:
    answer = await query.gaps(
        msgspec.structs.replace(
            request,
            symbols=texts_of(asked.keys, "symbol"),
            exchanges=texts_of(asked.keys, "exchange"),
            known_at_ns=asked.known_at_ns,
        )
    )
    return RelationRows(table_of(answer.gaps, Gap), answer.meta, answer.meta.complete)


def _coverage(streams: tuple[Stream, ...]) -> Iterator[Relation]:
    stream = sequenced(streams)
    events = None if stream is None else gap_events_among(streams, stream)
    if stream is not None and events is not None:
        yield Relation(
            name="coverage",
            row="CoverageRow",
            summary="Of each symbol, trading date and session how many numbers there are, and how "
            "many of them are missing.",
            columns=COVERAGE,
            keys=("exchange", "symbol", "trading_date"),
            proof=CoverageMeta,
            log=stream,
            beside=events,
            read=_of_log(stream, _read_coverage),
        )


async def _read_coverage(query: Queries, asked: Asked) -> RelationRows:
    answer = await query.coverage(
        CoverageRequest(
            symbols=texts_of(asked.keys, "symbol"),
            exchanges=texts_of(asked.keys, "exchange"),
            dates=tuple(map(dt.date.fromisoformat, texts_of(asked.keys, "trading_date"))),
            limit=asked.limit,
            as_of=asked.as_of,
            events_as_of=asked.beside_as_of,
            known_at_ns=asked.known_at_ns,
        )
    )
    meta = answer.meta
    return RelationRows(answer.rows, meta, meta.complete, meta.events_token)


def _symbols(streams: tuple[Stream, ...]) -> Iterator[Relation]:
    """A user's output has none: it may have as many keys as rows, and a list has no limit."""
    stream = sequenced(streams)
    if stream is None:
        return
    row = symbol_row(stream)

    async def read(query: Queries, asked: Asked) -> RelationRows:
        answer = await query.symbols(
            SymbolsRequest(as_of=asked.as_of, known_at_ns=asked.known_at_ns)
        )
        return RelationRows(table_of(answer.symbols, row), answer.meta, answer.meta.complete)

    yield Relation(
        name="symbols",
        row="SymbolRow",
        summary="Symbols with their newest row and what the sequencer found.",
        columns=schema_of(row),
        proof=SymbolsMeta,
        log=stream,
        read=_of_log(stream, read),
    )


def _snapshots(streams: tuple[Stream, ...]) -> Iterator[Relation]:
    """Of the first stream's table; where a request can name a stream, those of the others too."""
    for stream in streams[:1]:
        yield Relation(
            name="snapshots",
            row="SnapshotRow",
            summary="Snapshots of the main branch of a stream's table, the newest first.",
            columns=schema_of(SnapshotRow),
            proof=SnapshotsMeta,
            log=stream,
            read=_of_log(stream, _read_snapshots),
        )


async def _read_snapshots(query: Queries, asked: Asked) -> RelationRows:
    found = await query.snapshots(SnapshotsRequest(limit=asked.limit))
    return RelationRows(table_of(found, SnapshotRow), SnapshotsMeta(len(found)), is_complete=True)


def texts_of(keys: Keys, column: str) -> tuple[str, ...]:
    """The texts that are wanted of a column."""
    return tuple(map(str, wanted_of(keys, column)))


_DECLARED = (_logs, _gaps, _coverage, _symbols, _snapshots)
