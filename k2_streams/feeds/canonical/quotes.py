"""K2's own format of quotes: one JSON object a record, as `k2.quotes.raw`'s contract has it."""

from dataclasses import replace
from typing import Any, Generic

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Raw

from k2_streams.feeds.canonical.feed import CanonicalFeed, Unknown, common_columns, number_texts
from k2_streams.feeds.canonical.fields import price_or_none, quantity_or_none
from k2_streams.feeds.canonical.record import CanonicalRecord, Need, Number, Shape
from k2_streams.feeds.decoding.columns import Explain
from k2_streams.feeds.decoding.decoded import Decoded, RawBatch, Refusal
from k2_streams.feeds.decoding.keys import KeyColumn
from k2_streams.feeds.decoding.quote_columns import NUMBERS, QuoteColumns, finish_quotes
from k2_streams.feeds.description import Identity


class CanonicalQuote(CanonicalRecord, Generic[Number], kw_only=True, gc=False):
    """A canonical quote as it stands. Both prices must be named: null is no such side.

    So is zero, unless the reference table admits a price of zero.
    """

    bid_price: Number | None
    ask_price: Number | None
    bid_quantity: Number | None = None
    ask_quantity: Number | None = None


class StrictQuote(
    CanonicalQuote[Number], Generic[Number], forbid_unknown_fields=True, kw_only=True, gc=False
):
    """A canonical quote that has no field that K2 does not know."""


QUOTE: Shape[CanonicalQuote[Any]] = Shape(
    CanonicalQuote,
    before={
        "bid_price": (price_or_none, Need.FIELD),
        "bid_quantity": (quantity_or_none, Need.NONE),
        "ask_price": (price_or_none, Need.FIELD),
        "ask_quantity": (quantity_or_none, Need.NONE),
    },
    behind={},
    strict=msgspec.json.Decoder(StrictQuote[str]),
    strict_raw=msgspec.json.Decoder(StrictQuote[Raw]),
    loose=msgspec.json.Decoder(CanonicalQuote[Raw]),
)


def _finish(
    batch: RawBatch,
    keys: KeyColumn,
    messages: npt.NDArray[np.int32],
    lines: list[CanonicalQuote[Any]],
    unknown: Unknown,
    refused: dict[int, Refusal],
    wrong: npt.NDArray[np.bool_],
    explain: Explain,
) -> Decoded:
    numbers, binary = number_texts(lines, *NUMBERS)
    quotes = QuoteColumns(
        **common_columns(messages, lines, unknown), numbers=numbers, binary_numbers=binary
    )
    return finish_quotes(batch, keys, quotes, refused, wrong=wrong, explain=explain)


class CanonicalQuotes(CanonicalFeed[CanonicalQuote[Any]]):
    """The feed of quotes without a header."""

    description = replace(CanonicalFeed.description, identity=Identity.SEQUENCE, trade_id=None)

    def __init__(self) -> None:
        super().__init__(QUOTE, _finish)
