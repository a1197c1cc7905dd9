"""Columns of a table that follow from other columns of the same row and are not in the log."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.records.identity import (
    BY_TRADE_ID,
    SEPARATOR,
    TradeId,
    escaped_column,
    trade_of,
)
from k2_streams.core.records.schema import MICROS

#: From rows in the log's columns, all of one source partition, and that partition: one value each.
Derivation = Callable[[pa.RecordBatch, int], pa.Array]
#: From rows in the table's columns: one value each of a column that is in the log alone.
Recovery = Callable[[pa.Table], pa.Array]


def message_ids(rows: pa.RecordBatch, source_partition: int) -> pa.Array:
    """`EXCHANGE|SYMBOL|SESSION|` then `t:<trade_id>`, else `s:<sequence>`, else the raw position.

    Made from the data, never at random: the same trade has the same id whenever it is read again.
    A correction that repeats the id of the trade it changes is not that trade: its id is not used.
    Names and ids are escaped (`core.records.identity`), so that no two messages share an id.
    """

    def text(name: str) -> pa.Array:
        return rows.column(name).cast(pa.string())

    tail = pa.nulls(rows.num_rows, pa.string())
    if "trade_id" in rows.schema.names:
        trade_id = rows.column("trade_id")
        if _corrects(rows):
            repeats = pc.equal(trade_id, rows.column("ref_trade_id")).fill_null(fill_value=False)
            trade_id = pc.if_else(repeats, pa.scalar(None, pa.string()), trade_id)
        tail = pc.binary_join_element_wise(BY_TRADE_ID, escaped_column(trade_id), "")
    if tail.null_count:
        by_sequence = pc.binary_join_element_wise("s:", text("sequence"), "")
        tail = pc.coalesce(tail, by_sequence)
    if tail.null_count:
        by_position = pc.binary_join_element_wise(
            f"p:{source_partition}", text("source_offset"), text("source_index"), ":"
        )
        tail = pc.coalesce(tail, by_position)
    return pc.binary_join_element_wise(*_names(rows), _escaped(rows, "session"), tail, SEPARATOR)


def ref_message_ids(rows: pa.RecordBatch, _source_partition: int = 0) -> pa.Array:
    """The `message_id` of the trade that a row changes; null of a row that changes none.

    A trade is referred to by its id, in the session that the row names, else in the row's own.
    """
    if not _corrects(rows):
        return pa.nulls(rows.num_rows, pa.string())
    ref = escaped_column(rows.column("ref_trade_id"))
    tail = pc.binary_join_element_wise(BY_TRADE_ID, ref, "")
    session = pc.coalesce(_escaped(rows, "ref_session"), _escaped(rows, "session"))
    return pc.binary_join_element_wise(*_names(rows), session, tail, SEPARATOR)


def ref_trade_ids(rows: pa.Table) -> pa.Array:
    """The inverse of `ref_message_ids`: the trade that a row of the table changes; null: none."""
    return pa.array((ref and ref.trade_id for ref in _refs(rows)), pa.string())


def ref_sessions(rows: pa.Table) -> pa.Array:
    """The same of that trade's session; null where it is the row's own."""
    own = rows.column("session").to_pylist()
    pairs = zip(_refs(rows), own, strict=True)
    found = (ref.session if ref and ref.session != session else None for ref, session in pairs)
    return pa.array(found, pa.string())


def _refs(rows: pa.Table) -> list[TradeId | None]:
    """What each row refers to: next to none does."""
    refs = rows.column("ref_message_id")
    if refs.null_count == len(refs):
        return [None] * len(refs)
    columns = (refs, rows.column("exchange"), rows.column("symbol"))
    return [
        ref and trade_of(ref, exchange, symbol)
        for ref, exchange, symbol in zip(*(one.to_pylist() for one in columns), strict=True)
    ]


def exchange_times(rows: pa.RecordBatch, _source_partition: int) -> pa.Array:
    """`exchange_time_ns` in microseconds, which is what Iceberg's timestamps hold."""
    return pc.divide(rows.column("exchange_time_ns"), 1000).cast(MICROS)


def _names(rows: pa.RecordBatch) -> list[pa.Array]:
    return [_escaped(rows, name) for name in ("exchange", "symbol")]


def _escaped(rows: pa.RecordBatch, name: str) -> pa.Array:
    return escaped_column(rows.column(name)).cast(pa.string())


def _corrects(rows: pa.RecordBatch) -> bool:
    """Whether a row changes another."""
    if "ref_trade_id" not in rows.schema.names:
        return False
    return bool(rows.column("ref_trade_id").null_count < rows.num_rows)
