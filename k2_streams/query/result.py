"""What the engine gives, as an answer's rows."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from k2_streams.core.query.corrections import Correction
from k2_streams.core.records.columns import table_as
from k2_streams.core.records.identity import TradeId, trade_of
from k2_streams.core.records.stream import LOG_PLACE, Stream
from k2_streams.query.token import Key

_CORRECTION = ("exchange", "symbol", "session", "sequence", "trade_id", "action", "ref_message_id")


def as_rows(stream: Stream, table: pa.Table) -> pa.Table:
    """The engine's rows in the exact types, which it knows but for names and nullability."""
    return table_as(table, stream.table_schema)


def copied(rows: pa.Table, start: int, count: int) -> pa.Table:
    """Some of the rows in memory of their own, where a slice would keep all of it.

    In a twentieth of the time of `take`, which puts all of a table's chunks together first.
    """
    part = rows.slice(start, count)
    # Of two arrays, even if one is empty, both are copied.
    return pa.concat_tables([part, part.slice(0, 0)]).combine_chunks()


def key_of_last(stream: Stream, rows: pa.Table) -> Key:
    """The place of the last row."""
    last = rows.num_rows - 1

    def value(name: str) -> int:
        return int(rows.column(name)[last].as_py())

    return Key(*(value(name) for name in stream.order))


def rows_from_lake(rows: pa.Table, held: Mapping[int, int]) -> int:
    """How many rows the snapshot gave: those below its vector."""
    partitions = rows.column("log_partition").to_numpy()
    offsets = rows.column("log_offset").to_numpy()
    return sum(
        int(np.count_nonzero((partitions == partition) & (offsets < offset)))
        for partition, offset in held.items()
    )


def corrections_of(rows: pa.Table) -> Iterator[Correction]:
    """Rows that refer to others, by the parts of what they and the others are called."""
    places = zip(*(rows.column(name).to_pylist() for name in LOG_PLACE), strict=True)
    columns = (rows.column(name).to_pylist() for name in _CORRECTION)
    for (exchange, symbol, session, sequence, trade_id, action, ref), place in zip(
        zip(*columns, strict=True), places, strict=True
    ):
        refers_to = trade_of(ref, exchange, symbol)
        repeats = trade_id is None or trade_id == refers_to.trade_id
        own = None if repeats else TradeId(exchange, symbol, session, trade_id)
        yield Correction(own, refers_to, action, session, sequence, place)
