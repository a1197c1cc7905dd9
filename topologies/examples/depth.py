"""Order-book snapshots as a raw stream of their own: each side a list of levels, best first.

k2.depth.raw --> accept --> k2.depth --> Iceberg k2.depth, /v1/depth, /v1/gaps
                   |
                   '--> k2.depth.sequence-events, k2.depth.dead-letter

A record is JSON, its key `EXCHANGE:SYMBOL`:
{"exchange": "X", "symbol": "A", "sequence": 5, "time_ns": 1786310000000000000,
 "bids": [["99.5", "3"], ["99", "10"]], "asks": [["100", "1"]]}

faust -A topologies.examples.depth worker -l info
"""

from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa

import k2_streams as k2
from k2_streams.core.sequence.sessions import SessionRule
from k2_streams.feeds.decoding import decimals
from k2_streams.feeds.decoding.columns import RowColumns, laid_down, settle
from k2_streams.feeds.decoding.decoded import (
    Decoded,
    RawBatch,
    Reason,
    RefusedError,
    readable,
    refuse,
)
from k2_streams.feeds.decoding.keys import KeyColumn, agreeing
from k2_streams.feeds.decoding.native import Known, parse
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.feed import feeds_of

DECIMAL = pa.decimal128(38, 18)
SIDE = pa.list_(
    pa.field(
        "level",
        pa.struct(
            [
                pa.field("price", DECIMAL, nullable=False),
                pa.field("quantity", DECIMAL, nullable=False),
            ]
        ),
        nullable=False,
    )
)
DEPTH = k2.RawInput.of(
    "depth",
    [pa.field("bids", SIDE, nullable=False), pa.field("asks", SIDE, nullable=False)],
)


Integer = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Book(msgspec.Struct):
    """A record, its numbers still text."""

    exchange: str
    symbol: str
    sequence: Integer
    time_ns: Integer
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


DECODER = msgspec.json.Decoder(Book)


class DepthFeed:
    """The feed of records without a header."""

    name = "canonical"
    description = Description(
        counts_over=CountsOver.SYMBOL,
        number="sequence",
        session_rule=SessionRule.FALL,
        session_starts="a fall of the number after an hour of silence",
        identity=Identity.SEQUENCE,
        trade_id=None,
        time="time_ns",
        time_unit=TimeUnit.NANOSECONDS,
    )

    def decode(self, batch: RawBatch) -> Decoded:
        """Decode a batch. A record's outcome does not depend on its neighbours."""
        books: dict[int, Book] = {}
        sides: dict[str, list[Any]] = {"bids": [], "asks": []}
        refused = {}
        for index, value in enumerate(batch.values):
            try:
                book = parse(DECODER, readable(value))
                agreeing(batch.keys[index], book.exchange, book.symbol)
                known = Known(book.sequence, None, book.time_ns)
                bids = levels("bids", book.bids, known, descending=True)
                asks = levels("asks", book.asks, known, descending=False)
            except RefusedError as error:
                refused[index] = error.refusal
            else:
                books[index] = book
                sides["bids"].append(bids)
                sides["asks"].append(asks)
        columns = RowColumns(
            message=np.array(list(books), np.int32),
            event_time_ns=np.array([book.time_ns for book in books.values()], np.int64),
            sequence=np.array([book.sequence for book in books.values()], np.int64),
        )
        keys = KeyColumn.of(batch.keys)
        values = {side: pa.array(found, SIDE) for side, found in sides.items()}
        rows = laid_down(DEPTH.row_schema, keys, columns, values)
        return settle(batch, keys, columns, refused, rows=rows, faults={}, event_time="time_ns")


def levels(side: str, found: list[tuple[str, str]], known: Known, *, descending: bool) -> list[Any]:
    """One side of a book, exact.

    Raises:
        RefusedError: a number is none, or the levels are not in order.
    """
    try:
        exact = [(decimals.number(price), decimals.number(size)) for price, size in found]
    except decimals.DecimalTextError as error:
        raise refuse(error.reason, side, str(error), *known) from None
    prices: list[Decimal] = [price for price, _ in exact]
    if any((one <= two) if descending else (one >= two) for one, two in pairwise(prices)):
        detail = f"expected the best price first, found {prices}"
        raise refuse(Reason.OUT_OF_RANGE, side, detail[:200], *known)
    return [{"price": price, "quantity": size} for price, size in exact]


app = k2.App("depth", web_port=6266)
raw = app.source(DEPTH, feeds=feeds_of(DepthFeed()))


@app.agent(raw, tables=[k2.SEQUENCE, k2.DEDUP], outputs=[raw.accepted])
def accept(records: k2.RawRecords, ctx: k2.RawContext) -> None:
    """Each book once, in order, with every gap known."""
    sequenced = ctx.sequence(ctx.decode(records))
    ctx.emit(raw.accepted, ctx.deduplicate(sequenced))
