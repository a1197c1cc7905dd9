"""A log as a node has it: what every question about its rows is answered from."""

from collections.abc import Callable
from dataclasses import dataclass

from k2_streams.clock import Clock
from k2_streams.core.records.stream import Stream
from k2_streams.query.answer import NodeState
from k2_streams.query.gaps import GapsView, NothingMissing
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import Tail


@dataclass(frozen=True, slots=True)
class QueriedLog:
    """A log as this node has it.

    Attributes:
        stream: what its rows are.
        tail: rows that the lake may not hold yet.
        lake: the others.
        gaps: what is known of missing rows; None: no sequence events belong to these rows, and no
            answer says that its gaps are complete.
        state: how the pipeline stands now; every answer says it.
        clock: the server's time, where a window has no end.
    """

    stream: Stream
    tail: Tail
    lake: LakeView
    gaps: GapsView | NothingMissing | None
    state: Callable[[], NodeState]
    clock: Clock
