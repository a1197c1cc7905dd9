"""A request at its read point: what everything that makes an answer of it needs."""

from dataclasses import dataclass

from k2_streams.query.answer import NodeState
from k2_streams.query.gaps import KnownGaps
from k2_streams.query.read_point import ReadPoint
from k2_streams.query.request import RowsRequest
from k2_streams.query.selection import Selection
from k2_streams.query.stopwatch import Stopwatch
from k2_streams.query.token import Token


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A request at its read point.

    Attributes:
        read_point: what of lake and tail is in the answer.
        request: what was asked.
        selection: the same, with its range resolved and its corrections known.
        token: of the first page.
        gaps: as known now, or then; None: none are known of these rows.
        state: of the pipeline now.
        watch: where the time goes.
    """

    read_point: ReadPoint
    request: RowsRequest
    selection: Selection
    token: Token
    gaps: KnownGaps | None
    state: NodeState
    watch: Stopwatch
