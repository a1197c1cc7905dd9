"""The one statement of an answer: planned files and the tail's rows, filtered, ordered, limited.

Values are bound, never written into the text; what is written comes from the stream's own columns.
A file's columns are found by their field ids, so that one written before a column was added gives
null for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from k2_streams.core.enrich.ticks import DAY_NS
from k2_streams.core.query.corrections import CANCEL
from k2_streams.core.records.schema import DECIMAL, MICROS
from k2_streams.core.records.stream import Stream
from k2_streams.core.records.vector import Range
from k2_streams.query.selection import ORDER, Selection
from k2_streams.query.tail.rows import PLACES_AND_PRICES

#: The name that the tail's rows have in a statement.
TAIL = "tail_rows"
#: The name of the rows whose trade before is looked up (`core.enrich.ticks.Sought`).
SOUGHT = "sought_rows"
#: What `ticks` says in place of a row.
TOO_MANY = -1

_TYPES: dict[pa.DataType, str] = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    MICROS: "TIMESTAMP WITH TIME ZONE",
    DECIMAL: "DECIMAL(38, 18)",
}

Value = str | int | list[str] | list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with its bound values."""

    sql: str
    values: tuple[Value, ...]


@dataclass(slots=True)
class _Where:
    """Conditions, joined by AND."""

    terms: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def add(self, term: str, *values: Value) -> None:
        self.terms.append(term)
        self.values.extend(values)

    def __str__(self) -> str:
        return f" WHERE {' AND '.join(self.terms)}" if self.terms else ""


@dataclass(frozen=True, slots=True)
class Scan:
    """How the files of a stream's table are read.

    Attributes:
        columns: of an answer.
        source: a table function whose one value is the list of files.
        newest: the columns that a symbol shows of its newest row.
    """

    columns: str
    source: str
    newest: tuple[str, ...]


def scan_of(stream: Stream, field_ids: Mapping[str, int], newest: tuple[str, ...]) -> Scan:
    """The scan of a stream's files, whose columns have these field ids."""
    columns = ", ".join(
        f"{field_ids[field.name]}: {{'name': '{field.name}', 'type': '{_type(field.type)}', "
        "'default_value': NULL}"
        for field in stream.table_schema
    )
    source = f"read_parquet(?, hive_partitioning = false, schema = MAP {{{columns}}})"
    return Scan(", ".join(stream.table_schema.names), source, newest)


def _type(kind: pa.DataType) -> str:
    """DuckDB's name of a column's type."""
    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"MAP({_type(kind.key_type)}, {_type(kind.item_type)})"
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
        where = wanted(selection, lake_limits)
        parts.append(f"SELECT {scan.columns} FROM {scan.source}{where}")  # noqa: S608 (bound values)
        values += [list(files), *where.values]
    if tail or not files:
        parts.append(f"SELECT {scan.columns} FROM {TAIL}")  # noqa: S608 (no value in it)
    direction = "DESC" if selection.descending else "ASC"
    order = ", ".join(f"{column} {direction}" for column in ORDER)
    sql = f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY {order}"  # noqa: S608 (no value)
    if selection.at_most is not None:
        sql += " LIMIT ?"
        values.append(selection.at_most)
    return Statement(sql, tuple(values))


def edge(
    scan: Scan,
    files: Sequence[str],
    lake_limits: Mapping[int, int],
    selection: Selection,
) -> Statement:
    """The event time of the last of a selection's first rows (`edge`); no row: they are fewer.

    Arguments are as in `rows`. One column is read and kept; of all of them, as many rows would not
    fit into the memory of a statement.
    """
    where = wanted(selection, lake_limits)
    direction = "DESC" if selection.descending else "ASC"
    assert selection.at_most is not None  # noqa: S101 - asked for only then
    return Statement(
        f"SELECT exchange_time_ns AS edge FROM (SELECT exchange_time_ns FROM {scan.source}{where} "  # noqa: S608 (bound values)
        f"UNION ALL SELECT exchange_time_ns FROM {TAIL}) ORDER BY 1 {direction} LIMIT 1 OFFSET ?",
        (list(files), *where.values, selection.at_most - 1),
    )


def names(
    scan: Scan, files: Sequence[str], lake_limits: Mapping[int, int], selection: Selection
) -> Statement:
    """Which exchanges and symbols the files hold rows of."""
    where = wanted(selection, lake_limits)
    return Statement(
        f"SELECT DISTINCT exchange, symbol FROM {scan.source}{where}",  # noqa: S608 (bound values)
        (list(files), *where.values),
    )


