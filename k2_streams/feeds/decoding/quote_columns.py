"""Quotes' own columns: two sides, each of which may be absent, and what that says of the market."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.records.schema import QUOTE_ROWS
from k2_streams.feeds.decoding import decimals
from k2_streams.feeds.decoding.columns import Explain, RowColumns, admits_price, laid_down, settle
from k2_streams.feeds.decoding.decoded import Decoded, RawBatch, Refusal
from k2_streams.feeds.decoding.keys import KeyColumn

#: The numbers of a quote, as the columns of a row have them.
NUMBERS = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
#: Those that the reference table may admit at or below zero.
PRICES = frozenset({"bid_price", "ask_price"})


@dataclass(slots=True, kw_only=True)
class QuoteColumns(RowColumns):
    """The quotes of a batch.

    A number that is None is absent; so is a zero, unless it is a price that the table admits.
    """

    numbers: list[list[Any]]  # a column for each of `NUMBERS`
    names: tuple[str, str, str, str] = NUMBERS  # as the feed has them
    time_name: str = "exchange_time_ns"


def finish_quotes(
    batch: RawBatch,
    keys: KeyColumn,
    quotes: QuoteColumns,
    refused: Mapping[int, Refusal],
    *,
    wrong: npt.NDArray[np.bool_] | None = None,
    explain: Explain | None = None,
) -> Decoded:
    """Check what all feeds of quotes check alike, and lay the batch down as columns.

    A quote is never refused for what it says of the market: `crossed`, `locked` and `one_sided`
    say it. The arguments are those of `columns.finish`.
    """
    values: dict[str, pa.Array] = {}
    faults = {}
    prices = admits_price(batch, keys, quotes)
    for column, name, texts in zip(NUMBERS, quotes.names, quotes.numbers, strict=True):
        admits = prices if column in PRICES else decimals.none_below
        values[column], faults[name] = decimals.optional_column(
            texts, admits, binary=quotes.binary_numbers
        )
    bid, ask = values["bid_price"], values["ask_price"]
    values["crossed"] = pc.fill_null(pc.greater(bid, ask), fill_value=False)
    values["locked"] = pc.fill_null(pc.equal(bid, ask), fill_value=False)
    values["one_sided"] = pc.xor(pc.is_null(bid), pc.is_null(ask))
    return settle(
        batch,
        keys,
        quotes,
        refused,
        rows=laid_down(QUOTE_ROWS, keys, quotes, values),
        faults=faults,
        event_time=quotes.time_name,
        wrong=wrong,
        explain=explain,
    )
