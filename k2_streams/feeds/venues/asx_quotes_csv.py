"""ASX quotes as comma-separated lines, numbered by the loader.

A value is `<sequence>,<symbol>,<line>`, where a line is date (MM/DD/YYYY), time (HH:MM:SS.mmm in
Sydney), bid, ask, bid volume, ask volume. As in the exchange's trades the loader counts rows per
symbol and day in file order. A price of zero is a side that nobody quotes.
"""

from typing import NamedTuple

import numpy as np

from k2_streams.feeds.decoding.decimals import is_zero
from k2_streams.feeds.decoding.decoded import Decoded, RawBatch, Refusal, RefusedError, readable
from k2_streams.feeds.decoding.keys import KeyColumn
from k2_streams.feeds.decoding.quote_columns import QuoteColumns, finish_quotes
from k2_streams.feeds.venues.asx_csv import AsxCsv, LineStamp, split, stamped

_COLUMNS = ("sequence", "symbol", "date", "time", "bid", "ask", "bid volume", "ask volume")
#: Where `NUMBERS` stand among a line's sides.
_ORDER = (0, 2, 1, 3)


class _Quote(NamedTuple):
    """A quote, its numbers still text: bid, ask and their volumes."""

    stamp: LineStamp
    time: str
    sides: list[str | None]


class AsxQuotesCsv:
    """The best bid and offer of the Australian Securities Exchange."""

    name = "asx.quotes.csv"
    description = AsxCsv.description

    def decode(self, batch: RawBatch) -> Decoded:
        """Decode a batch. A record's outcome does not depend on its neighbours."""
        messages: list[int] = []
        quotes: list[_Quote] = []
        refused: dict[int, Refusal] = {}
        for message, value in enumerate(batch.values):
            try:
                number, symbol, date, time, *sides = split(readable(value), _COLUMNS)
                stamp = stamped(batch.keys[message], number, symbol, date, time)
            except RefusedError as error:
                refused[message] = error.refusal
            else:
                messages.append(message)
                quotes.append(_Quote(stamp, f"{date} {time}", [*map(_offered, sides)]))
        stamps = [quote.stamp for quote in quotes]
        columns = QuoteColumns(
            message=np.array(messages, dtype=np.int32),
            numbers=[[quote.sides[at] for quote in quotes] for at in _ORDER],
            names=("bid", "bid volume", "ask", "ask volume"),
            time_name="time",
            times=[quote.time for quote in quotes],
            event_time_ns=np.array([stamp.time_ns for stamp in stamps], dtype=np.int64),
            sequence=np.array([stamp.sequence for stamp in stamps], dtype=np.int64),
            sessions=[stamp.day.name for stamp in stamps],
            trading_days=np.array([stamp.day.number for stamp in stamps], dtype=np.int32),
        )
        return finish_quotes(batch, KeyColumn.of(batch.keys), columns, refused)


def _offered(text: str) -> str | None:
    """A number, of which zero says that nobody quotes, whatever prices the instrument may have."""
    return None if is_zero(text) else text