def summary(
    scan: Scan,
    files: Sequence[str],
    lake_limits: Mapping[int, int],
    lake_from: Mapping[int, int],
) -> Statement:
    """Per exchange and symbol: how many rows, the first and last time, and the newest row.

    Args:
        scan: how the files are read.
        files: to add up; none: `TAIL`.
        lake_limits: as in `rows`.
        lake_from: per partition the offset below which the files' rows are not wanted.
    """
    where = wanted(Selection(), lake_limits)
    for partition, offset in lake_from.items():
        where.add("NOT (log_partition = ? AND log_offset < ?)", partition, offset)
    given = ", ".join(f"'{name}': {name}" for name in (*scan.newest, *ORDER[1:]))
    last = f"max_by({{{given}}}, ({', '.join(ORDER)}))"
    source, values = (
        (f"{scan.source}{where}", [list(files), *where.values]) if files else (TAIL, [])
    )
    return Statement(
        "SELECT exchange, symbol, count(*) AS rows, min(exchange_time_ns) AS first_time_ns, "  # noqa: S608 (bound values)
        f"max(exchange_time_ns) AS last_time_ns, {last} AS newest "
        f"FROM {source} GROUP BY exchange, symbol",
        tuple(values),
    )


def _earlier(
    scan: Scan, files: Sequence[str], window: Mapping[int, Range], selection: Selection
) -> Statement:
    """The trades of a selection in `PLACES_AND_PRICES`; `TAIL` has the tail's.

    Args:
        scan: how the files are read.
        files: that may hold some.
        window: per partition the offsets wanted; of other partitions none is.
        selection: what is wanted.
    """
    columns = ", ".join(PLACES_AND_PRICES.names)
    parts = [f"SELECT {columns} FROM {TAIL}"]  # noqa: S608 (no value in it)
    values: list[Value] = []
    if files:
        where = wanted(selection, {})
        where.add("action IS NULL AND NOT late")
        # What files' statistics can answer comes first.
        where.add("log_offset >= ?", min(part.start for part in window.values()))
        where.add("log_offset < ?", max(part.end for part in window.values()))
        of_partition = "(log_partition = ? AND log_offset >= ? AND log_offset < ?)"
        where.add(
            f"({' OR '.join([of_partition] * len(window))})",
            *(value for p, part in window.items() for value in (p, part.start, part.end)),
        )
        parts.append(f"SELECT {columns} FROM {scan.source}{where}")  # noqa: S608 (bound values)
        values += [list(files), *where.values]
    return Statement(" UNION ALL ".join(parts), tuple(values))


def ticks(
    scan: Scan,
    files: Sequence[str],
    window: Mapping[int, Range],
    selection: Selection,
    at_most: int,
) -> Statement:
    """By row of `SOUGHT` (`at`) that has a trade before it: the sign of the change of price.

    As `core.enrich.ticks` defines the trade before, as far as it lies in the window. One row
    `TOO_MANY` alone says that more than `at_most` rows would have to be sorted.
    """
    earlier = _earlier(scan, files, window, selection)
    rise = "(s.price > e.price)::TINYINT - (s.price < e.price)::TINYINT"
    place = "log_offset::HUGEINT * 4294967296 + log_row"
    of_one = "exchange, symbol, log_partition, day"
    same = " AND ".join(f"s.{name} = e.{name}" for name in of_one.split(", "))
    return Statement(
        "WITH e AS MATERIALIZED (SELECT exchange, symbol, log_partition, price, "  # noqa: S608 (bound values)
        f"exchange_time_ns // {DAY_NS} AS day, {place} AS place FROM ({earlier.sql}) LIMIT ?), "
        "counted AS (SELECT count(*) AS rows FROM e), "
        f"s AS (SELECT *, {place} AS place FROM {SOUGHT}, counted WHERE rows <= ?) "
        f"SELECT s.at, ({rise})::TINYINT AS sign FROM s ASOF JOIN e "
        f"ON {same} AND s.place > e.place "
        f"UNION ALL SELECT {TOO_MANY}::BIGINT, 0::TINYINT FROM counted WHERE rows > ?",
        (*earlier.values, at_most + 1, at_most, at_most),
    )


def wanted(selection: Selection, lake_limits: Mapping[int, int]) -> _Where:
    """The conditions on the rows of the files."""
    where = _Where()
    for column, found in (("symbol", selection.symbols), ("exchange", selection.exchanges)):
        if len(found) == 1:
            where.add(f"{column} = ?", found[0])
        elif found:
            where.add(f"{column} IN ({', '.join('?' * len(found))})", *found)
    if selection.start_ns is not None:
        where.add("exchange_time_ns >= ?", selection.start_ns)
    if selection.end_ns is not None:
        where.add("exchange_time_ns < ?", selection.end_ns)
    for partition, offset in lake_limits.items():
        where.add("NOT (log_partition = ? AND log_offset >= ?)", partition, offset)
    _in_view(where, selection)
    if selection.after is not None:
        after = selection.after
        sign = "<" if selection.descending else ">"
        # The first condition says nothing new: it is the one that files' statistics can answer.
        where.add(f"exchange_time_ns {sign}= ?", after.exchange_time_ns)
        where.add(
            f"({', '.join(ORDER)}) {sign} (?, ?, ?, ?)",
            after.exchange_time_ns,
            after.log_partition,
            after.log_offset,
            after.log_row,
        )
    return where


def _in_view(where: _Where, selection: Selection) -> None:
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
