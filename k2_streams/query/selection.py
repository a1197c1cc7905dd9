"""Which rows are wanted, and in which order: what both parts of an answer are asked."""

from dataclasses import dataclass
from typing import Literal

from k2_streams.core.query.corrections import NOTHING, Superseded
from k2_streams.core.query.keys import Keys, wanted_of
from k2_streams.query.token import Key

#: Every row; what stands after corrections; or the rows that correct others, for that view's sake.
View = Literal["reported", "corrected", "corrections"]
REPORTED: View = "reported"


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows by key and event time; None is no bound.

    In the order of every answer (`Stream.order`); no two rows are equal in it.
    """

    keys: Keys = ()
    start_ns: int | None = None  # inclusive
    end_ns: int | None = None  # exclusive
    after: Key | None = None  # only rows behind it in the order
    descending: bool = False
    at_most: int | None = None  # the first rows of the order
    view: View = REPORTED
    superseded: Superseded = NOTHING  # rows that the view as corrected leaves out

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols wanted, of a stream whose key names one; empty: all."""
        return tuple(str(value) for value in wanted_of(self.keys, "symbol"))

    @property
    def exchanges(self) -> tuple[str, ...]:
        """The same of exchanges."""
        return tuple(str(value) for value in wanted_of(self.keys, "exchange"))
