"""A stream: anything with a log. Accepted trades and quotes are streams, and so is each output.

Sink, tail and query read this description and know nothing else of what the rows mean. What belongs
to a raw topic (its feeds' rows, dead letters, events) is `core.records.source.RawInput`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from k2_streams.core.records import schema
from k2_streams.core.records.columns import plain_type, unsupported
from k2_streams.core.records.derived import (
    Derivation,
    Recovery,
    exchange_times,
    message_ids,
    ref_message_ids,
    ref_sessions,
    ref_trade_ids,
)
from k2_streams.core.records.log_record import LogBatch, WrittenRecord, decode_records

#: Where a row lies, and when its checkpoint was accepted: columns of every table, known only to
#: the reader of a record (`log_*`) or stored once per record.
POSITION = (
    pa.field("source_partition", pa.int32(), nullable=False),
    pa.field("log_partition", pa.int32(), nullable=False),
    pa.field("log_offset", pa.int64(), nullable=False),
    pa.field("log_row", pa.int32(), nullable=False),
    pa.field("accepted_time", schema.MICROS, nullable=False),
)
POSITION_NAMES = tuple(column.name for column in POSITION)
#: Where a row lies in its log; no two rows share one.
LOG_PLACE = ("log_partition", "log_offset", "log_row")

_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_KEY_TYPES = (pa.string(), pa.int32(), pa.int64())
#: Rows of records of a partition of a log, in their order; each batch is of one record.
RecordsDecoder = Callable[[int, Sequence[WrittenRecord]], tuple[LogBatch, ...]]
#: Topics and paths of K2's own.
RESERVED_STREAMS = frozenset({
    "trades", "quotes", "gaps", "symbols", "snapshots", "lines", "status", "levels", "dead-letter",
    "sequence-events", "sql", "bars", "gap_events", "gap-events", "dead_letters", "dead-letters",
    "coverage", "repairs",
})  # fmt: skip


class StreamError(ValueError):
    """A stream whose log could not be stored or queried; the text says what to change."""


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Anything with a log `k2.<name>`, an Iceberg table `<name>` and the path `/v1/<name>`.

    Attributes:
        name: see above.
        log_schema: the columns of a record of the log.
        table_schema: the columns of the table and of every answer, in this order: columns of the
            log (dictionaries as plain text), derived ones and those of `POSITION`.
        time: the column of event time, in nanoseconds since 1970 UTC; never null.
        key: the columns that name what a row is about, from the widest to the narrowest. They are
            what an answer selects by. Text or integers, never null.
        partition: the column of the table by whose day (UTC) the table is partitioned.
        sort: the columns by which the rows of a data file are sorted.
        derived: of the table's columns those that are computed from the log's, and how.
        recovered: of the log's columns those that are not in the table, and how they follow from
            it.
        last: columns that a key shows of its newest row, as `last_<column>`.
        identity: columns that a key shows of its newest row under their own names.
        added: columns that a table made by an earlier version lacks, in the order they were added;
            the last of `table_schema`, and nullable.
        is_corrected: whether rows may refer to rows that they correct (`core.query.corrections`).
        is_enriched: whether a query computes notional and tick where a row lacks them.
        is_sequenced: whether its rows have passed the sequencer, by exchange and symbol, so that a
            key shows what was found in its scope.
        counted: what the number of a key's rows is called.
        bounded: columns, beside those that queries ask by, whose bounds are kept of each file.
        repeated: Parquet paths with few values among the rows of a row group.
        topic: of its log; empty: `k2.<name>`.
        decode: makes rows of records of the log.
        about: of a log of a ledger (`core.ledger`) the stream that its findings are about. Such a
            log has a row per record, no headers of checkpoints, and is kept for ever.
    """

    name: str
    log_schema: pa.Schema
    table_schema: pa.Schema
    time: str
    key: tuple[str, ...]
    partition: str = "accepted_time"
    sort: tuple[str, ...] = ()
    derived: Mapping[str, Derivation] = field(default_factory=dict)
    recovered: Mapping[str, Recovery] = field(default_factory=dict)
    last: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    is_corrected: bool = False
    is_enriched: bool = False
    is_sequenced: bool = False
    counted: str = "rows"
    bounded: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    topic: str = ""
    decode: RecordsDecoder = decode_records
    about: str = ""

    @property
    def log(self) -> str:
        """The topic of its rows."""
        return self.topic or f"k2.{self.name}"

    @property
    def is_ledger(self) -> bool:
        """Whether its rows are findings about another stream's records."""
        return bool(self.about)

    @property
    def name_column(self) -> str:
        """The narrowest column of the key, by which the tail finds its batches: the symbol."""
        return self.key[-1]

    @property
    def order(self) -> tuple[str, ...]:
        """The order of every answer; it ends at the row's place in the log, so it is total."""
        return (self.time, *LOG_PLACE)

    @classmethod
    def of_output(
        cls,
        name: str,
        schema: pa.Schema,
        *,
        key: tuple[str, ...],
        time: str,
        last: tuple[str, ...] = (),
        partition: str = "accepted_time",
    ) -> "Stream":
        """The stream of rows that an agent emits.

        The table has the given columns, then those of `POSITION`.

        Args:
            name: lower-case letters, digits, `_` and `-`.
            schema: of the emitted rows; lists, structs and maps to any depth.
            key: as in the class.
            time: as in the class.
            last: as in the class.
            partition: a timestamp column of the schema, where the accepted time does not do.

        Raises:
            StreamError: a column cannot be stored, or time, key or partition do not fit the schema.
        """
        stream = cls._of_columns(name, schema, key=key, time=time, last=last, partition=partition)
        problems = [*_problems(stream)]
        if problems:
            raise StreamError(f"output {name}: {'; '.join(problems)}")
        return stream

    @classmethod
    def of_ledger(
        cls,
        name: str,
        schema: pa.Schema,
        *,
        about: str,
        topic: str,
        decode: RecordsDecoder,
        key: tuple[str, ...],
        time: str,
    ) -> "Stream":
        """The stream of findings that a topic holds, one per record; each as in the class."""
        return cls._of_columns(
            name, schema, key=key, time=time, about=about, topic=topic, decode=decode
        )

    @classmethod
    def _of_columns(
        cls, name: str, schema: pa.Schema, *, key: tuple[str, ...], time: str, **more: Any
    ) -> "Stream":
        """A stream whose table has the columns of its log, then those of `POSITION`."""
        return cls(
            name=name,
            log_schema=schema.remove_metadata(),
            table_schema=pa.schema(
                [*(column.with_type(plain_type(column.type)) for column in schema), *POSITION]
            ),
            time=time,
            key=key,
            sort=(*reversed(key), time),
            repeated=(
                *(column.name for column in schema if plain_type(column.type) == pa.string()),
                "source_partition",
                "log_partition",
                "log_offset",
                "accepted_time",
            ),
            **more,
        )

    @classmethod
    def of_raw(
        cls,
        name: str,
        columns: Sequence[pa.Field],
        *,
        last: tuple[str, ...] = (),
        counted: str = "rows",
    ) -> "Stream":
        """The stream of a raw topic's accepted rows, sequenced by exchange and symbol.

        Args:
            name: as in the class.
            columns: beside those that all have: who, which, when, and where it lies.
            last: as in the class.
            counted: as in the class.

        Raises:
            StreamError: a column cannot be stored, or has the name of another one.
        """
        shapes = schema.raw_shapes(columns)
        stream = cls(
            name=name,
            log_schema=shapes.log,
            table_schema=shapes.table,
            time="exchange_time_ns",
            key=("exchange", "symbol"),
            partition="exchange_time",
            sort=("symbol", "exchange_time_ns"),
            derived={"message_id": message_ids, "exchange_time": exchange_times},
            last=last,
            identity=("session", "sequence"),
            is_sequenced=True,
            counted=counted,
            bounded=("trading_date", "source_offset"),
            repeated=_REPEATED,
        )
        taken = {name for shape in schema.raw_shapes(()) for name in shape.names}
        problems = [
            f"rename {one.name}: rows have a column of that name"
            for one in columns
            if one.name in taken
        ]
        problems += unsupported(pa.schema(columns))
        problems = problems or _of_columns(stream)
        if not _NAME.fullmatch(name):
            problems.append("name must be 1 to 64 characters of a-z, 0-9, _ and -")
        if problems:
            raise StreamError(f"stream {name}: {'; '.join(problems)}")
        return stream


