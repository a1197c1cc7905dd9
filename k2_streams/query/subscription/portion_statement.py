"""The statement of a portion: planned files and the tail's rows between offsets, in order."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from k2_streams.query.statement import TAIL, Scan, Statement, Where, quoted, wanted

if TYPE_CHECKING:
    from k2_streams.query.subscription.portion import Portion

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Edge = int | dt.datetime


def rows(
    scan: Scan, portion: "Portion", columns: Sequence[str], edge: Edge | None, *, tail: bool
) -> Statement:
    """The rows of a portion.

    Args:
        scan: how the files are read.
        portion: with at least one file.
        columns: of its order.
        edge: no row behind this value of the first of them is wanted; None: not known.
        tail: whether `TAIL` has rows; they are those of the portion already.
    """
    where = _where(scan, portion, columns[0])
    if edge is not None:
        where.add(f"{columns[0]} <= ?", edge)
    source = f"SELECT {scan.columns} FROM {scan.source}{where}"  # noqa: S608 (bound values)
    if tail:
        source += f" UNION ALL SELECT {scan.columns} FROM {TAIL}"  # noqa: S608 (no value in it)
    order = ", ".join(map(quoted, columns))
    return Statement(
        f"SELECT * FROM ({source}) ORDER BY {order} LIMIT ?",  # noqa: S608 (no value in it)
        (list(portion.files), *where.values, portion.at_most),
    )


def edge(scan: Scan, portion: "Portion", columns: Sequence[str]) -> Statement:
    """The value of the order's first column in the last of a portion's rows (`edge`).

    No row: there are fewer. One column is read and kept: of all, as many rows as are wanted would
    be kept several times over while all rows are looked through.
    """
    where = _where(scan, portion, columns[0])
    first = quoted(columns[0])
    return Statement(
        f"SELECT {first} AS edge FROM (SELECT {first} FROM {scan.source}{where} "  # noqa: S608 (bound values)
        f"UNION ALL SELECT {first} FROM {TAIL}) ORDER BY 1 LIMIT 1 OFFSET ?",
        (list(portion.files), *where.values, portion.at_most - 1),
    )


def _where(scan: Scan, portion: "Portion", first: str) -> Where:
    where = wanted(scan.stream, portion.selection, {})
    parts = portion.sources.lake
    if not parts:
        where.add("false")
        return where
    one = "(log_partition = ? AND log_offset >= ? AND log_offset < ?)"
    values = [value for p, part in parts.items() for value in (p, part.start, part.end)]
    where.add(f"({' OR '.join([one] * len(parts))})", *values)
    if portion.until is not None:
        bound: Edge = portion.until
        if portion.order == "log":
            bound = _EPOCH + dt.timedelta(microseconds=portion.until)
        where.add(f"{quoted(first)} < ?", bound)
    if portion.given is not None:
        given = portion.given
        where.add(
            "NOT (log_partition = ? AND log_offset = ? AND log_row < ?)",
            given.partition,
            given.offset,
            given.row,
        )
    return where
