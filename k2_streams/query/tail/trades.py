"""What a tail knows of trades alone: those that may come before others (`core.enrich.ticks`)."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from k2_streams.core.enrich.ticks import has_tick
from k2_streams.core.records.stream import TRADES
from k2_streams.query.selection import Selection
from k2_streams.query.tail.rows import Hit, hits_of
from k2_streams.query.tail.store import TailBatch

#: What is asked of a trade that may be the one before another.
PLACES_AND_PRICES = pa.schema(
    TRADES.table_schema.field(name)
    for name in (
        *(*TRADES.key, "log_partition"),
        *(TRADES.time, "log_offset", "log_row", "price"),
    )
)


def places_and_prices(batches: Iterable[TailBatch], selection: Selection) -> pa.Table:
    """The trades of a selection that come before others, in `PLACES_AND_PRICES`.

    Raises:
        TailMovedError: as `select`.
    """
    found = [_of_hit(hit) for hit in hits_of(TRADES, batches, selection)]
    return pa.Table.from_batches(found, PLACES_AND_PRICES)


def _of_hit(hit: Hit) -> pa.RecordBatch:
    batch, rows = hit.batch, hit.batch.rows
    at = hit.rows
    # An earlier version's rows are all new trades.
    is_new = "action" not in rows.schema.names
    action = pa.nulls(rows.num_rows) if is_new else rows.column("action")
    at = at[has_tick(action, rows.column("late")).to_numpy(zero_copy_only=False)[at]]
    names = {name: rows.column(name).take(pa.array(at)) for name in ("exchange", "symbol", "price")}
    given = names | {
        "log_partition": np.full(len(at), batch.log_partition),
        "exchange_time_ns": rows.column("exchange_time_ns").to_numpy()[at],
        "log_offset": np.full(len(at), batch.log_offset),
        "log_row": at,
    }
    columns = [
        (column if isinstance(column, pa.Array) else pa.array(column)).cast(field.type)
        for field in PLACES_AND_PRICES
        for column in [given[field.name]]
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PLACES_AND_PRICES)
