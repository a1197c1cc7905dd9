"""The next rows of a subscription: of which offsets, of lake and tail, and in which order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.query.ranked import ranked
from k2_streams.core.records.stream import LOG_PLACE
from k2_streams.core.subscription.file_spans import FileSpan
from k2_streams.core.subscription.sources import Sources
from k2_streams.lake.plan import PlannedFile
from k2_streams.query import reading
from k2_streams.query.engine import QuerySession
from k2_streams.query.result import as_rows
from k2_streams.query.selection import Selection
from k2_streams.query.statement import Scan
from k2_streams.query.subscription import portion_statement
from k2_streams.query.subscription.request import RowOrder
from k2_streams.query.tail.rows import select
from k2_streams.query.tail.store import TailBatch

#: The columns of a log's own order.
LOG_ORDER = ("accepted_time", *LOG_PLACE)


@dataclass(frozen=True, slots=True)
class GivenRows:
    """Of the record at `offset` of a partition the rows below `row` are given."""

    partition: int
    offset: int
    row: int


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows to be read at once.

    Attributes:
        sources: their offsets.
        selection: which of them; in order of event time also behind which one.
        order: see `LOG_ORDER`, and `Stream.order`.
        until: no row at or behind this value of the order's first column; None: no bound.
        given: rows that are left out; None: none.
        files: that may hold some of them.
        batches: of the tail, that may hold some of them.
        at_most: the first rows of the order.
    """

    sources: Sources
    selection: Selection
    order: RowOrder
    until: int | None
    given: GivenRows | None
    files: Sequence[str]
    batches: Sequence[TailBatch]
    at_most: int

    def read(self, session: QuerySession, scan: Scan) -> pa.Table:
        """The rows, in order.

        Raises:
            TailMovedError: as `select`.
            FilesUnreadableError, TooMuchError, QueryTimeoutError: as `QuerySession.table`.
        """
        stream = scan.stream
        columns = stream.order if self.order == "event" else LOG_ORDER
        tail = self._of_tail(select(stream, self.batches, self.selection))
        if not self.files:
            keys = [(name, "ascending") for name in columns]
            return tail.take(pc.sort_indices(tail, sort_keys=keys)[: self.at_most])
        edge = None
        if self.at_most > reading.NARROWED_ABOVE:
            in_tail = tail.column(columns[0]).cast(pa.int64()).to_numpy()
            in_files = session.integers(portion_statement.moments(scan, self, columns))
            edge = ranked(chain([in_tail], in_files), self.at_most)
        asked = portion_statement.rows(scan, self, columns, edge, tail=tail.num_rows > 0)
        return as_rows(stream, session.table(asked, tail))

    def _of_tail(self, rows: pa.Table) -> pa.Table:
        """Without those that are given already."""
        if self.given is None or not rows.num_rows:
            return rows
        given = self.given
        same = pc.and_(
            pc.equal(rows["log_partition"], given.partition),
            pc.equal(rows["log_offset"], given.offset),
        )
        return rows.filter(pc.invert(pc.and_(same, pc.less(rows["log_row"], given.row))))


def spans_of(files: Iterable[PlannedFile], order: RowOrder) -> list[FileSpan]:
    """The files by their place in an order."""
    if order == "event":
        return [FileSpan(file.path, file.rows, file.first_ns, file.last_ns) for file in files]
    return [
        FileSpan(file.path, file.rows, file.accepted_from_us, file.accepted_to_us) for file in files
    ]


def first_batches(
    batches: Iterable[TailBatch], until: int | None, rows: int
) -> tuple[list[TailBatch], int | None]:
    """The batches of the tail that come first in the log's order.

    Args:
        batches: to choose from.
        until: none that was accepted at this time or later, in us; None: no bound.
        rows: how many are wanted, about.

    Returns:
        The batches, and the time before which all are among them; None: all of them are.
    """
    chosen: list[TailBatch] = []
    count = 0
    for batch in sorted(batches, key=lambda one: one.accepted_us):
        if until is not None and batch.accepted_us >= until:
            break
        if count >= rows and batch.accepted_us > chosen[-1].accepted_us:
            return chosen, batch.accepted_us
        chosen.append(batch)
        count += batch.rows
    return chosen, until
