"""What a subscription gives: rows, how far it has come, gaps as they become known, and its end."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import msgspec
import pyarrow as pa

from k2_streams.core.sequence.gaps import Gap
from k2_streams.query.answer import about
from k2_streams.query.token import StreamToken

_TOKEN = about("Goes on behind this frame (`from=`), on any node.")
_AS_OF = about(
    "Asks for exactly the rows up to here (`as_of=`); null within a record of the log, and in "
    "order of event time."
)


class FrameSizes(NamedTuple):
    """How rows are given: in frames of at most `rows`, `at_once` of them where there is room."""

    rows: int
    at_once: int = 1


@dataclass(frozen=True, slots=True)
class RowsFrame:
    """The next rows, in the table's columns.

    Attributes:
        token: behind the last of them.
        rows: of one frame, or of several that are given at once.
        cuts: where they may be cut into frames: a number of rows, and the token behind these.
    """

    token: StreamToken
    rows: pa.Table
    cuts: tuple[tuple[int, StreamToken], ...] = ()


class ProgressFrame(msgspec.Struct, frozen=True, kw_only=True):
    """How far it has come: the first frame, and then once per second."""

    token: Annotated[str, _TOKEN]
    as_of: Annotated[str | None, _AS_OF]
    offsets: Annotated[
        dict[int, int], about("Of the log: per partition the offset below which all is given.")
    ]
    lag: Annotated[
        dict[int, int], about("Per partition: offsets that this node knows and has not given yet.")
    ]
    level: Annotated[str, about("Degradation level of the worker that answers.")]
    rows: Annotated[int, about("Rows given so far, of all connections with this token.")]
    gaps_missed: Annotated[
        int, about("Changes of gaps that came too fast to be given, so far.")
    ] = 0
    waits_for: Annotated[
        str | None, about("Why no rows come although there are some; null: they come.")
    ] = None


class GapFrame(msgspec.Struct, frozen=True, kw_only=True):
    """What became known of missing numbers, in a scope of the selection, since the stream began."""

    token: Annotated[str, _TOKEN]
    type: Annotated[str, about("`gap_opened`, `gap_filled` or `gap_abandoned`.")]
    scope: Annotated[str, about("What the numbers count over: EXCHANGE:SYMBOL, or a connection.")]
    session: Annotated[str, about("Of the numbers.")]
    first: Annotated[int, about("The first number, inclusive.")]
    last: Annotated[int, about("The last number, inclusive.")]
    exchange_time_ns: Annotated[int, about("Event time of the message that brought it about.")]
    accepted_time_us: Annotated[int, about("Accepted time of that message.")]


class EndFrame(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing more comes: the rows are complete, and this is how to check it."""

    token: Annotated[str, _TOKEN]
    as_of: Annotated[
        str, about("Of the end of the range: rows below it and from `from` on were given.")
    ]
    rows: Annotated[int, about("Rows given, of all connections with this token.")]
    checksum: Annotated[
        str,
        about("Over the places of these rows, whatever their order; 16 hexadecimal digits."),
    ]
    gaps: Annotated[tuple[Gap, ...], about("Gaps of the selection, at most 100.")]
    gaps_omitted: Annotated[int, about("How many more gaps there are.")]
    gaps_complete: Annotated[
        bool, about("The sequence events were read at least as far as the rows.")
    ]
    complete: Annotated[
        bool, about("Nothing of the selection is known to be missing, and `gaps_complete`.")
    ]


Frame = RowsFrame | ProgressFrame | GapFrame | EndFrame
#: What each kind of frame is called.
FRAME_NAMES: dict[type, str] = {
    RowsFrame: "rows",
    ProgressFrame: "progress",
    GapFrame: "gap",
    EndFrame: "end",
}
