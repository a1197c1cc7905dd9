"""Which rows are wanted, and in which order: what both parts of an answer are asked."""

from dataclasses import dataclass
from typing import Literal

from k2_streams.core.query.corrections import NOTHING, Superseded
from k2_streams.query.token import Key

#: Every row; what stands after corrections; or the rows that correct others, for that view's sake.
View = Literal["reported", "corrected", "corrections"]
REPORTED: View = "reported"
#: Of every answer; ties end at the row's place in the log, so it is total.
ORDER = ("exchange_time_ns", "log_partition", "log_offset", "log_row")


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows by name and time; empty names mean all, None no bound.

    In `ORDER`; no two rows are equal in it.
    """

    symbols: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    start_ns: int | None = None  # inclusive
    end_ns: int | None = None  # exclusive
    after: Key | None = None  # only rows behind it in the order
    descending: bool = False
    at_most: int | None = None  # the first rows of the order
    view: View = REPORTED
    superseded: Superseded = NOTHING  # rows that the view as corrected leaves out
