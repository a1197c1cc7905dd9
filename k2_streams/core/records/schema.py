"""The shapes that data take on their way: decoded rows, a record of the log, the lake's table.

`ROWS` is what a feed's decoder gives, `LOG` what a record of `k2.trades` holds, `TRADES` what a
query and the Iceberg table show; the same of quotes. The order of the columns is part of the
contract.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

#: Exact for every recorded venue (KuCoin has 10 decimals, OKX ticks 12). Never through a float.
DECIMAL = pa.decimal128(38, 18)
#: Few distinct values a batch: the dictionary is on the wire once.
NAME = pa.dictionary(pa.int32(), pa.string())
MICROS = pa.timestamp("us", tz="UTC")
VENDOR = pa.map_(pa.string(), pa.string())

#: Where a row was in its batch: `message` is the index of the record, `source_index` the place of
#: the row inside that record (0 where a message carries one).
_SOURCE = [
    pa.field("message", pa.int32(), nullable=False),
    pa.field("source_index", pa.int32(), nullable=False),
]
_INSTRUMENT = [
    pa.field("exchange", NAME, nullable=False),
    pa.field("symbol", NAME, nullable=False),
]
_WHEN = [
    pa.field("conditions", pa.list_(pa.string())),
    pa.field("exchange_time_ns", pa.int64(), nullable=False),
    pa.field("receive_time_ns", pa.int64()),
    pa.field("trading_date", pa.date32(), nullable=False),
    pa.field("vendor", VENDOR),
]
#: When the broker appended the record to the source.
INGEST_TIME = pa.field("ingest_time", MICROS, nullable=False)
#: What the sequencer found, and where the record lies in the raw topic.
_SEQUENCED = [
    pa.field("session", NAME, nullable=False),
    pa.field("sequence", pa.int64()),
    pa.field("late", pa.bool_(), nullable=False),
    INGEST_TIME,
]
_RAW_PLACE = [
    pa.field("source_offset", pa.int64(), nullable=False),
    pa.field("source_index", pa.int32(), nullable=False),
]

#: The columns of every table: who and which, when, and where it lies.
_IDENTITY = [
    pa.field("message_id", pa.string(), nullable=False),
    pa.field("exchange", pa.string(), nullable=False),
    pa.field("symbol", pa.string(), nullable=False),
    pa.field("session", pa.string(), nullable=False),
    pa.field("sequence", pa.int64()),
]
_TIMES = [
    pa.field("conditions", pa.list_(pa.string())),
    pa.field("exchange_time", MICROS, nullable=False),
    pa.field("exchange_time_ns", pa.int64(), nullable=False),
    INGEST_TIME,
    pa.field("late", pa.bool_(), nullable=False),
]
_PLACE = [
    pa.field("source_partition", pa.int32(), nullable=False),
    pa.field("source_offset", pa.int64(), nullable=False),
    pa.field("source_index", pa.int32(), nullable=False),
    pa.field("log_partition", pa.int32(), nullable=False),
    pa.field("log_offset", pa.int64(), nullable=False),
    pa.field("log_row", pa.int32(), nullable=False),
    pa.field("receive_time_ns", pa.int64()),
    pa.field("accepted_time", MICROS, nullable=False),
    pa.field("trading_date", pa.date32(), nullable=False),
    pa.field("vendor", VENDOR),
]

_TRADE = [
    pa.field("trade_id", pa.string()),
    pa.field("price", DECIMAL, nullable=False),
    pa.field("quantity", DECIMAL, nullable=False),
    pa.field("side", NAME),
]
#: What a cancel or a correction says of the trade it changes; all null of a new trade.
_CORRECTION = [
    pa.field("action", NAME),
    pa.field("ref_trade_id", pa.string()),
    pa.field("ref_session", pa.string()),
]
#: What a worker under load leaves out, and a query computes then.
_ENRICHED = [
    pa.field("notional", DECIMAL),
    pa.field("tick_direction", pa.string()),
]
ENRICHED = frozenset(column.name for column in _ENRICHED)


def _texts(fields: Sequence[pa.Field]) -> list[pa.Field]:
    """The fields as a table has them: names are plain text."""
    return [field.with_type(pa.string()) if field.type == NAME else field for field in fields]


#: What a feed's decoder gives of trades.
ROWS = pa.schema([*_SOURCE, *_INSTRUMENT, *_TRADE, *_WHEN, *_CORRECTION])

#: One record of `k2.trades`. What is the same for a whole record (source partition, accepted time)
#: is in the schema's metadata; what follows from other columns (message_id) is not sent at all.
LOG = pa.schema([*_INSTRUMENT, *_TRADE, *_WHEN, *_SEQUENCED, *_ENRICHED, *_RAW_PLACE, *_CORRECTION])

#: The Iceberg table `k2.trades` and every answer about trades.
TRADES = pa.schema(
    [
        *_IDENTITY,
        *_texts(_TRADE),
        *_TIMES,
        *_ENRICHED,
        *_PLACE,
        pa.field("action", pa.string()),
        pa.field("ref_message_id", pa.string()),
    ]
)

#: The best bid and offer. A side without a price is null: nobody quotes it.
QUOTE = [
    pa.field("bid_price", DECIMAL),
    pa.field("bid_quantity", DECIMAL),
    pa.field("ask_price", DECIMAL),
    pa.field("ask_quantity", DECIMAL),
    pa.field("crossed", pa.bool_(), nullable=False),  # bid above ask
    pa.field("locked", pa.bool_(), nullable=False),  # bid equals ask
    pa.field("one_sided", pa.bool_(), nullable=False),  # one side alone is quoted
]


class RawShapes(NamedTuple):
    """The three shapes of a raw topic's data."""

    rows: pa.Schema  # what a feed's decoder gives
    log: pa.Schema
    table: pa.Schema


def raw_shapes(columns: Sequence[pa.Field]) -> RawShapes:
    """Those of a raw topic whose rows have these columns, and what all rows have besides."""
    return RawShapes(
        pa.schema([*_SOURCE, *_INSTRUMENT, *columns, *_WHEN]),
        pa.schema([*_INSTRUMENT, *columns, *_WHEN, *_SEQUENCED, *_RAW_PLACE]),
        pa.schema([*_IDENTITY, *_texts(columns), *_TIMES, *_PLACE]),
    )


#: The same three shapes of quotes.
QUOTE_ROWS, QUOTE_LOG, QUOTES = raw_shapes(QUOTE)
