"""Coverage: of each symbol, trading date and session, how many numbers there are of how many.

    expected = received + missing + abandoned + dead        in every row

1. The rows are counted at a read point of their log.
2. The events are read, at or behind that point, and their findings are added.

With `known_at` both are as they were known at one accepted time, to the checkpoint. Without it
events may be known whose rows came a moment later: of a day that is open, which `pending` says.
"""

import datetime as dt
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa

from k2_streams.core.records.schema import MICROS
from k2_streams.core.time_units import DAY_NS
from k2_streams.query.answer import about
from k2_streams.query.engine import QuerySession
from k2_streams.query.errors import BeforeHistoryError
from k2_streams.query.gaps import GapsView
from k2_streams.query.ledger import coverage_statements
from k2_streams.query.questions import Questions
from k2_streams.query.reading import Parts
from k2_streams.query.request import RowsRequest
from k2_streams.query.resolved import ResolvedRequest
from k2_streams.query.selection import Selection
from k2_streams.query.token import TagName, Token

#: A trading date may begin two days before its name's day in UTC (an evening session in a zone far
#: ahead), and end two days behind it.
_DATE_REACHES_NS = 2 * DAY_NS
#: Of no event at all.
_NO_EVENT = Selection(start_ns=0, end_ns=0)
#: A day is over everywhere when it is over 12 hours behind UTC.
DAY_ENDS_AFTER_H = 36
#: In the words of Databento's `get_dataset_condition`, and two: of a day that is not over, and of
#: one whose events were not read as far as its rows.
Condition = Literal["available", "degraded", "missing", "pending", "unknown"]
DEFAULT_COVERAGE = 1_000

#: A row of coverage.
COVERAGE = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),  # or the connection, as `@feed`
        pa.field("trading_date", pa.date32(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("first_sequence", pa.int64()),  # null: no message had a number
        pa.field("last_sequence", pa.int64()),
        pa.field("expected", pa.int64(), nullable=False),
        pa.field("received", pa.int64(), nullable=False),  # numbers with a row
        pa.field("late", pa.int64(), nullable=False),  # of them
        pa.field("duplicates", pa.int64(), nullable=False),
        pa.field("missing", pa.int64(), nullable=False),
        pa.field("abandoned", pa.int64(), nullable=False),
        pa.field("dead", pa.int64(), nullable=False),  # received in dead letters alone
        pa.field("deferred", pa.int64(), nullable=False),  # source records, of all symbols; -1
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("condition", pa.string(), nullable=False),
        pa.field("sealed_at", MICROS),  # since when the day counts as over; null: it is not
    ]
)


class CoverageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of coverage, as of which point. Empty: all."""

    symbols: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    dates: tuple[dt.date, ...] = ()
    limit: int = DEFAULT_COVERAGE
    known_at_ns: int | None = None
    as_of: Token | None = None  # of the rows
    events_as_of: Token | None = None
    wait_ms: int = 0


class CoverageMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of coverage rests on."""

    rows: Annotated[int, about("How many are listed.")]
    omitted: Annotated[int, about("How many more there are.")]
    token: Annotated[str, about("Of the rows that were counted (`as_of=` of their path).")]
    events_token: Annotated[str, about("Of the gap events, in the same way.")]
    known_at_ns: Annotated[
        int | None, about("The accepted time as of which both were read; null: now.")
    ]
    deferred: Annotated[
        int, about("Source records that were deferred, of all symbols; -1: not known.")
    ]
    complete: Annotated[
        bool,
        about("The events were read at least as far as the rows, and no record is deferred."),
    ]


@dataclass(frozen=True, slots=True)
class CoverageAnswer:
    """Rows of `COVERAGE`, by exchange, symbol, date and session, with what they rest on."""

    rows: pa.Table
    meta: CoverageMeta


@dataclass(frozen=True, slots=True)
class _Counted:
    """What the rows say."""

    rows: pa.Table
    token: Token
    offsets: dict[int, int]


