"""The one statement of an answer: planned files and the tail's rows, filtered, ordered, limited.

Values are bound, never written into the text; what is written comes from the stream's own columns.
A file's columns are found by their field ids, so that one written before a column was added gives
null for it.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from k2_streams.core.query.corrections import CANCEL
from k2_streams.core.query.keys import KeyValue
from k2_streams.core.records.schema import MICROS
from k2_streams.core.records.stream import LOG_PLACE, Stream
from k2_streams.query.selection import Selection

#: The name that the tail's rows have in a statement.
TAIL = "tail_rows"

_TYPES: dict[pa.DataType, str] = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    MICROS: "TIMESTAMP WITH TIME ZONE",
    pa.binary(): "BLOB",
}

Value = KeyValue | dt.datetime | list[str] | list[dict[str, str]]
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with its bound values."""

    sql: str
    values: tuple[Value, ...]


@dataclass(slots=True)
class Where:
    """Conditions, joined by AND."""

    terms: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def add(self, term: str, *values: Value) -> None:
        """Add a condition, with the values of its `?`."""
        self.terms.append(term)
        self.values.extend(values)

    def __str__(self) -> str:
        return f" WHERE {' AND '.join(self.terms)}" if self.terms else ""


@dataclass(frozen=True, slots=True)
class Scan:
    """How the files of a stream's table are read.

    Attributes:
        stream: whose files.
        columns: of an answer.
        source: a table function whose one value is the list of files.
        newest: the columns that a symbol shows of its newest row.
    """

    stream: Stream
    columns: str
    source: str
    newest: tuple[str, ...]

    @property
    def time(self) -> str:
        """The column of event time."""
        return quoted(self.stream.time)

    @property
    def order(self) -> tuple[str, ...]:
        """The columns of the order."""
        return tuple(quoted(name) for name in self.stream.order)


def scan_of(stream: Stream, field_ids: Mapping[str, int], newest: tuple[str, ...]) -> Scan:
    """The scan of a stream's files, whose columns have these field ids."""
    columns = ", ".join(
        f"{field_ids[field.name]}: {{'name': '{field.name}', 'type': '{_type(field.type)}', "
        "'default_value': NULL}"
        for field in stream.table_schema
    )
    source = f"read_parquet(?, hive_partitioning = false, schema = MAP {{{columns}}})"
    columns_of_answer = ", ".join(quoted(name) for name in stream.table_schema.names)
    return Scan(stream, columns_of_answer, source, newest)


def quoted(name: str) -> str:
    """A column's name as SQL has it: it may be a word of SQL's own, as `open` is none but `end` is.

    It holds letters, digits and `_` alone (`core.records.columns`).
    """
    return f'"{name}"'


def _type(kind: pa.DataType) -> str:
    """DuckDB's name of a column's type."""
    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"MAP({_type(kind.key_type)}, {_type(kind.item_type)})"
    if pa.types.is_struct(kind):
        fields = (kind.field(at) for at in range(kind.num_fields))
        return f"STRUCT({', '.join(f'{quoted(one.name)} {_type(one.type)}' for one in fields)})"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    return _TYPES[kind]


def rows(
    scan: Scan,
    files: Sequence[str],
    lake_limits: Mapping[int, int],
    tail: bool,
    selection: Selection,
) -> Statement:
    """The rows of a selection.

    Args:
        scan: how the files are read.
        files: that may hold rows of it; may be empty if `tail` is true.
        lake_limits: per partition the offset from which on the files' rows are not wanted.
        tail: whether `TAIL` has rows; they are those of the selection already.
        selection: what is wanted.
    """
    parts: list[str] = []
    values: list[Value] = []
    if files:
        where = wanted(scan.stream, selection, lake_limits)
        parts.append(f"SELECT {scan.columns} FROM {scan.source}{where}")  # noqa: S608 (bound values)
        values += [list(files), *where.values]
    if tail or not files:
        parts.append(f"SELECT {scan.columns} FROM {TAIL}")  # noqa: S608 (no value in it)
    direction = "DESC" if selection.descending else "ASC"
    order = ", ".join(f"{column} {direction}" for column in scan.order)
    sql = f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY {order}"  # noqa: S608 (no value)
    if selection.at_most is not None:
        sql += " LIMIT ?"
        values.append(selection.at_most)
    return Statement(sql, tuple(values))


def times(
    scan: Scan, files: Sequence[str], lake_limits: Mapping[int, int], selection: Selection
) -> Statement:
    """The event times of a selection's rows in the files; arguments are as in `rows`."""
    where = wanted(scan.stream, selection, lake_limits)
    return Statement(
        f"SELECT {scan.time} FROM {scan.source}{where}",  # noqa: S608 (bound values)
        (list(files), *where.values),
    )


