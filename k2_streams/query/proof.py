"""The proof of an answer: what it stands for, and what is known to be missing.

Rows, bars, joined quotes and the end of a stream say it alike: made here, in the fields of
`ReadProof` and `PageProof`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from k2_streams.core.records.stream import Stream
from k2_streams.core.sequence.gaps import Gap
from k2_streams.query.answer import Answer, Meta
from k2_streams.query.gaps import KnownGaps
from k2_streams.query.resolved import ResolvedRequest
from k2_streams.query.result import key_of_last, rows_from_lake
from k2_streams.query.selection import Selection
from k2_streams.query.token import Cursor, Token

#: Gaps that an answer lists; how many more there are it counts.
MAX_META_GAPS = 100


class GapsFound(NamedTuple):
    """Gaps of a selection, as an answer lists them."""

    listed: tuple[Gap, ...]
    omitted: int
    are_complete: bool  # the events were read as far as the rows, and none was dropped


class _Encodes(Protocol):
    """A token or a cursor."""

    def encode(self) -> str: ...


def answer(stream: Stream, rows: pa.Table, asked: ResolvedRequest) -> Answer:
    """A page of rows with its proof.

    Args:
        stream: whose rows.
        rows: of the selection, in order; one more than the request's limit says that more follow.
        asked: the question at its read point.
    """
    request, selection, state = asked.request, asked.selection, asked.state
    cursor: Cursor | None = None
    if rows.num_rows > request.limit:
        rows = rows.slice(0, request.limit)
        cursor = Cursor(
            token=asked.token,
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
    offsets = asked.read_point.cut.next
    found = gaps_of(asked.gaps, selection, offsets)
    from_lake = rows_from_lake(rows, asked.read_point.held)
    meta = Meta(
        **page_proof(
            asked,
            found,
            is_complete=is_whole(asked.gaps, found, selection, asked.token),
            cursor=cursor,
        ),
        start_ns=selection.start_ns,
        end_ns=selection.end_ns,
        order="desc" if selection.descending else "asc",
        rows=rows.num_rows,
        rows_lake=from_lake,
        rows_tail=rows.num_rows - from_lake,
        settled=False,
        dead_letters=state.dead_letters,
        dead_letters_complete=all(
            state.dead_letters_next.get(partition, 0) >= end for partition, end in offsets.items()
        ),
    )
    return Answer(rows, meta)


def read_proof(asked: ResolvedRequest, found: GapsFound, *, is_complete: bool) -> dict[str, Any]:
    """The fields of `ReadProof`.

    Args:
        asked: the question at its read point.
        found: gaps of what was read.
        is_complete: nothing is known to be missing of it.
    """
    return {
        "token": asked.token.encode(),
        "offsets": asked.read_point.cut.next,
        "gaps": found.listed,
        "gaps_omitted": found.omitted,
        "gaps_complete": found.are_complete,
        "complete": is_complete,
    }


def page_proof(
    asked: ResolvedRequest, found: GapsFound, *, is_complete: bool, cursor: _Encodes | None
) -> dict[str, Any]:
    """The fields of `PageProof`; see `read_proof`.

    Args:
        asked: the question at its read point.
        found: gaps of what was read.
        is_complete: nothing is known to be missing of it.
        cursor: of the next page; None: this is the last one.
    """
    request, state = asked.request, asked.state
    return {
        **read_proof(asked, found, is_complete=is_complete),
        "snapshot": asked.read_point.head.snapshot_id,
        "pinned": request.pinned,
        "known_at_ns": request.gaps_known_ns,
        "limit": request.limit,
        "view": request.view,
        "deferred": asked.token.deferred,
        "lag_records": state.lag_records,
        "level": state.level,
        "stalled": state.stalled,
        "next_cursor": None if cursor is None else cursor.encode(),
        "elapsed_ms": asked.watch.elapsed_ms,
        "stages_ms": dict(asked.watch.stages_ms),
    }


def gaps_of(gaps: KnownGaps | None, selection: Selection, offsets: Mapping[int, int]) -> GapsFound:
    """Gaps of a selection.

    Args:
        gaps: as known now, or then; None: of these rows none are known, and never all of them.
        selection: of symbols, exchanges and a range of time.
        offsets: at which the rows end.
    """
    if gaps is None:
        return GapsFound((), 0, are_complete=False)
    listed, omitted = gaps.find(
        symbols=selection.symbols,
        exchanges=selection.exchanges,
        start_ns=selection.start_ns,
        end_ns=selection.end_ns,
        limit=MAX_META_GAPS,
    )
    return GapsFound(listed, omitted, gaps.reach(offsets))


def is_whole(gaps: KnownGaps | None, found: GapsFound, selection: Selection, token: Token) -> bool:
    """Whether nothing of a selection is known to be missing at a token's offsets.

    Args:
        gaps: as for `gaps_of`.
        found: what it found.
        selection: of symbols, exchanges and a range of time.
        token: of the rows.
    """
    if gaps is None or not found.are_complete or token.deferred:
        return False
    return not gaps.lacks(
        symbols=selection.symbols,
        exchanges=selection.exchanges,
        start_ns=selection.start_ns,
        end_ns=selection.end_ns,
    )
