"""What an answer is: rows, and the proof of how complete they are."""

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa

from k2_streams.core.records.stream import Stream
from k2_streams.core.sequence.gaps import Gap, ScopeCounts


def about(text: str) -> msgspec.Meta:
    """What a field means, for whoever reads an answer: documents show it."""
    return msgspec.Meta(description=text)


#: Of an answer's field of that name.
LAG_RECORDS = (
    "Source records not processed yet: of this worker's partitions, or of all partitions where a "
    "query node answers."
)


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """How this node and the pipeline stand, as far as an answer says it."""

    level: str = "NORMAL"
    lag_records: int = 0  # raw records not yet processed
    dead_letters: int = 0  # raw records that could not be used, ever
    dead_letters_next: dict[int, int] = {}  # counted are those of records of the log below these
    stalled: bool = False  # the log's last stable offset stands still below its end
    has_deferred: bool = False  # a source record was deferred, now or ever


class ReadProof(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer that is made of a log says of the rows it was made of."""

    token: Annotated[str, about("Asks for the same again (`as_of=`).")]
    offsets: Annotated[
        dict[int, int],
        about("Of the log: per partition the next offset that is not in the answer."),
    ]
    gaps: Annotated[
        tuple[Gap, ...],
        about(
            "Gaps of the scopes and the range that were read, at most 100. A gap is in the range "
            "if it meets it between the event times of the messages before and after it."
        ),
    ]
    gaps_omitted: Annotated[int, about("How many more gaps there are.")]
    gaps_complete: Annotated[
        bool,
        about(
            "The sequence events were read at least as far as the rows, and this node has dropped "
            "none because of a limit."
        ),
    ]
    complete: Annotated[
        bool,
        about(
            "Nothing is known to be missing: no sequence number that is missing or abandoned can "
            "lie in the range, no message of it was refused because its number was used twice, "
            "nothing is deferred, and `gaps_complete`."
        ),
    ]


class PageProof(ReadProof, frozen=True, kw_only=True):
    """What a page of an answer says besides: where it was read, and how the pipeline stands."""

    snapshot: Annotated[int | None, about("Of the lake; null: it had none.")]
    pinned: Annotated[
        bool, about("Asked with a token, a cursor or `known_at`: the same rows for ever.")
    ]
    known_at_ns: Annotated[
        int | None,
        about("The accepted time up to which rows and gaps are as they were known; null: now."),
    ] = None
    limit: Annotated[int, about("Rows of a page at most.")]
    view: Annotated[
        Literal["reported", "corrected"], about("Every row, or the rows that corrections leave.")
    ] = "reported"
    deferred: Annotated[
        int,
        about(
            "Source records that were deferred at the answer's offsets, on all workers; -1: not "
            "known, of a time at which records may have been deferred."
        ),
    ]
    lag_records: Annotated[int, about(LAG_RECORDS)]
    level: Annotated[
        str,
        about(
            "Degradation level of the worker that answers: `NORMAL`, `SOFT`, `GRACEFUL`, "
            "`AGGRESSIVE`, `CIRCUIT_BREAK`. A query node has none: `NORMAL`."
        ),
    ]
    stalled: Annotated[
        bool, about("An open transaction has held a partition of the log back for over 2 s.")
    ]
    next_cursor: Annotated[str | None, about("Asks for the next page; null on the last page.")]
    elapsed_ms: Annotated[float, about("Time to the answer.")]
    stages_ms: Annotated[dict[str, float], about("The same by stage.")]


class Meta(PageProof, frozen=True, kw_only=True):
    """The proof that an answer carries.

    Rows asked again with `as_of=token` are the same, whatever was appended, committed, compacted
    or evicted since. Gaps are as known now: one that was open may later be shown as filled. With
    `known_at` they are as known then.
    """

    start_ns: Annotated[int | None, about("Start of the range as it was resolved, inclusive.")]
    end_ns: Annotated[int | None, about("End of the range as it was resolved, exclusive.")]
    order: Annotated[Literal["asc", "desc"], about("Of event time.")]
    rows: Annotated[int, about("Rows of the answer.")]
    rows_lake: Annotated[int, about("How many of them are from the lake.")]
    rows_tail: Annotated[int, about("How many of them are from the tail.")]
    settled: Annotated[
        bool, about("Complete, and no gap of the range is expected to become known any more.")
    ]
    dead_letters: Annotated[int, about("All dead letters there ever were.")]
    dead_letters_complete: Annotated[
        bool,
        about(
            "Counted are at least all up to the answer's offsets; with `min_offsets` also those of "
            "the records asked for."
        ),
    ]


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows in the table's columns, in the order asked for, with their proof."""

    rows: pa.Table
    meta: Meta


_PYTHON_TYPES: dict[pa.DataType, Any] = {
    pa.string(): str,
    pa.int32(): int,
    pa.int64(): int,
    pa.float64(): float,
    pa.bool_(): bool,
}


@lru_cache
def symbol_row(stream: Stream) -> type[msgspec.Struct]:
    """What is known of a key of one stream: of a symbol on an exchange.

    How many rows it has, the first and last event time, what its newest row (in the order of every
    answer) holds, and of rows that passed the sequencer what that found.
    """

    def of(prefix: str, names: tuple[str, ...]) -> list[tuple[str, Any]]:
        columns = [stream.table_schema.field(name) for name in names]
        return [(prefix + column.name, _python_type(column)) for column in columns]

    return msgspec.defstruct(
        f"{_identifier(stream.name)}SymbolRow",
        [
            *of("", stream.key),
            (stream.counted, int),
            ("first_time_ns", int),
            ("last_time_ns", int),
            *of("last_", stream.last),
            *of("", stream.identity),
            *([("counts", ScopeCounts)] if stream.is_sequenced else []),
        ],
        frozen=True,
        kw_only=True,
    )


def _python_type(field: pa.Field) -> Any:
    kind: Any = Decimal if pa.types.is_decimal(field.type) else _PYTHON_TYPES[field.type]
    return kind | None if field.nullable else kind


def _identifier(name: str) -> str:
    """A stream's name as a part of a struct's: `trades` as `Trades`, `bars-1m` as `Bars1m`."""
    return "".join(part.capitalize() for part in name.replace("_", "-").split("-"))


class SymbolsMeta(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of a list of symbols."""

    token: Annotated[
        str,
        about("Asks for these symbols again (`as_of=`); with `as_of` the token that was given."),
    ]
    offsets: Annotated[
        dict[int, int],
        about("Of the log: per partition the next offset that is not in the answer."),
    ]
    snapshot: Annotated[int | None, about("Of the lake; null: it had none.")]
    symbols: Annotated[int, about("How many are listed.")]
    known_at_ns: Annotated[
        int | None,
        about("The accepted time up to which rows and gaps are as they were known; null: now."),
    ] = None
    gaps_complete: Annotated[
        bool,
        about(
            "The sequence events were read at least as far as the rows, and this node has dropped "
            "none because of a limit."
        ),
    ]
    complete: Annotated[
        bool, about("Nothing is known to be missing of these symbols, at any time.")
    ]
    deferred: Annotated[int, about("Source records that were deferred at the answer's offsets.")]
    elapsed_ms: Annotated[float, about("Time to the answer.")]


@dataclass(frozen=True, slots=True)
class SymbolsAnswer:
    """Symbols, sorted by exchange and symbol, with their proof."""

    symbols: list[msgspec.Struct]  # `symbol_row`
    meta: SymbolsMeta


class SnapshotRow(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of the lake; `token` asks for exactly what it holds (`as_of=`)."""

    id: Annotated[int, about("Iceberg's id of the snapshot.")]
    parent: Annotated[int | None, about("The id of the snapshot before it.")]
    timestamp_ms: Annotated[int, about("When it was committed.")]
    operation: Annotated[str, about("Iceberg's operation, as `append`.")]
    rows_total: Annotated[int, about("Rows that it holds.")]
    rows_added: Annotated[int, about("Rows that it added.")]
    files: Annotated[int, about("Data files that it holds.")]
    offsets: Annotated[
        dict[int, int], about("Offset vector: per partition of the log the next offset it lacks.")
    ]
    commit_id: Annotated[str | None, about("The sink's id of the commit.")]
    token: Annotated[
        str | None,
        about("Asks for what it holds; null: another engine made it without offsets."),
    ]
    refs: Annotated[list[str], about("Branches and tags that point at it.")] = []


class SnapshotsMeta(msgspec.Struct, frozen=True):
    """How many snapshots are listed."""

    snapshots: Annotated[int, about("How many are listed.")]


class GapsMeta(msgspec.Struct, frozen=True, kw_only=True):
    """How far the list of gaps reaches."""

    gaps: Annotated[int, about("How many are listed.")]
    omitted: Annotated[int, about("How many more there are; with a range of time at most so many.")]
    positions: Annotated[
        dict[int, int],
        about("Of the topic of sequence events: per partition the next offset not read."),
    ]
    complete: Annotated[
        bool,
        about(
            "No gap was dropped because of a limit, as it is where no ledger is kept; and the "
            "events were read up to where they ended when the node began, with `known_at` up to "
            "then."
        ),
    ]
    token: Annotated[
        str | None,
        about(
            "Asks for these gaps again (`as_of=`), where they were read from the table of gap "
            "events; without a ledger, with `known_at`: for the rows that were known then."
        ),
    ] = None
    next_cursor: Annotated[
        str | None, about("Asks for the next page; null on the last page, or without a ledger.")
    ] = None
    known_at_ns: Annotated[
        int | None,
        about("The accepted time up to which rows and gaps are as they were known; null: now."),
    ] = None


@dataclass(frozen=True, slots=True)
class GapsAnswer:
    """Gaps by scope, session and number, with how far they reach."""

    gaps: tuple[Gap, ...]
    meta: GapsMeta