def _problems(stream: Stream) -> "list[str]":
    """What of an output's description cannot work."""
    found: list[str] = []
    if not _NAME.fullmatch(stream.name):
        found.append("name must be 1 to 64 characters of a-z, 0-9, _ and -")
    if stream.name in RESERVED_STREAMS:
        found.append("name is one of K2's own: choose another")
    names = stream.log_schema.names
    taken = sorted({name.lower() for name in names} & set(POSITION_NAMES))
    if taken:
        found.append(f"rename {', '.join(taken)}: the table has columns of these names")
    found += unsupported(stream.log_schema)
    if not found:
        found += _of_columns(stream)
    return found


def _of_columns(stream: Stream) -> list[str]:
    found: list[str] = []

    def check(role: str, name: str, kinds: tuple[pa.DataType, ...], expected: str) -> None:
        if name not in stream.table_schema.names:
            found.append(f"{role} names {name}, which is no column")
            return
        column = stream.table_schema.field(name)
        if column.type not in kinds or column.nullable:
            may = " or null" if column.nullable else ""
            found.append(f"{role} column {name} must be {expected}, found {column.type}{may}")

    check("time", stream.time, (pa.int64(),), "int64 (nanoseconds) and not nullable")
    for name in stream.key:
        check("key", name, _KEY_TYPES, "text, int32 or int64 and not nullable")
    if not stream.key:
        found.append("key must name at least one column")
    check("partition", stream.partition, (schema.MICROS,), f"{schema.MICROS} and not nullable")
    shown = [*stream.key, stream.counted, "first_time_ns", "last_time_ns"]
    shown += [f"last_{name}" for name in stream.last]
    if len(set(shown)) < len(shown):
        found.append(f"what a key shows has one name twice: {', '.join(shown)}")
    for name in stream.last:
        column = stream.log_schema.field(name) if name in stream.log_schema.names else None
        if column is None or not _may_be_shown(plain_type(column.type)):
            found.append(f"last names {name}, which is no column of text, number or true/false")
    return found


