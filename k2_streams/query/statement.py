"""The one statement of an answer: planned files and the tail's rows, filtered, ordered, limited.

Values are bound, never written into the text; what is written comes from `core.schema` alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from k2_streams.core.schema import TRADES
from k2_streams.query.selection import Selection

#: The name that the tail's rows have in a statement.
TAIL = "tail_rows"
COLUMNS = ", ".join(field.name for field in TRADES)
#: The order of every answer.
ORDER = ("exchange_time_ns", "log_partition", "log_offset", "log_row")

Value = str | int | list[str]


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


def trades(
    files: Sequence[str], lake_limits: Mapping[int, int], tail: bool, selection: Selection
) -> Statement:
    """The rows of a selection.

    Args:
        files: that may hold rows of it; may be empty if `tail` is true.
        lake_limits: per partition the offset from which on the files' rows are not wanted.
        tail: whether `TAIL` has rows; they are those of the selection already.
        selection: what is wanted.
    """
    parts: list[str] = []
    values: list[Value] = []
    if files:
        where = wanted(selection, lake_limits)
        parts.append(f"SELECT {COLUMNS} FROM {_SCAN}{where}")  # noqa: S608 (bound values)
        values += [list(files), *where.values]
    if tail or not files:
        parts.append(f"SELECT {COLUMNS} FROM {TAIL}")  # noqa: S608 (no value in it)
    direction = "DESC" if selection.descending else "ASC"
    order = ", ".join(f"{column} {direction}" for column in ORDER)
    sql = f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY {order}"  # noqa: S608 (no value)
    if selection.at_most is not None:
        sql += " LIMIT ?"
        values.append(selection.at_most)
    return Statement(sql, tuple(values))


def names(files: Sequence[str], lake_limits: Mapping[int, int], selection: Selection) -> Statement:
    """Which exchanges and symbols the files hold rows of."""
    where = wanted(selection, lake_limits)
    return Statement(
        f"SELECT DISTINCT exchange, symbol FROM {_SCAN}{where}",  # noqa: S608 (bound values)
        (list(files), *where.values),
    )


def summary(
    files: Sequence[str], lake_limits: Mapping[int, int], lake_from: Mapping[int, int]
) -> Statement:
    """Per exchange and symbol: how many rows, the first and last time, and the newest row.

    Args:
        files: to add up; none: `TAIL`.
        lake_limits: as in `trades`.
        lake_from: per partition the offset below which the files' rows are not wanted.
    """
    where = wanted(Selection(), lake_limits)
    for partition, offset in lake_from.items():
        where.add("NOT (log_partition = ? AND log_offset < ?)", partition, offset)
    newest = (
        "max_by({'price': price, 'quantity': quantity, 'session': session, 'sequence': sequence, "
        "'log_partition': log_partition, 'log_offset': log_offset, 'log_row': log_row}, "
        f"({', '.join(ORDER)}))"
    )
    source, values = (f"{_SCAN}{where}", [list(files), *where.values]) if files else (TAIL, [])
    return Statement(
        "SELECT exchange, symbol, count(*) AS trades, min(exchange_time_ns) AS first_time_ns, "  # noqa: S608 (bound values)
        f"max(exchange_time_ns) AS last_time_ns, {newest} AS newest "
        f"FROM {source} GROUP BY exchange, symbol",
        tuple(values),
    )


_SCAN = "read_parquet(?, hive_partitioning = false, union_by_name = false)"


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
