"""The proof of an answer: what it stands for, and what is known to be missing."""

from collections.abc import Mapping

import pyarrow as pa

from k2_streams.core.records.stream import Stream
from k2_streams.core.sequence.gaps import Gap
from k2_streams.query.answer import Answer, Meta, NodeState
from k2_streams.query.gaps import KnownGaps
from k2_streams.query.read_point import ReadPoint
from k2_streams.query.request import RowsRequest
from k2_streams.query.result import key_of_last, rows_from_lake
from k2_streams.query.selection import Selection
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.token import Cursor, Token

#: Gaps that an answer lists; how many more there are it counts.
MAX_META_GAPS = 100


def answer(
    stream: Stream,
    rows: pa.Table,
    *,
    read_point: ReadPoint,
    request: RowsRequest,
    selection: Selection,
    token: Token,
    gaps: KnownGaps | None,
    state: NodeState,
    watch: Stopwatch,
) -> Answer:
    """A page with its proof.

    Args:
        stream: whose rows.
        rows: of the selection, in order; one more than the request's limit says that more follow.
        read_point: what was read.
        request: what was asked.
        selection: the same with its range resolved.
        token: of the first page.
        gaps: as known now, or then; None: of these rows none are known, and never all of them.
        state: of the pipeline now.
        watch: where the time went.
    """
    cursor: Cursor | None = None
    if rows.num_rows > request.limit:
        rows = rows.slice(0, request.limit)
        cursor = Cursor(
            token=token,
            after=key_of_last(stream, rows),
            symbols=selection.symbols,
            exchanges=selection.exchanges,
            start_ns=selection.start_ns,
            end_ns=selection.end_ns,
            descending=selection.descending,
            limit=request.limit,
            asked=request.asked() if request.cursor is None else request.cursor.asked,
            view=request.view,
            keys=request.keys,
            known_at_ns=request.gaps_known_ns,
        )
    offsets = read_point.cut.next
    found, omitted, gaps_complete, is_missing = gaps_of(gaps, selection, offsets)
    from_lake = rows_from_lake(rows, read_point.held)
    meta = Meta(
        token=token.encode(),
        offsets=offsets,
        snapshot=read_point.head.snapshot_id,
        pinned=request.pinned,
        known_at_ns=request.gaps_known_ns,
        start_ns=selection.start_ns,
        end_ns=selection.end_ns,
        order="desc" if selection.descending else "asc",
        limit=request.limit,
        view=request.view,
        rows=rows.num_rows,
        rows_lake=from_lake,
        rows_tail=rows.num_rows - from_lake,
        gaps=found,
        gaps_omitted=omitted,
        gaps_complete=gaps_complete,
        complete=gaps_complete and not is_missing and token.deferred == 0,
        settled=False,
        deferred=token.deferred,
        dead_letters=state.dead_letters,
        dead_letters_complete=all(
            state.dead_letters_next.get(partition, 0) >= end for partition, end in offsets.items()
        ),
        lag_records=state.lag_records,
        level=state.level,
        stalled=state.stalled,
        next_cursor=None if cursor is None else cursor.encode(),
        elapsed_ms=watch.elapsed_ms,
        stages_ms=dict(watch.stages_ms),
    )
    return Answer(rows, meta)


def gaps_of(
    gaps: KnownGaps | None, selection: Selection, offsets: Mapping[int, int]
) -> tuple[tuple[Gap, ...], int, bool, bool]:
    """Gaps listed and omitted, whether they reach as far as the rows, whether something lacks."""
    if gaps is None:
        return (), 0, False, False
    found, omitted = gaps.find(
        symbols=selection.symbols,
        exchanges=selection.exchanges,
        start_ns=selection.start_ns,
        end_ns=selection.end_ns,
        limit=MAX_META_GAPS,
    )
    is_missing = gaps.lacks(
        symbols=selection.symbols,
        exchanges=selection.exchanges,
        start_ns=selection.start_ns,
        end_ns=selection.end_ns,
    )
    return found, omitted, gaps.covers(offsets) and gaps.forgotten == 0, is_missing
