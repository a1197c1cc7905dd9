"""Bars of a request: the grid, the trades in it, what was traded before it, and the proof."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import pyarrow as pa

from k2_streams.core.enrich.notional import Notional
from k2_streams.core.query.bars import fold
from k2_streams.core.query.bars.completeness import missing_in
from k2_streams.core.query.bars.conditions import ConditionRules
from k2_streams.core.query.bars.fold import BarKey, BarValues, Carried, Filling, Sums
from k2_streams.core.query.bars.grid import Grid, GridError, cells_of
from k2_streams.core.query.bars.interval import interval_text
from k2_streams.query import proof
from k2_streams.query.bars import statement
from k2_streams.query.bars.answer import BarsAnswer, BarsMeta, table_of_bars, units_of
from k2_streams.query.bars.grids import LOOK_BACK_NS, grids_of, range_of
from k2_streams.query.bars.request import BarsRequest
from k2_streams.query.bars.sums import carried_of, sums_of
from k2_streams.query.engine import QuerySession
from k2_streams.query.errors import InvalidParameter, TooMuchError
from k2_streams.query.gaps import KnownGaps
from k2_streams.query.off_loop import off_loop
from k2_streams.query.questions import Questions
from k2_streams.query.reading import Parts
from k2_streams.query.resolved import ResolvedRequest
from k2_streams.query.statement import Statement

#: Trades of a page whose notional is computed by the query, as a worker under load leaves it out.
MAX_WITHOUT_NOTIONAL = 500_000


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of bars in the making."""

    asked: ResolvedRequest
    request: BarsRequest
    start_ns: int  # of the request's range
    end_ns: int
    before: Grid  # in which the price before the page's first bar is looked for
    grid: Grid  # from the page's first bar on
    rules: ConditionRules | None


class BarsQuery:
    """Answers with bars. For one event loop.

    Args:
        questions: about the trades.
        notional: computes it where a row was made without.
        rules: by which trades count; None: there are none.
    """

    def __init__(
        self,
        questions: Questions,
        notional: Notional,
        rules: ConditionRules | None,
    ) -> None:
        self._questions = questions
        self._reader = questions.reader
        self._notional = notional
        self._rules = rules

    async def answer(self, request: BarsRequest) -> BarsAnswer:
        """Bars with their proof.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        if request.conditions == "eligible" and self._rules is None:
            raise InvalidParameter(
                "conditions", "expected all, since no rules are set (K2_CONDITIONS_FILE)"
            )
        rules = None if request.conditions == "all" else self._rules

        async def answered(asked: ResolvedRequest) -> BarsAnswer:
            start_ns, end_ns = range_of(asked)
            grids = await grids_of(request, start_ns, end_ns)
            return await self._page(_Page(asked, request, start_ns, end_ns, *grids, rules))

        return await self._questions.ask(request.rows, answered)

    async def _page(self, page: _Page) -> BarsAnswer:
        asked, cursor = page.asked, page.request.cursor
        carried: dict[BarKey, Carried] = {}
        found: list[Sums] = []
        if len(page.grid):
            carried = await self._carried(page)
            page = replace(page, grid=_within_reach(page, carried))
            found = await self._sums(page)
        if cursor is None and page.request.checks_names:
            seen = {key[1] for key in carried} | {sums.symbol for sums in found}
            await self._questions.check_known(asked, pa.table({"symbol": sorted(seen)}))
        bars = await off_loop(partial(_folded, page, found, carried))
        return await self._proven(page, bars)

    async def _carried(self, page: _Page) -> dict[BarKey, Carried]:
        """The last price before the page's first bar, by exchange and symbol."""
        start_ns = int(page.grid.starts_ns[0])
        request = page.request
        wanted = len(request.symbols) * len(request.from_exchanges)
        found: dict[BarKey, Carried] = {}
        for back_ns in LOOK_BACK_NS if wanted else LOOK_BACK_NS[-1:]:
            before = page.before.since(start_ns - back_ns)
            if not len(before):
                continue
            rows = await self._read(replace(page, grid=before), statement.last_prices)
            found = carried_of(rows)
            if len(found) == wanted:
                break
        return found

    async def _sums(self, page: _Page) -> list[Sums]:
        """What the trades of the page's bars add up to, of one more than a page, if there are."""
        at_most = page.request.limit + 1
        rows = await self._read(page, lambda parts, trades: statement.sums(parts, trades, at_most))
        added: Mapping[tuple[int, str, str], int | None] = {}
        if sum(rows["without"].to_pylist()):
            added = await self._turnovers(page, int(rows["bar"][-1].as_py()))
        return await off_loop(lambda: list(sums_of(rows, added)))

    async def _turnovers(
        self, page: _Page, last_bar: int
    ) -> dict[tuple[int, str, str], int | None]:
        """Of each bar the turnover of those trades that were made without a notional.

        Raises:
            TooMuchError: they are too many.
        """
        rows = await self._read(
            page,
            lambda parts, trades: statement.without_notional(
                parts, trades, last_bar, MAX_WITHOUT_NOTIONAL + 1
            ),
        )
        if rows.num_rows > MAX_WITHOUT_NOTIONAL:
            raise TooMuchError(
                f"more than {MAX_WITHOUT_NOTIONAL} trades were accepted without a notional: ask "
                "for a shorter range"
            )
        made = pa.chunked_array([self._notional(rows)])
        turnovers: dict[tuple[int, str, str], int | None] = {}
        names = zip(
            *(rows[name].to_pylist() for name in ("bar", "exchange", "symbol")), strict=True
        )
        for key, units in zip(names, units_of(made), strict=True):
            before = turnovers.get(key, 0)
            turnovers[key] = None if units is None or before is None else before + units
        return turnovers

    async def _read(
        self, page: _Page, made: Callable[[Parts, statement.Trades], Statement]
    ) -> pa.Table:
        """The rows of a statement about the trades of a page's grid."""
        grid, asked = page.grid, page.asked
        try:
            cells = cells_of(grid)
        except GridError as error:
            raise InvalidParameter("interval", str(error)) from error
        selection = replace(
            asked.selection, start_ns=int(grid.starts_ns[0]), end_ns=int(grid.ends_ns[-1])
        )
        given = {
            statement.CELLS: pa.table(
                {"cell": cells.cells, "bar": cells.bars, "end_ns": grid.ends_ns[cells.bars]}
            )
        }
        trades = statement.Trades(selection, cells, page.rules)

        def work(session: QuerySession, parts: Parts) -> pa.Table:
            return session.table(made(parts, trades), parts.tail, given)

        return await self._reader.read(asked.read_point, selection, work, asked.watch)

    async def _proven(self, page: _Page, bars: list[BarValues]) -> BarsAnswer:
        """Bars with what is missing of each, and what that rests on."""
        request, asked, grid = page.request, page.asked, page.grid
        cursor = None
        if len(bars) > request.limit:
            bars = bars[: request.limit]
            after = _place(bars[-1], grid)
            cursor = request.next_page(asked.token, page.start_ns, page.end_ns, after)
        listed = replace(
            asked.selection,
            start_ns=int(grid.starts_ns[bars[0].bar]) if bars else page.start_ns,
            end_ns=int(grid.ends_ns[bars[-1].bar]) if bars else page.end_ns,
        )
        found = proof.gaps_of(asked.gaps, listed, asked.read_point.cut.next)
        rests = found.are_complete and asked.token.deferred == 0
        missing = list(_missing(bars, grid, asked.gaps))
        complete = [
            rests and lacks == 0 and int(grid.ends_ns[bar.bar]) <= asked.token.at_ns
            for bar, lacks in zip(bars, missing, strict=True)
        ]
        meta = BarsMeta(
            **proof.page_proof(asked, found, is_complete=rests and all(complete), cursor=cursor),
            start_ns=page.start_ns,
            end_ns=page.end_ns,
            interval=interval_text(request.interval),
            align=request.align,
            tz=request.zone,
            calendar=request.calendar,
            fill=request.fill,
            conditions="all" if page.rules is None else "eligible",
            bars=len(bars),
        )
        rows = await off_loop(partial(table_of_bars, bars, grid, missing, complete))
        return BarsAnswer(rows, meta)


