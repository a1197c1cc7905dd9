"""The shapes a trade takes on its way: decoded rows, a record of `k2.trades`, the lake's table.

`ROWS` is what a feed's decoder gives, `LOG` what a record of `k2.trades` holds, `TRADES` what a
query and the Iceberg table show. The order of the columns is part of the contract.
"""

import pyarrow as pa

#: Exact for every recorded venue (KuCoin has 10 decimals, OKX ticks 12). Never through a float.
DECIMAL = pa.decimal128(38, 18)
#: Few distinct values a batch: the dictionary is on the wire once.
NAME = pa.dictionary(pa.int32(), pa.string())
MICROS = pa.timestamp("us", tz="UTC")
VENDOR = pa.map_(pa.string(), pa.string())

_WHAT_THE_VENUE_SAID = [
    pa.field("exchange", NAME, nullable=False),
    pa.field("symbol", NAME, nullable=False),
    pa.field("trade_id", pa.string()),
    pa.field("price", DECIMAL, nullable=False),
    pa.field("quantity", DECIMAL, nullable=False),
    pa.field("side", NAME),
    pa.field("conditions", pa.list_(pa.string())),
    pa.field("exchange_time_ns", pa.int64(), nullable=False),
    pa.field("receive_time_ns", pa.int64()),
    pa.field("trading_date", pa.date32(), nullable=False),
    pa.field("vendor", VENDOR),
]

#: What a feed's decoder gives: `message` is the index of the record in its batch, `source_index`
#: the place of the trade inside that record (0 where a message carries one trade).
ROWS = pa.schema(
    [
        pa.field("message", pa.int32(), nullable=False),
        pa.field("source_index", pa.int32(), nullable=False),
        *_WHAT_THE_VENUE_SAID,
    ]
)

#: One record of `k2.trades`. What is the same for a whole record (source partition, accepted time)
#: is in the schema's metadata; what follows from other columns (message_id) is not sent at all.
LOG = pa.schema(
    [
        *_WHAT_THE_VENUE_SAID,
        pa.field("session", NAME, nullable=False),
        pa.field("sequence", pa.int64()),
        pa.field("late", pa.bool_(), nullable=False),
        pa.field("ingest_time", MICROS, nullable=False),
        pa.field("notional", DECIMAL),
        pa.field("tick_direction", pa.string()),
        pa.field("source_offset", pa.int64(), nullable=False),
        pa.field("source_index", pa.int32(), nullable=False),
    ]
)

#: The Iceberg table `k2.trades` and every answer about trades.
TRADES = pa.schema(
    [
        pa.field("message_id", pa.string(), nullable=False),
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("sequence", pa.int64()),
        pa.field("trade_id", pa.string()),
        pa.field("price", DECIMAL, nullable=False),
        pa.field("quantity", DECIMAL, nullable=False),
        pa.field("side", pa.string()),
        pa.field("conditions", pa.list_(pa.string())),
        pa.field("exchange_time", MICROS, nullable=False),
        pa.field("exchange_time_ns", pa.int64(), nullable=False),
        pa.field("ingest_time", MICROS, nullable=False),
        pa.field("late", pa.bool_(), nullable=False),
        pa.field("notional", DECIMAL),
        pa.field("tick_direction", pa.string()),
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
)
