"""Both parts of a read point, as one: rows, the newest of them, their symbols, their totals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from k2_streams.core.enrich.notional import Notional, filled, of_ones
from k2_streams.core.enrich.ticks import Sought, sought, with_ticks
from k2_streams.core.query.corrections import superseded
from k2_streams.core.query.keys import Keys, KeyValue
from k2_streams.core.query.ranked import ranked
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Range
from k2_streams.lake.breaker import Guard
from k2_streams.lake.errors import LakeUnavailableError
from k2_streams.lake.plan import PlannedFile
from k2_streams.lake.schema import field_ids
from k2_streams.query import statement
from k2_streams.query.engine import Engine, FilesUnreadableError, QuerySession
from k2_streams.query.errors import LakeUnavailable, QueryTimeoutError, TooMuchError
from k2_streams.query.file_steps import FileSteps, is_full
from k2_streams.query.lake_view import LakeView
from k2_streams.query.read_point import ReadPoint
from k2_streams.query.result import as_rows, corrections_of
from k2_streams.query.selection import Selection
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.symbols.totals import Slice, Totals, merged, newest_columns, totals_of
from k2_streams.query.tail.rows import in_order, select
from k2_streams.query.tail.store import TailBatch
from k2_streams.query.tick_lookup import look_up, looked_for

if TYPE_CHECKING:
    from k2_streams.query.subscription.portion import Portion

_T = TypeVar("_T")

#: Files of one statement of totals: about 6 M rows, a second or two of two cores.
TOTALS_FILES = 64
#: Rows of the tail in one statement of totals: 130 MB when expanded.
TOTALS_ROWS = 200_000
#: A question that runs out of time while the store has kept a request waiting for this share of it
#: did so for the store's sake.
STORE_AWAY_SHARE = 0.5
#: Of more rows than this the time of the last is found first: while all columns of all rows are
#: looked through, as many as are wanted are kept in memory several times over.
NARROWED_ABOVE = 5_000
#: Corrections that one answer applies: 50 MB while they are read. Venues correct a few trades in a
#: hundred thousand.
MAX_CORRECTIONS = 100_000


@dataclass(frozen=True, slots=True)
class Parts:
    """Both parts of a selection, as statements take them.

    Attributes:
        scan: how the files are read.
        planned: the files that may hold rows of it.
        lake_limits: per partition the offset from which on the files' rows are not wanted.
        tail: the rows of it that are not the files'.
    """

    scan: statement.Scan
    planned: Sequence[PlannedFile]
    lake_limits: Mapping[int, int]
    tail: pa.Table

    @property
    def files(self) -> list[str]:
        """The files by their paths."""
        return [file.path for file in self.planned]


class Reader:
    """Reads what read points hold. For one event loop.

    Every method raises what `LakeView.files` and `Engine.run` raise, and `TailMovedError` where a
    spilled batch was evicted meanwhile.

    Args:
        stream: whose rows.
        lake: plans the files.
        engine: reads them.
        notional: computes it where a row was made without.
        reads: of an object store; while its breaker is open no file is asked for. It is not the
            lake's: with the catalog away the files are there, and the other way round.
    """

    def __init__(
        self,
        stream: Stream,
        lake: LakeView,
        engine: Engine,
        notional: Notional = of_ones,
        reads: Guard | None = None,
    ) -> None:
        self._notional = notional
        self._reads = reads
        self._stream = stream
        self._empty = stream.table_schema.empty_table()
        self._scan = statement.scan_of(stream, field_ids(stream), newest_columns(stream))
        self._lake = lake
        self._engine = engine

    async def rows(
        self, read_point: ReadPoint, selection: Selection, watch: Stopwatch | None = None
    ) -> pa.Table:
        """The selection's rows, in order, with what was left out when they were made."""
        watch = watch or Stopwatch()
        return await self._enriched(
            read_point, await self._rows(read_point, selection, watch), watch
        )

    @property
    def none(self) -> pa.Table:
        """No row, in the table's columns."""
        return self._empty

    async def as_made(self, portion: "Portion") -> pa.Table:
        """A portion's rows, in its order, as they were made."""
        return await self._run(lambda session: portion.read(session, self._scan), portion.files)

    async def portion(self, read_point: ReadPoint, portion: "Portion") -> pa.Table:
        """The same, with what was left out when they were made."""
        rows = await self.as_made(portion)
        return await self._enriched(read_point, rows, Stopwatch())

    async def _enriched(
        self, read_point: ReadPoint, answer: pa.Table, watch: Stopwatch
    ) -> pa.Table:
        """Rows with what was left out when they were made."""
        if not self._stream.is_enriched:
            return answer
        missing = sought(answer)
        if missing is not None:
            with watch.stage("ticks"):
                answer = await self._with_ticks(read_point, answer, missing)
        return filled(answer, self._notional)

    async def _rows(
        self, read_point: ReadPoint, selection: Selection, watch: Stopwatch
    ) -> pa.Table:
        """The selection's rows, in order, as they were made."""

        def work(session: QuerySession, parts: Parts) -> pa.Table:
            found = parts.tail
            if not parts.planned or is_full(found, selection):
                found = in_order(self._stream, found, selection)
            steps = FileSteps(parts.planned, selection, self._stream.time)
            while some := steps.next(found):
                found = self._scanned(session, some, parts.lake_limits, found, selection)
            return found

        return await self.read(read_point, selection, work, watch)

    async def read(
        self,
        read_point: ReadPoint,
        selection: Selection,
        work: Callable[[QuerySession, Parts], _T],
        watch: Stopwatch,
    ) -> _T:
        """What `work` makes of both parts of a selection, on a worker's thread."""
        with watch.stage("plan"):
            files = await self._lake.planned(read_point.head, selection)
        limits, ranges = read_point.cut.lake_limits, _tail_ranges(read_point)

        def on_session(session: QuerySession) -> _T:
            with watch.stage("tail"):
                tail = select(self._stream, read_point.view.batches(ranges), selection)
            with watch.stage("scan"):
                return work(session, Parts(self._scan, files, limits, tail))

        with watch.stage("engine"):
            return await self._run(on_session, files)

    def _scanned(
        self,
        session: QuerySession,
        files: Sequence[str],
        limits: Mapping[int, int],
        found: pa.Table,
        selection: Selection,
    ) -> pa.Table:
        """The rows found so far and those of the files, as one answer in order."""
        if selection.at_most is not None and selection.at_most > NARROWED_ABOVE:
            asked = statement.times(self._scan, files, limits, selection)
            times = chain([found.column(self._stream.time).to_numpy()], session.integers(asked))
            edge_ns = ranked(times, selection.at_most, largest=selection.descending)
            selection = _up_to(selection, edge_ns)
        asked = statement.rows(self._scan, files, limits, found.num_rows > 0, selection)
        return as_rows(self._stream, session.table(asked, found))

    async def _with_ticks(
        self, read_point: ReadPoint, answer: pa.Table, missing: Sought
    ) -> pa.Table:
        """The answer with the ticks that its rows were made without."""
        files = await self._lake.files(read_point.head, looked_for(missing))

        def work(session: QuerySession) -> pa.Table:
            return with_ticks(answer, look_up(session, self._scan, files, read_point, missing))

        return await self._run(work, files)

    async def newest_ns(self, read_point: ReadPoint, selection: Selection) -> int | None:
        """The event time of the newest row of the selection's names; None: there is no row."""
        last = Selection(
            selection.keys,
            descending=True,
            at_most=1,
            view=selection.view,
            superseded=selection.superseded,
        )
        rows = await self._rows(read_point, last, Stopwatch())
        return None if rows.num_rows == 0 else int(rows.column(self._stream.time)[0].as_py())

    async def corrected(self, read_point: ReadPoint, selection: Selection) -> Selection:
        """The selection as corrected by all corrections that the read point holds of its names.

        Raises:
            TooMuchError: there are more corrections than an answer may apply.
        """
        asked = Selection(selection.keys, view="corrections", at_most=MAX_CORRECTIONS + 1)
        rows = await self._rows(read_point, asked, Stopwatch())
        if rows.num_rows > MAX_CORRECTIONS:
            raise TooMuchError(
                f"more than {MAX_CORRECTIONS} corrections: ask for fewer symbols at once"
            )
        gone = superseded(corrections_of(rows))
        return replace(selection, view="corrected", superseded=gone)

    async def known(
        self, read_point: ReadPoint, names: Sequence[KeyValue], others: Keys
    ) -> set[KeyValue]:
        """Those of the symbols that have a row at all.

        Args:
            read_point: where to look.
            names: values of the key's narrowest column.
            others: what is wanted of the other columns of the key.
        """
        column = self._stream.name_column
        asked = Selection((*others, (column, tuple(names))))
        files = await self._lake.files(read_point.head, asked)
        limits, ranges = read_point.cut.lake_limits, _tail_ranges(read_point)

        def work(session: QuerySession) -> set[KeyValue]:
            found: set[KeyValue] = set()
            for name in names:
                one = replace(asked, keys=(*others, (column, (name,))), at_most=1)
                if select(self._stream, read_point.view.batches(ranges), one).num_rows:
                    found.add(name)
            if files and found < set(names):
                in_lake = session.table(
                    statement.names(self._scan, files, limits, asked), self._empty
                )
                found |= set(in_lake.column("name").to_pylist())
            return found

        return await self._run(work, files)

    async def accepted(
        self, read_point: ReadPoint, from_us: int | None, to_us: int
    ) -> dict[int, int]:
        """Per partition the offset behind the snapshot's last row accepted in this time.

        Both bounds are inclusive; None is no bound. A partition without such a row is not named.
        """
        files = await self._lake.files_accepted(read_point.head, from_us, to_us)
        if not files:
            return {}
        asked = statement.accepted(self._scan, files, from_us, to_us)

        def work(session: QuerySession) -> dict[int, int]:
            found = session.table(asked, self._empty)
            return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))

        return await self._run(work, files)

    async def totals(self, read_point: ReadPoint, part: Slice) -> Totals:
        """Totals by symbol of a slice, in steps that each fit the engine's limits."""
        files = await self._lake.files(read_point.head, Selection()) if part.lake else []
        limits = read_point.cut.lake_limits
        totals: Totals = {}
        for at in range(0, len(files), TOTALS_FILES):
            some = files[at : at + TOTALS_FILES]
            asked = statement.summary(self._scan, some, limits, part.lake_from)

            def of_lake(session: QuerySession, asked: statement.Statement = asked) -> Totals:
                return totals_of(self._stream, session.table(asked, self._empty).to_pylist())

            totals = merged(totals, await self._run(of_lake, some))
        for batches in _by_rows(read_point.view.batches(part.tail)):

            def of_tail(session: QuerySession, batches: list[TailBatch] = batches) -> Totals:
                rows = select(self._stream, batches, Selection())
                return totals_of(
                    self._stream,
                    session.table(
                        statement.summary(self._scan, [], {}, {}),
                        rows,
                    ).to_pylist(),
                )

            totals = merged(totals, await self._engine.run(of_tail))
        return totals

    async def planned(self, read_point: ReadPoint, selection: Selection) -> Sequence[PlannedFile]:
        """The files that may hold rows of a selection."""
        return await self._lake.planned(read_point.head, selection)

    async def _run(self, work: Callable[[QuerySession], _T], files: Sequence[object]) -> _T:
        """Do what reads these files; none of them: what reads the tail alone."""
        if not files:
            return await self._engine.run(work)
        if self._reads is None:
            return await self._engine.run(work, reads_lake=True)
        try:
            return await self._reads.call(lambda: self._from_store(work))
        except LakeUnavailableError as error:
            retry_after_s = max(self._reads.retry_after_s, LakeUnavailable.retry_after_s)
            raise LakeUnavailable(str(error), retry_after_s) from error

    async def _from_store(self, work: Callable[[QuerySession], _T]) -> _T:
        """The same, with an error of its own for a store that is unavailable."""
        try:
            return await self._engine.run(work, reads_lake=True)
        except FilesUnreadableError as error:
            if error.away:
                raise LakeUnavailableError(f"read the data files: {error}") from error
            raise
        except QueryTimeoutError as error:
            waits_s = self._engine.store_waits_s
            if waits_s < self._engine.timeout_s * STORE_AWAY_SHARE:
                raise
            raise LakeUnavailableError(
                f"read the data files: the store has not answered for {waits_s:.1f} s"
            ) from error


def _up_to(selection: Selection, edge_ns: int | None) -> Selection:
    """The selection without what lies beyond the time of its last row wanted; None: all is."""
    if edge_ns is None:
        return selection
    if selection.descending:
        return replace(selection, start_ns=edge_ns)
    return replace(selection, end_ns=edge_ns + 1)


def _tail_ranges(read_point: ReadPoint) -> dict[int, Range]:
    return {number: part.tail for number, part in read_point.cut.partitions.items()}


def _by_rows(batches: Iterator[TailBatch]) -> Iterator[list[TailBatch]]:
    """Groups of batches of about `TOTALS_ROWS` rows."""
    group: list[TailBatch] = []
    rows = 0
    for batch in batches:
        group.append(batch)
        rows += batch.rows
        if rows >= TOTALS_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group
