"""ASX quotes as comma-separated lines, numbered by the loader.

A value is `<sequence>,<symbol>,<line>`, where a line is date (MM/DD/YYYY), time (HH:MM:SS.mmm in
Sydney), bid, ask, bid volume, ask volume. As in the exchange's trades the loader counts rows per
symbol and day in file order. A price of zero is a side that nobody quotes.
"""

from typing import NamedTuple

import numpy as np

from k2_streams.feeds.asx_csv import AsxCsv, Stamp, split, stamped
from k2_streams.feeds.decoded import Decoded, RawBatch, Refusal, RefusedError, readable
from k2_streams.feeds.keys import KeyColumn
from k2_streams.feeds.quote_columns import QuoteColumns, finish_quotes

_COLUMNS = ("sequence", "symbol", "date", "time", "bid", "ask", "bid volume", "ask volume")


class _Quote(NamedTuple):
    """A quote, its numbers still text."""

    stamp: Stamp
    bid: str
    ask: str
    bid_volume: str
    ask_volume: str


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
                quotes.append(_Quote(stamp, *sides))
        stamps = [quote.stamp for quote in quotes]
        columns = QuoteColumns(
            message=np.array(messages, dtype=np.int32),
            numbers=[
                [quote.bid for quote in quotes],
                [quote.bid_volume for quote in quotes],
                [quote.ask for quote in quotes],
                [quote.ask_volume for quote in quotes],
            ],
            names=("bid", "bid volume", "ask", "ask volume"),
            time_name="time",
            event_time_ns=np.array([stamp.time_ns for stamp in stamps], dtype=np.int64),
            sequence=np.array([stamp.sequence for stamp in stamps], dtype=np.int64),
            sessions=[stamp.day.name for stamp in stamps],
            trading_days=np.array([stamp.day.number for stamp in stamps], dtype=np.int32),
        )
        return finish_quotes(batch, KeyColumn.of(batch.keys), columns, refused)
