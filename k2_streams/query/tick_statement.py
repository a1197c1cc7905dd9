"""The statement that finds the trade before each of some rows (`core.enrich.ticks`)."""

from collections.abc import Mapping, Sequence

from k2_streams.core.records.vector import Range
from k2_streams.core.time_units import DAY_NS
from k2_streams.query.selection import Selection
from k2_streams.query.statement import TAIL, Scan, Statement, Value, wanted
from k2_streams.query.tail.trades import PLACES_AND_PRICES

#: The name of the rows whose trade before is looked up (`core.enrich.ticks.Sought`).
SOUGHT = "sought_rows"
#: What `ticks` says in place of a row.
TOO_MANY = -1


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
        where = wanted(scan.stream, selection, {})
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
