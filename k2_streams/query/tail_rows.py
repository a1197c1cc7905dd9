"""The tail's rows of a selection, in the table's columns; other rows are not touched."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.schema import LOG, MICROS, TRADES
from k2_streams.core.trade_log import LogBatch, message_ids
from k2_streams.query.selection import Selection
from k2_streams.query.tail import TailBatch

#: Rows expanded at once: text columns of a batch stay far below Arrow's 2 GiB.
_MAX_EXPAND_ROWS = 200_000
_PLAIN = pa.schema(
    [
        field.with_type(field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
        for field in LOG
    ]
)
EMPTY = TRADES.empty_table()

Indices = npt.NDArray[np.int64]


class _Hit(NamedTuple):
    """Rows of one batch that are wanted."""

    batch: LogBatch
    rows: Indices
    times: npt.NDArray[np.int64]  # their event times


def select(batches: Iterable[TailBatch], selection: Selection) -> pa.Table:
    """The rows of a selection, unordered, as `TRADES`.

    With `at_most`, only rows that can be among the first of the order are given (at least those).

    Raises:
        TailMovedError: a spilled batch is gone: take a new view.
    """
    hits = []
    wanted = pa.array(selection.symbols, pa.string()), pa.array(selection.exchanges, pa.string())
    for kept in batches:
        if not kept.may_hold(selection.symbols, selection.start_ns, selection.end_ns):
            continue
        batch = kept.load()
        rows = _matching(batch, selection, *wanted)
        if len(rows):
            hits.append(_Hit(batch, rows, _int64(batch.rows, "exchange_time_ns")[rows]))
    return _expand(_first(hits, selection))


def _matching(
    batch: LogBatch, selection: Selection, symbols: pa.Array, exchanges: pa.Array
) -> Indices:
    """Indices of the rows that are wanted."""
    masks = [
        _named(batch.rows.column(name), names)
        for name, names in (("symbol", symbols), ("exchange", exchanges))
        if len(names)
    ]
    times = _int64(batch.rows, "exchange_time_ns")
    if selection.start_ns is not None:
        masks.append(times >= selection.start_ns)
    if selection.end_ns is not None:
        masks.append(times < selection.end_ns)
    if selection.after is not None:
        masks.append(_behind(batch, times, selection))
    if not masks:
        return np.arange(len(times))
    return np.flatnonzero(np.logical_and.reduce(masks))


def _named(column: pa.DictionaryArray, names: pa.Array) -> npt.NDArray[np.bool_]:
    """Where the column is one of the names: the dictionary is asked, not each row."""
    known = pc.is_in(column.dictionary, value_set=names).to_numpy(zero_copy_only=False)
    found: npt.NDArray[np.bool_] = known[column.indices.to_numpy(zero_copy_only=False)]
    return found


def _behind(
    batch: LogBatch, times: npt.NDArray[np.int64], selection: Selection
) -> npt.NDArray[np.bool_]:
    """Where a row stands behind the last one given."""
    after = selection.after
    assert after is not None  # noqa: S101 - asked for only then
    place = (batch.log_partition, batch.log_offset)
    last = (after.log_partition, after.log_offset)
    rows = np.arange(len(times))
    if selection.descending:
        ties = rows < after.log_row if place == last else np.full(len(times), place < last)
        behind: npt.NDArray[np.bool_] = times < after.exchange_time_ns
    else:
        ties = rows > after.log_row if place == last else np.full(len(times), place > last)
        behind = times > after.exchange_time_ns
    found: npt.NDArray[np.bool_] = behind | ((times == after.exchange_time_ns) & ties)
    return found


def _first(hits: list[_Hit], selection: Selection) -> list[_Hit]:
    """Less hits, if only the first rows of the order are wanted; ties in time all stay."""
    count = sum(len(hit.rows) for hit in hits)
    at_most = selection.at_most
    if at_most is None or count <= at_most:
        return hits
    times = np.concatenate([hit.times for hit in hits])
    if selection.descending:
        edge = np.partition(times, count - at_most)[count - at_most]
        keep = [hit.times >= edge for hit in hits]
    else:
        edge = np.partition(times, at_most - 1)[at_most - 1]
        keep = [hit.times <= edge for hit in hits]
    return [
        _Hit(hit.batch, hit.rows[mask], hit.times[mask])
        for hit, mask in zip(hits, keep, strict=True)
        if mask.any()
    ]


def _expand(hits: list[_Hit]) -> pa.Table:
    """Hits to rows; many small batches cost little more than one."""
    tables = []
    group: list[_Hit] = []
    rows = 0
    by_source = sorted(hits, key=lambda hit: hit.batch.source_partition)
    for hit in by_source:
        same = not group or hit.batch.source_partition == group[0].batch.source_partition
        if not same or rows + len(hit.rows) > _MAX_EXPAND_ROWS:
            tables.append(_expand_group(group))
            group, rows = [], 0
        group.append(hit)
        rows += len(hit.rows)
    if group:
        tables.append(_expand_group(group))
    return pa.concat_tables(tables) if tables else EMPTY


def _expand_group(hits: list[_Hit]) -> pa.Table:
    """Rows of one source partition."""
    counts = [len(hit.rows) for hit in hits]
    chunks = [
        hit.batch.rows
        if len(hit.rows) == hit.batch.rows.num_rows
        else hit.batch.rows.take(pa.array(hit.rows))
        for hit in hits
    ]
    table = pa.Table.from_batches([chunk.replace_schema_metadata(None) for chunk in chunks])
    plain = table.cast(_PLAIN).combine_chunks()
    rows = pa.RecordBatch.from_arrays(
        [column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
         for column in plain.columns],
        schema=_PLAIN,
    )  # fmt: skip

    def repeated(values: list[int], kind: npt.DTypeLike) -> npt.NDArray[np.int64]:
        return np.repeat(np.array(values, dtype=kind), counts)

    source = hits[0].batch.source_partition
    derived = {
        "message_id": message_ids(rows, source),
        "exchange_time": pc.divide(rows.column("exchange_time_ns"), 1000).cast(MICROS),
        "source_partition": np.full(rows.num_rows, source, np.int32),
        "log_partition": repeated([hit.batch.log_partition for hit in hits], np.int32),
        "log_offset": repeated([hit.batch.log_offset for hit in hits], np.int64),
        "log_row": np.concatenate([hit.rows for hit in hits]).astype(np.int32),
        "accepted_time": repeated([hit.batch.accepted_time_us for hit in hits], np.int64),
    }
    columns = [
        pa.array(derived[field.name], type=None).cast(field.type)
        if field.name in derived
        else rows.column(field.name)
        for field in TRADES
    ]
    return pa.Table.from_arrays(columns, schema=TRADES)


def _int64(rows: pa.RecordBatch, name: str) -> npt.NDArray[np.int64]:
    column: npt.NDArray[np.int64] = rows.column(name).to_numpy(zero_copy_only=False)
    return column