def _within_reach(page: _Page, carried: Mapping[BarKey, Carried]) -> Grid:
    """The bars that a page with fills can reach: each has a row per price that is carried into it.

    Bars that begin after the answer's time, or when a price is too old to be carried, may have
    none: then the page may reach any bar.
    """
    grid, request = page.grid, page.request
    if request.fill == "none" or not carried:
        return grid
    reached = request.limit // len(carried) + 2
    carried_until_ns = min(price.time_ns for price in carried.values()) + fold.MAX_CARRY_NS
    filled = int((grid.starts_ns < min(page.asked.token.at_ns, carried_until_ns)).sum())
    return grid.part(0, reached) if reached <= filled else grid


def _folded(
    page: _Page, found: Sequence[Sums], carried: Mapping[BarKey, Carried]
) -> list[BarValues]:
    """The bars of a page behind its cursor, and one more, if there is one."""
    cursor, limit = page.request.cursor, page.request.limit
    filling = Filling(page.request.fill, page.asked.token.at_ns)
    bars = (
        bar
        for bar in fold.bars_of(found, page.grid, carried, filling)
        if cursor is None or _place(bar, page.grid) > cursor.after
    )
    return list(islice(bars, limit + 1))


def _place(bar: BarValues, grid: Grid) -> tuple[int, str, str]:
    """What the order of an answer goes by."""
    return int(grid.starts_ns[bar.bar]), bar.exchange, bar.symbol


def _missing(bars: Sequence[BarValues], grid: Grid, gaps: KnownGaps | None) -> Iterator[int]:
    """How many numbers may be missing of each bar, as far as is known."""
    if gaps is None or not bars:
        yield from (0 for _ in bars)
        return
    within = grid.part(0, bars[-1].bar + 1)
    by_key: dict[BarKey, list[int]] = {}
    for bar in bars:
        key = (bar.exchange, bar.symbol)
        if key not in by_key:
            by_key[key] = missing_in(gaps.lacking(*key), within).tolist()
        yield by_key[key][bar.bar]
