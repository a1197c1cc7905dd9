"""Symbols of a request, with what the sequence events say of each."""

import msgspec

from k2_streams.core.query.keys import KeyValue, wanted_of
from k2_streams.query.answer import SymbolsAnswer, SymbolsMeta, symbol_row
from k2_streams.query.errors import UnknownSymbolError
from k2_streams.query.gaps import KnownGaps
from k2_streams.query.questions import PinnedRows, Questions
from k2_streams.query.read_point import ReadPoint, Wanted
from k2_streams.query.request import SymbolsRequest
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.symbols.totals import SymbolTotals, Total, Totals


class SymbolsQuery:
    """Answers with symbols. For one event loop."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._log = questions.log
        self._totals = SymbolTotals(questions.reader.totals)

    async def answer(self, request: SymbolsRequest) -> SymbolsAnswer:
        """What is known of each symbol.

        Raises:
            QueryError: see its kinds in `query.errors`.
        """
        questions = self._questions
        questions.check_keys(request.selected)
        watch = Stopwatch(self._log.clock)
        as_of = await questions.token_of(request.as_of)
        wanted = Wanted(as_of, request.min_offsets, request.wait_ms, request.known_at_ns)
        now_ns = questions.now_ns(wanted)

        async def answered(read_point: ReadPoint, then: PinnedRows) -> SymbolsAnswer:
            totals = await self._totals.at(read_point)
            self._check_known(request, totals)
            places = [
                (self._log.stream.key.index(name), values) for name, values in request.selected
            ]
            rows = [
                self._row(key, totals[key], then.gaps)
                for key in sorted(totals)
                if all(key[at] in values for at, values in places)
            ]
            offsets, gaps = read_point.cut.next, then.gaps
            token = then.token_at(read_point, now_ns)
            gaps_complete = gaps is not None and gaps.reach(offsets)
            is_missing = gaps is None or gaps.lacks(
                symbols=request.symbols, exchanges=request.from_exchanges
            )
            meta = SymbolsMeta(
                token=token.encode(),
                offsets=offsets,
                snapshot=read_point.head.snapshot_id,
                symbols=len(rows),
                known_at_ns=request.known_at_ns,
                gaps_complete=gaps_complete,
                complete=gaps_complete and not is_missing and token.deferred == 0,
                deferred=token.deferred,
                elapsed_ms=watch.elapsed_ms,
            )
            return SymbolsAnswer(rows, meta)

        await questions.wait(wanted, watch)
        scanned, reads_lake = self._extent(wanted)
        async with questions.engine.turn(len(self._totals), scanned, reads_lake=reads_lake):
            return await questions.answered(wanted, watch, answered)

    def _extent(self, wanted: Wanted) -> tuple[int, bool]:
        """Rows that may be looked at, and whether in the lake: all of them, or the newest alone."""
        in_tail, head = self._log.tail.rows, self._log.lake.head
        is_earlier = wanted.known_ns is not None
        if not is_earlier and self._totals.reaches_from(
            None if wanted.at is None else wanted.at.next
        ):
            return in_tail, False
        in_lake = 0 if head is None else head.rows
        return in_lake + in_tail, in_lake > 0

    def _check_known(self, request: SymbolsRequest, totals: Totals) -> None:
        """Refuse names that have no row on the exchanges that the caller may read."""
        stream = self._log.stream
        # Whether a symbol is known on an exchange that the caller may not read is no answer.
        at = stream.key.index("exchange") if request.permitted else 0
        seen = {key[-1] for key in totals if not request.permitted or key[at] in request.permitted}
        missing = set(wanted_of(request.selected, stream.name_column)) - seen
        if missing:
            raise UnknownSymbolError(tuple(sorted(map(str, missing))), stream.name_column)

    def _row(
        self, key: tuple[KeyValue, ...], total: Total, gaps: KnownGaps | None
    ) -> msgspec.Struct:
        stream, newest = self._log.stream, total.newest
        counts = {}
        if stream.is_sequenced and gaps is not None:
            counts["counts"] = gaps.counts(*map(str, key))
        return symbol_row(stream)(
            **dict(zip(stream.key, key, strict=True)),
            **{stream.counted: total.rows},
            first_time_ns=total.first_time_ns,
            last_time_ns=newest.time_ns,
            **{f"last_{name}": newest.values[name] for name in stream.last},
            **{name: newest.values[name] for name in stream.identity},
            **counts,
        )
