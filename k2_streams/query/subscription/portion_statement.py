"""The statement of a portion: planned files and the tail's rows between offsets, in order."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from k2_streams.query.statement import TAIL, Scan, Statement, Where, quoted, wanted

if TYPE_CHECKING:
    from k2_streams.query.subscription.portion import Portion

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def rows(
    scan: Scan, portion: "Portion", columns: Sequence[str], edge: int | None, *, tail: bool
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
        where.add(f"{quoted(columns[0])} <= ?", _value(portion, edge))
    source = f"SELECT {scan.columns} FROM {scan.source}{where}"  # noqa: S608 (bound values)
    if tail:
        source += f" UNION ALL SELECT {scan.columns} FROM {TAIL}"  # noqa: S608 (no value in it)
    order = ", ".join(map(quoted, columns))
    return Statement(
        f"SELECT * FROM ({source}) ORDER BY {order} LIMIT ?",  # noqa: S608 (no value in it)
        (list(portion.files), *where.values, portion.at_most),
    )


def moments(scan: Scan, portion: "Portion", columns: Sequence[str]) -> Statement:
    """The values of the order's first column in the files' rows of a portion."""
    where = _where(scan, portion, columns[0])
    return Statement(
        f"SELECT {quoted(columns[0])} FROM {scan.source}{where}",  # noqa: S608 (bound values)
        (list(portion.files), *where.values),
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
        where.add(f"{quoted(first)} < ?", _value(portion, portion.until))
    if portion.given is not None:
        given = portion.given
        where.add(
            "NOT (log_partition = ? AND log_offset = ? AND log_row < ?)",
            given.partition,
            given.offset,
            given.row,
        )
    return where


def _value(portion: "Portion", moment: int) -> int | dt.datetime:
    """A value of the order's first column, as the column has it."""
    if portion.order == "event":
        return moment
    return _EPOCH + dt.timedelta(microseconds=moment)