def _may_be_shown(kind: pa.DataType) -> bool:
    """Whether a key can show it of its newest row."""
    return pa.types.is_decimal(kind) or kind in (*_KEY_TYPES, pa.float64(), pa.bool_())


_REPEATED = (
    "exchange", "symbol", "session", "late", "source_partition", "source_index", "log_partition",
    "log_offset", "accepted_time", "trading_date", "conditions.list.element",
    "vendor.key_value.key", "vendor.key_value.value",
)  # fmt: skip

TRADES = Stream(
    name="trades",
    log_schema=schema.LOG,
    table_schema=schema.TRADES,
    time="exchange_time_ns",
    key=("exchange", "symbol"),
    partition="exchange_time",
    sort=("symbol", "exchange_time_ns"),
    derived={
        "message_id": message_ids,
        "ref_message_id": ref_message_ids,
        "exchange_time": exchange_times,
    },
    recovered={"ref_trade_id": ref_trade_ids, "ref_session": ref_sessions},
    last=("price", "quantity"),
    identity=("session", "sequence"),
    added=("action", "ref_message_id"),
    is_corrected=True,
    is_enriched=True,
    is_sequenced=True,
    counted="trades",
    bounded=("trading_date", "source_offset"),
    repeated=(*_REPEATED, "price", "side", "notional", "tick_direction"),
)

QUOTES = Stream.of_raw(
    "quotes",
    schema.QUOTE,
    last=("bid_price", "bid_quantity", "ask_price", "ask_quantity"),
    counted="quotes",
)

#: Those of market data, by name.
STREAMS = {stream.name: stream for stream in (TRADES, QUOTES)}
