"""Quotes of trades: one read of the quotes that may be theirs, at a read point of their own."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.query.asof.strategy import chosen, none_after, none_before, undoubted
from k2_streams.core.records.schema import DECIMAL
from k2_streams.query import proof
from k2_streams.query.asof import statement
from k2_streams.query.asof.columns import (
    markouts_of,
    mids_of,
    prices_of,
    rows_by_moment,
    taken,
    times_by_moment,
)
from k2_streams.query.asof.request import QUOTE_COLUMNS, Joined, JoinRequest, QuotesMeta
from k2_streams.query.asof.statement import MOMENTS
from k2_streams.query.engine import QuerySession
from k2_streams.query.gaps import KnownGaps
from k2_streams.query.questions import Questions
from k2_streams.query.reading import Parts
from k2_streams.query.request import RowsRequest
from k2_streams.query.resolved import ResolvedRequest
from k2_streams.query.selection import Selection

Times = npt.NDArray[np.int64]
_NO_QUOTES = pa.schema(
    [
        ("at", pa.int64()),
        ("exchange_time_ns", pa.int64()),
        *((name, DECIMAL) for name in statement.PRICES),
    ]
)


@dataclass(frozen=True, slots=True)
class _Trades:
    """Trades of a page, as their quotes are looked for."""

    rows: pa.Table
    times: Times

    def moments(self, later_ns: int) -> pa.Table:
        """A time after each."""
        return pa.table(
            {
                "at": np.arange(len(self.times)),
                "exchange": self.rows["exchange"],
                "symbol": self.rows["symbol"],
                "moment_ns": self.times + later_ns,
            }
        )


class QuotesJoin:
    """Joins trades with quotes. For one event loop.

    Args:
        questions: about the quotes.
    """

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._reader = questions.reader

    async def joined(self, trades: pa.Table, request: JoinRequest) -> Joined:
        """What a join adds to trades, in their order.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        times: Times = trades["exchange_time_ns"].to_numpy()
        page = _Trades(trades, times)
        rule, latest_ns = request.rule, max((one for _, one in request.markouts), default=0)
        first_ns, last_ns = (int(times.min()), int(times.max())) if len(times) else (0, 0)
        reach_ns = max(rule.tolerance_ns if rule.looks_ahead else 0, latest_ns)
        asked = RowsRequest(
            symbols=_values(trades, "symbol"),
            exchanges=_values(trades, "exchange"),
            start_ns=max(0, first_ns - rule.tolerance_ns),
            end_ns=last_ns + reach_ns + 1,
            limit=max(1, len(times)),
            as_of=request.as_of,
            known_at_ns=request.known_at_ns,
            wait_ms=request.wait_ms,
        )

        async def answered(resolved: ResolvedRequest) -> Joined:
            def work(session: QuerySession, parts: Parts) -> dict[str, pa.Array]:
                return _Reading(session, parts, resolved.selection, page, request).columns()

            columns = await self._reader.read(
                resolved.read_point, resolved.selection, work, resolved.watch
            )
            return self._proven(page, request, resolved, columns)

        return await self._questions.ask(asked, answered)

    def _proven(
        self,
        page: _Trades,
        request: JoinRequest,
        resolved: ResolvedRequest,
        columns: dict[str, pa.Array],
    ) -> Joined:
        """The columns with what is missing of the quotes."""
        gaps, offsets = resolved.gaps, resolved.read_point.cut.next
        # Without trades the selection names no exchange, so that it stands for those of all.
        listed = gaps if len(page.times) else None
        found = proof.gaps_of(listed, resolved.selection, offsets)
        known = gaps is not None and gaps.reach(offsets)
        complete = np.zeros(len(page.times), np.bool_)
        if gaps is not None and known and resolved.token.deferred == 0:
            complete = _complete(page, request, columns["quote_time_ns"], gaps)
        meta = QuotesMeta(
            **proof.read_proof(
                resolved,
                found._replace(are_complete=known),
                is_complete=bool(complete.all()) and known,
            )
        )
        columns = {**columns, "quote_complete": pa.array(complete)}
        schema = pa.schema(QUOTE_COLUMNS)
        return Joined(pa.table([columns[name] for name in schema.names], schema=schema), meta)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The statements of one join, on a worker's thread."""

    session: QuerySession
    parts: Parts
    selection: Selection
    page: _Trades
    request: JoinRequest

    def columns(self) -> dict[str, pa.Array]:
        """All but `quote_complete`."""
        rule, page = self.request.rule, self.page
        count = len(page.times)
        before, after = self._none(), self._none()
        if rule.looks_back:
            before = self._nearest(0, looks_back=True, is_exact=rule.allow_exact_matches)
        if rule.looks_ahead:
            after = self._nearest(0, looks_back=False, is_exact=rule.allow_exact_matches)
        rows_before, rows_after = rows_by_moment(before, count), rows_by_moment(after, count)
        takes_before, takes_after = chosen(
            rule,
            page.times,
            times_by_moment(before, rows_before, none_before(count)),
            times_by_moment(after, rows_after, none_after(count)),
        )
        rows = np.where(takes_after, before.num_rows + rows_after, rows_before)
        rows = np.where(takes_before | takes_after, rows, -1)
        quotes = taken(pa.concat_tables([before, after]), rows)
        times = quotes["exchange_time_ns"].combine_chunks()
        ages = page.times - times.fill_null(0).to_numpy()
        columns = prices_of(quotes, page.rows["price"])
        columns["quote_time_ns"] = times
        columns["quote_age_ns"] = pa.array(ages, mask=rows < 0)
        columns["markouts"] = markouts_of(
            {name: self._markout(later_ns) for name, later_ns in self.request.markouts}, count
        )
        return columns

    def _markout(self, later_ns: int) -> pa.Array:
        """The mid that stood a time after each trade, within the tolerance."""
        found = self._nearest(later_ns, looks_back=True, is_exact=True)
        count = len(self.page.times)
        rows = rows_by_moment(found, count)
        rule = replace(self.request.rule, strategy="backward")
        times = times_by_moment(found, rows, none_before(count))
        takes, _ = chosen(rule, self.page.times + later_ns, times, none_after(count))
        return mids_of(taken(found, np.where(takes, rows, -1)))

    def _nearest(self, later_ns: int, *, looks_back: bool, is_exact: bool) -> pa.Table:
        asked = statement.nearest_quotes(
            self.parts, self.selection, looks_back=looks_back, allow_exact_matches=is_exact
        )
        return self.session.table(asked, self.parts.tail, {MOMENTS: self.page.moments(later_ns)})

    def _none(self) -> pa.Table:
        """No quotes, in the columns of the statement."""
        return _NO_QUOTES.empty_table()


def _complete(
    page: _Trades, request: JoinRequest, quote_times: pa.Array, gaps: KnownGaps
) -> npt.NDArray[np.bool_]:
    """Of which trades no quote may be missing that would have been taken instead."""
    complete = np.ones(len(page.times), np.bool_)
    has_match = quote_times.is_valid().to_numpy(zero_copy_only=False)
    found = quote_times.fill_null(0).to_numpy()
    keys = np.array(
        [
            page.rows[name].combine_chunks().dictionary_encode().indices
            for name in ("exchange", "symbol")
        ]
    )
    for key in np.unique(keys, axis=1).T:
        of_key = (keys == key[:, None]).all(axis=0)
        first = int(np.flatnonzero(of_key)[0])
        name = (page.rows["exchange"][first].as_py(), page.rows["symbol"][first].as_py())
        complete[of_key] = undoubted(
            request.rule,
            page.times[of_key],
            found[of_key],
            has_match[of_key],
            gaps.lacking(*name),
        )
    return complete


def _values(rows: pa.Table, column: str) -> tuple[str, ...]:
    return tuple(sorted(rows[column].unique().to_pylist()))
