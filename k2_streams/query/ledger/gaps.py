"""Gaps of a selection, of any time and however many: from memory once and while it holds all.

    1 page    the keys of one page of gaps, by a statement over the events
    2 events  of these gaps alone
    3 fold    the same that the node's memory holds (`core.sequence.gaps`)

So a page takes as much memory as its own gaps, whatever the table holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from k2_streams.core.ledger.gap_events import event_of
from k2_streams.core.sequence.gaps import Gap, GapLedger, meets
from k2_streams.query.answer import GapsAnswer, GapsMeta
from k2_streams.query.engine import QuerySession
from k2_streams.query.errors import BeforeHistoryError, TooMuchError
from k2_streams.query.gaps import GapsView
from k2_streams.query.ledger import gap_statements
from k2_streams.query.ledger.gap_statements import KEY, GapsWanted
from k2_streams.query.questions import Questions
from k2_streams.query.reading import Parts
from k2_streams.query.request import GapsRequest, RowsRequest
from k2_streams.query.resolved import ResolvedRequest
from k2_streams.query.selection import Selection
from k2_streams.query.token import GapsCursor

#: Events of one page: 100 MB while they are folded. A gap has three, and two per run of numbers
#: that came late.
MAX_PAGE_EVENTS = 200_000


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of gaps.

    Attributes:
        gaps: in their order.
        last: scope and place of the last one that was looked at; None: nothing was.
        left: gaps behind it, at the most.
    """

    gaps: tuple[Gap, ...]
    last: tuple[str, int] | None
    left: int


class GapsQuery:
    """Answers with gaps. For one event loop.

    Args:
        questions: about the events.
        findings: what this node knows of them now.
    """

    def __init__(self, questions: Questions, findings: GapsView) -> None:
        self._questions = questions
        self._findings = findings

    async def answer(self, request: GapsRequest) -> GapsAnswer:
        """A page of gaps with how far it reaches.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        if not request.is_pinned:
            async with self._questions.engine.turn(request.limit, request.limit, reads_lake=False):
                answer = _in_memory(self._findings, request, self._questions.log.clock.time_ns())
            if answer.meta.complete and not answer.meta.omitted:
                return answer
        rows = RowsRequest(
            exchanges=request.exchanges,
            limit=request.limit,
            as_of=request.as_of,
            known_at_ns=request.known_at_ns,
            wait_ms=request.wait_ms,
        )
        try:
            return await self._questions.ask(rows, partial(self._answered, request))
        except BeforeHistoryError:  # not of these events: rows may have been accepted by then
            meta = GapsMeta(
                gaps=0, omitted=0, positions={}, complete=True, known_at_ns=request.known_at_ns
            )
            return GapsAnswer((), meta)

    async def _answered(self, request: GapsRequest, asked: ResolvedRequest) -> GapsAnswer:
        token = asked.token
        start_ns, end_ns = request.range_until(token.at_ns)
        after = None if request.cursor is None else request.cursor.after
        wanted = GapsWanted(request.symbols, request.states, start_ns, end_ns, after, request.limit)
        work = partial(_page, asked.selection, wanted)
        page = await self._questions.reader.read(
            asked.read_point, asked.selection, work, asked.watch
        )
        cursor = None
        if page.left and page.last is not None:
            cursor = request.next_page(token, start_ns, end_ns, page.last)
        meta = GapsMeta(
            gaps=len(page.gaps),
            omitted=page.left,
            positions=asked.read_point.cut.next,
            complete=True,
            token=token.encode(),
            known_at_ns=request.known_ns,
            next_cursor=None if cursor is None else cursor.encode(),
        )
        return GapsAnswer(page.gaps, meta)


def _in_memory(findings: GapsView, request: GapsRequest, now_ns: int) -> GapsAnswer:
    """The newest gaps that this node holds, as it knows them now."""
    found, omitted = request.find_in(findings, now_ns)
    meta = GapsMeta(
        gaps=len(found),
        omitted=omitted,
        positions=findings.positions,
        complete=findings.is_complete,
    )
    return GapsAnswer(found, meta)


def _page(selection: Selection, wanted: GapsWanted, session: QuerySession, parts: Parts) -> _Page:
    keys = session.table(gap_statements.page(parts, selection, wanted), parts.tail)
    if not keys.num_rows:
        return _Page((), None, 0)
    given = {gap_statements.PAGE: keys}
    statement = gap_statements.page_events(parts, selection, MAX_PAGE_EVENTS + 1)
    events = session.table(statement, parts.tail, given)
    if events.num_rows > MAX_PAGE_EVENTS:
        raise TooMuchError(
            f"more than {MAX_PAGE_EVENTS} events made these gaps: ask with a lower limit"
        )
    last = keys.slice(keys.num_rows - 1).to_pylist()[0]
    left = last["gap_count"] - keys.num_rows
    return _Page(tuple(_folded(keys, events, wanted)), (last["scope"], last["place"]), left)


def _folded(keys: pa.Table, events: pa.Table, wanted: GapsWanted) -> Iterator[Gap]:
    """The page's gaps as the events make them, without those that do not meet the range."""
    ledger = GapLedger(max_gaps=keys.num_rows)
    runs: list[tuple[str, str, int, int]] = []
    for batch in events.to_batches(max_chunksize=1_000):
        for row in batch.to_pylist():
            event = event_of(row)
            assert event is not None  # noqa: S101 - the statement asks for known types
            ledger.apply(event)
            first, last = row["first"] + 1, (row["run_last"] or 0) - 1
            if first <= last:
                runs.append((row["scope"], row["session"], first, last))
    for run in runs:
        ledger.receive_run(*run)
    names = zip(*(keys.column(name).to_pylist() for name in KEY), strict=True)
    on_page = set(names)
    start_ns, end_ns = wanted.start_ns, wanted.end_ns
    for gap in ledger.gaps(set(keys.column("scope").to_pylist())):
        if (gap.scope, gap.session, gap.first, gap.last) not in on_page:
            continue
        if meets(gap.previous_time_ns, gap.next_time_ns, start_ns, end_ns) or ledger.lacks(
            gap, start_ns, end_ns
        ):
            yield gap


def continued(cursor: GapsCursor, *, limit: int | None = None, wait_ms: int = 0) -> GapsRequest:
    """The next page of a cursor's query.

    Args:
        cursor: of the page before.
        limit: None: as on that page.
        wait_ms: for its token.
    """
    return GapsRequest(
        symbols=cursor.symbols,
        exchanges=cursor.exchanges,
        states=cursor.states,
        start_ns=cursor.start_ns,
        end_ns=cursor.end_ns,
        limit=cursor.limit if limit is None else limit,
        cursor=cursor,
        as_of=cursor.token,
        wait_ms=wait_ms,
    )
