"""What an answer is: rows, and the proof of what they stand for."""

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

import msgspec
import pyarrow as pa

from k2_streams.core.records.stream import Stream
from k2_streams.core.sequence.gaps import Gap, ScopeCounts


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """How this node and the pipeline stand, as far as an answer says it."""

    level: str = "NORMAL"
    lag_records: int = 0  # raw records not yet judged
    dead_letters: int = 0  # raw records that could not be used, ever
    dead_letters_next: dict[int, int] = {}  # counted are those of records of the log below these
    stalled: bool = False  # the log's last stable offset stands still below its end


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """The proof that an answer carries.

    Rows asked again with `as_of=token` are the same, whatever was appended, committed, compacted
    or evicted since. Gaps are as known now: one that was open may later be shown as filled.
    """

    token: str
    offsets: dict[int, int]  # of the log: per partition the next offset that is not in the answer
    snapshot: int | None  # of the lake; None: the lake had none
    pinned: bool  # asked with a token or a cursor: the same rows for ever
    start_ns: int | None  # the range as it was resolved: start inclusive, end exclusive
    end_ns: int | None
    order: Literal["asc", "desc"]
    limit: int
    view: Literal["reported", "corrected"] = "reported"
    rows: int
    rows_lake: int
    rows_tail: int
    gaps: tuple[Gap, ...]  # known in the range, of the scopes asked for
    gaps_omitted: int  # more than are listed
    gaps_complete: bool  # the events were read at least as far as the rows
    complete: bool  # nothing is known to be missing: no gap, nothing deferred, gaps_complete
    settled: bool  # complete, and no gap of the range is expected to become known any more
    deferred: int  # deferred raw records that waited at these offsets
    dead_letters: int
    dead_letters_complete: bool  # counted are at least those of the records below `offsets`
    lag_records: int
    level: str
    stalled: bool
    next_cursor: str | None  # None: this is the last page
    elapsed_ms: float
    stages_ms: dict[str, float]  # wait, view, plan, tail, scan: where the time went


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows in the table's columns, in the order asked for, with their proof."""

    rows: pa.Table
    meta: Meta


@lru_cache
def symbol_row(stream: Stream) -> type[msgspec.Struct]:
    """What is known of a symbol on an exchange, of one stream.

    How many rows it has (under the stream's name), the first and last event time, what its newest
    row (in the order of every answer) holds, and what the sequencer found.
    """
    last = [(f"last_{name}", _python_type(stream.table_schema.field(name))) for name in stream.last]
    return msgspec.defstruct(
        f"{stream.name.capitalize()}SymbolRow",
        [
            ("exchange", str),
            ("symbol", str),
            (stream.name, int),
            ("first_time_ns", int),
            ("last_time_ns", int),
            *last,
            ("session", str),
            ("sequence", int | None),
            ("counts", ScopeCounts),
        ],
        frozen=True,
        kw_only=True,
    )


def _python_type(field: pa.Field) -> Any:
    kind = Decimal if pa.types.is_decimal(field.type) else bool
    return kind | None if field.nullable else kind


class SymbolsMeta(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of a list of symbols."""

    token: str
    offsets: dict[int, int]
    snapshot: int | None
    symbols: int
    gaps_complete: bool
    complete: bool  # nothing is known to be missing of these symbols, at any time
    deferred: int  # deferred raw records that waited at these offsets
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class SymbolsAnswer:
    """Symbols, sorted by exchange and symbol, with their proof."""

    symbols: list[msgspec.Struct]  # `symbol_row`
    meta: SymbolsMeta


class SnapshotRow(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of the lake; `token` asks for exactly what it holds (`as_of=`)."""

    id: int
    parent: int | None
    timestamp_ms: int
    operation: str
    rows_total: int
    rows_added: int
    files: int
    offsets: dict[int, int]
    commit_id: str | None
    token: str | None  # None: it carries no offsets
    refs: list[str] = []  # branches and tags that name it


class GapsMeta(msgspec.Struct, frozen=True, kw_only=True):
    """How far the list of gaps reaches."""

    gaps: int
    omitted: int  # more than are listed
    positions: dict[int, int]  # of k2.sequence-events: per partition the next offset not read
    complete: bool  # none was forgotten because of a limit


@dataclass(frozen=True, slots=True)
class GapsAnswer:
    """Gaps by scope, session and number, with how far they reach."""

    gaps: tuple[Gap, ...]
    meta: GapsMeta