def names(
    scan: Scan, files: Sequence[str], lake_limits: Mapping[int, int], selection: Selection
) -> Statement:
    """Which values of the key's narrowest column the files hold rows of (`name`): symbols."""
    where = wanted(scan.stream, selection, lake_limits)
    column = quoted(scan.stream.name_column)
    return Statement(
        f"SELECT DISTINCT {column} AS name FROM {scan.source}{where}",  # noqa: S608 (bound values)
        (list(files), *where.values),
    )


def accepted(scan: Scan, files: Sequence[str], from_us: int | None, to_us: int) -> Statement:
    """Per partition of the log (`log_partition`) the offset behind the files' last row (`next`).

    Of the rows accepted from `from_us` to `to_us`, both inclusive; None is no bound.
    """
    where = Where()
    where.add("accepted_time <= ?", _EPOCH + dt.timedelta(microseconds=to_us))
    if from_us is not None:
        where.add("accepted_time >= ?", _EPOCH + dt.timedelta(microseconds=from_us))
    return Statement(
        f"SELECT log_partition, max(log_offset) + 1 AS next FROM {scan.source}{where} "  # noqa: S608 (bound values)
        "GROUP BY log_partition",
        (list(files), *where.values),
    )


def summary(
    scan: Scan,
    files: Sequence[str],
    lake_limits: Mapping[int, int],
    lake_from: Mapping[int, int],
) -> Statement:
    """Per key: how many rows (`row_count`), the first and last time, and the newest row.

    Args:
        scan: how the files are read.
        files: to add up; none: `TAIL`.
        lake_limits: as in `rows`.
        lake_from: per partition the offset below which the files' rows are not wanted.
    """
    where = wanted(scan.stream, Selection(), lake_limits)
    for partition, offset in lake_from.items():
        where.add("NOT (log_partition = ? AND log_offset < ?)", partition, offset)
    given = ", ".join(f"'{name}': {quoted(name)}" for name in (*scan.newest, *LOG_PLACE))
    last = f"max_by({{{given}}}, ({', '.join(scan.order)}))"
    key = ", ".join(quoted(name) for name in scan.stream.key)
    source, values = (
        (f"{scan.source}{where}", [list(files), *where.values]) if files else (TAIL, [])
    )
    return Statement(
        f"SELECT {key}, count(*) AS row_count, min({scan.time}) AS first_time_ns, "  # noqa: S608 (bound values)
        f"max({scan.time}) AS last_time_ns, {last} AS newest FROM {source} GROUP BY {key}",
        tuple(values),
    )


def wanted(stream: Stream, selection: Selection, lake_limits: Mapping[int, int]) -> Where:
    """The conditions on the rows of the files."""
    where, time = Where(), quoted(stream.time)
    for column, found in selection.keys:
        if len(found) == 1:
            where.add(f"{quoted(column)} = ?", found[0])
        else:
            where.add(f"{quoted(column)} IN ({', '.join('?' * len(found))})", *found)
    if selection.start_ns is not None:
        where.add(f"{time} >= ?", selection.start_ns)
    if selection.end_ns is not None:
        where.add(f"{time} < ?", selection.end_ns)
    for partition, offset in lake_limits.items():
        where.add("NOT (log_partition = ? AND log_offset >= ?)", partition, offset)
    _in_view(where, selection)
    if selection.after is not None:
        after = selection.after
        sign = "<" if selection.descending else ">"
        # The first condition says nothing new: it is the one that files' statistics can answer.
        where.add(f"{time} {sign}= ?", after.time_ns)
        where.add(
            f"({', '.join(map(quoted, stream.order))}) {sign} (?, ?, ?, ?)",
            after.time_ns,
            after.log_partition,
            after.log_offset,
            after.log_row,
        )
    return where


def _in_view(where: Where, selection: Selection) -> None:
    """The conditions of the view."""
    if selection.view == "corrections":
        where.add("ref_message_id IS NOT NULL")
    elif selection.view == "corrected":
        where.add("action IS DISTINCT FROM ?", CANCEL)
    gone = selection.superseded
    if gone.trades:
        parts = ("exchange", "symbol", "session", "trade_id")
        own = ", ".join(f"'{name}': {name}" for name in parts)
        none = ", ".join(f"'{name}': ''" for name in parts)
        # Compared part by part: earlier versions' ids are not one text a message.
        where.add(
            f"CASE WHEN action IS NULL AND trade_id IS NOT NULL THEN {{{own}}} ELSE {{{none}}} END "
            "NOT IN (SELECT unnest(?))",
            [trade._asdict() for trade in sorted(gone.trades)],
        )
    if gone.corrections:
        where.add(
            "CASE WHEN action IS NULL THEN '' ELSE "
            "concat_ws(':', log_partition, log_offset, log_row) END NOT IN (SELECT unnest(?))",
            [":".join(map(str, place)) for place in sorted(gone.corrections)],
        )