class CoverageQuery:
    """Answers with coverage. For one event loop.

    Args:
        rows: of the stream whose numbers are counted.
        events: of its gap events.
        findings: what this node has read of them.
    """

    def __init__(self, rows: Questions, events: Questions, findings: GapsView) -> None:
        self._rows = rows
        self._events = events
        self._findings = findings

    async def answer(self, request: CoverageRequest) -> CoverageAnswer:
        """Coverage as of now, of two tokens, or as known at a time.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        counted = await self._counted(request)

        async def add(asked: ResolvedRequest) -> CoverageAnswer:
            return await self._added(request, counted, asked)

        async def add_nothing(asked: ResolvedRequest) -> CoverageAnswer:
            token = msgspec.structs.replace(asked.token, next=dict.fromkeys(asked.token.next, 0))
            return await add(replace(asked, token=token, selection=_NO_EVENT))

        try:
            return await self._events.ask(_request(request, request.events_as_of), add)
        except BeforeHistoryError:  # there were rows by then, and no event
            return await self._events.ask(RowsRequest(limit=request.limit), add_nothing)

    async def _counted(self, request: CoverageRequest) -> _Counted:
        start_ns, end_ns = _range_of(request.dates)

        async def count(asked: ResolvedRequest) -> _Counted:
            selection = replace(asked.selection, start_ns=start_ns, end_ns=end_ns)

            def work(session: QuerySession, parts: Parts) -> pa.Table:
                return session.table(coverage_statements.rows(parts, selection), parts.tail)

            rows = await self._rows.reader.read(asked.read_point, selection, work, asked.watch)
            return _Counted(rows, asked.token, asked.read_point.cut.next)

        wanted = _request(request, request.as_of)
        return await self._rows.ask(msgspec.structs.replace(wanted, symbols=request.symbols), count)

    async def _added(
        self, request: CoverageRequest, counted: _Counted, asked: ResolvedRequest
    ) -> CoverageAnswer:
        selection = asked.selection
        dates = tuple(date.isoformat() for date in request.dates)

        def work(session: QuerySession, parts: Parts) -> pa.Table:
            statement = coverage_statements.coverage(
                parts, selection, request.symbols, dates, request.limit
            )
            return session.table(statement, parts.tail, {coverage_statements.ROWS: counted.rows})

        found = await self._events.reader.read(asked.read_point, selection, work, asked.watch)
        deferred = counted.token.deferred
        is_exact = request.known_at_ns is not None or (
            request.as_of is not None and request.events_as_of is not None
        )
        covers = is_exact or self._covers(counted.offsets, asked.read_point.cut.next)
        keys = found.column("key_count")[0].as_py() if found.num_rows else 0
        meta = CoverageMeta(
            rows=found.num_rows,
            omitted=keys - found.num_rows,
            token=counted.token.encode(),
            events_token=asked.token.encode(),
            known_at_ns=request.known_at_ns,
            deferred=deferred,
            complete=deferred == 0 and covers,
        )
        now_ns = counted.token.at_ns
        rows = [_row(one, deferred, now_ns, covers=covers) for one in found.to_pylist()]
        return CoverageAnswer(pa.Table.from_pylist(rows, schema=COVERAGE), meta)

    def _covers(self, rows_next: dict[int, int], events_next: dict[int, int]) -> bool:
        """Whether the events of all these rows have been read."""
        positions = self._findings.positions
        return self._findings.covers(rows_next) and all(
            events_next.get(partition, 0) >= at for partition, at in positions.items()
        )


def _request(request: CoverageRequest, as_of: Token | TagName | None) -> RowsRequest:
    return RowsRequest(
        exchanges=request.exchanges,
        limit=request.limit,
        as_of=as_of,
        known_at_ns=request.known_at_ns if as_of is None else None,
        wait_ms=request.wait_ms,
    )


def _range_of(dates: tuple[dt.date, ...]) -> tuple[int | None, int | None]:
    """Event times that rows of these trading dates may have."""
    if not dates:
        return None, None
    first, last = (
        int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp()) * 10**9
        for date in (min(dates), max(dates))
    )
    return max(first - _DATE_REACHES_NS, 0), last + _DATE_REACHES_NS


def _row(one: dict[str, Any], deferred: int, now_ns: int, *, covers: bool) -> dict[str, Any]:
    """A row of the statement in the columns of `COVERAGE`."""
    received, lacking = one["received"], one["missing"] + one["abandoned"] + one["dead"]
    midnight = dt.datetime.combine(one["trading_date"], dt.time(), dt.UTC)
    ends = midnight + dt.timedelta(hours=DAY_ENDS_AFTER_H)
    is_over = int(ends.timestamp()) * 10**9 <= now_ns
    condition: Condition
    if not is_over or deferred:
        condition = "pending"
    elif not covers:
        condition = "unknown"
    elif not lacking:
        condition = "available"
    else:
        condition = "degraded" if received else "missing"
    return {
        **one,
        "expected": received + lacking,
        "deferred": deferred,
        "rows": one["row_count"],
        "condition": condition,
        "sealed_at": ends if is_over else None,
    }
