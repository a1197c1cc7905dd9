"""The tail's rows of a selection, in the table's columns; other rows are not touched."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.query.corrections import CANCEL, Superseded
from k2_streams.core.query.keys import wanted_of
from k2_streams.core.records.expand import expand
from k2_streams.core.records.log_record import LogBatch
from k2_streams.core.records.stream import LOG_PLACE, Stream
from k2_streams.query.selection import REPORTED, Selection, View
from k2_streams.query.tail.store import TailBatch

#: Rows, and bytes of their batches, expanded at once: a column of text holds less than 2 GiB.
_MAX_EXPAND_ROWS = 200_000
_MAX_EXPAND_BYTES = 512 * 2**20

Indices = npt.NDArray[np.int64]
_NONE: Indices = np.empty(0, np.int64)


class Hit(NamedTuple):
    """Rows of one batch that are wanted."""

    batch: LogBatch
    rows: Indices
    times: npt.NDArray[np.int64]  # their event times
    size_bytes: int  # of the whole batch


def select(stream: Stream, batches: Iterable[TailBatch], selection: Selection) -> pa.Table:
    """The rows of a selection, unordered, in the table's columns.

    With `at_most`, only rows that can be among the first of the order are given (at least those).

    Raises:
        TailMovedError: a spilled batch is gone: take a new view.
    """
    rows = _expand(stream, _first(list(hits_of(stream, batches, selection)), selection))
    if selection.superseded and rows.num_rows:
        rows = rows.filter(pc.invert(_superseded(rows, selection.superseded)))
    return rows


def _superseded(rows: pa.Table, gone: Superseded) -> pa.ChunkedArray:
    """Of each row, whether it does not stand. Ids of the tail are made here: no two share one."""
    is_new = pc.is_null(rows.column("action"))
    ids = pa.array((trade.message_id for trade in gone.trades), pa.string())
    place = pc.binary_join_element_wise(
        *(rows.column(name).cast(pa.string()) for name in LOG_PLACE), ":"
    )
    places = pa.array((":".join(map(str, place)) for place in gone.corrections), pa.string())
    return pc.if_else(
        is_new,
        pc.is_in(rows.column("message_id"), value_set=ids),
        pc.is_in(place, value_set=places),
    )


def hits_of(stream: Stream, batches: Iterable[TailBatch], selection: Selection) -> Iterator[Hit]:
    """The batches that hold rows which are wanted, with these."""
    names = [
        (column, pc.SetLookupOptions(pa.array(wanted, stream.table_schema.field(column).type)))
        for column, wanted in selection.keys
    ]
    indexed = wanted_of(selection.keys, stream.name_column)
    for kept in batches:
        if not kept.may_hold(indexed, selection.start_ns, selection.end_ns):
            continue
        batch = kept.load()
        times: npt.NDArray[np.int64] = batch.rows.column(stream.time).to_numpy()
        rows = _matching(batch, times, selection, names)
        if len(rows):
            yield Hit(batch, rows, times[rows], kept.size_bytes)


def in_order(stream: Stream, rows: pa.Table, selection: Selection) -> pa.Table:
    """What the engine gives of these rows alone, where no file is to be read: in half the time."""
    direction = "descending" if selection.descending else "ascending"
    keys = [(name, direction) for name in stream.order]
    first = pc.sort_indices(rows, sort_keys=keys)[: selection.at_most]
    return rows.take(first)


def _matching(
    batch: LogBatch,
    times: npt.NDArray[np.int64],
    selection: Selection,
    names: list[tuple[str, pc.SetLookupOptions]],
) -> Indices:
    """Indices of the rows that are wanted."""
    masks = []
    for column, wanted in names:
        named = batch.rows.column(column)
        # Of a dictionary its words are asked, not each row; most batches have none of one symbol.
        in_words = pa.types.is_dictionary(named.type)
        known = pc.call_function("is_in", [named.dictionary if in_words else named], wanted)
        if not known.true_count:
            return _NONE
        mask = known.to_numpy(zero_copy_only=False)
        masks.append(mask[named.indices.to_numpy()] if in_words else mask)
    if selection.start_ns is not None:
        masks.append(times >= selection.start_ns)
    if selection.end_ns is not None:
        masks.append(times < selection.end_ns)
    if selection.after is not None:
        masks.append(_behind(batch, times, selection))
    if selection.view != REPORTED:
        masks.append(_in_view(batch, selection.view))
    if not masks:
        return np.arange(len(times))
    return np.flatnonzero(np.logical_and.reduce(masks))


def _in_view(batch: LogBatch, view: View) -> npt.NDArray[np.bool_]:
    """Where a row belongs to the view, as far as it says so itself."""
    rows = batch.rows
    if "action" not in rows.schema.names:  # an earlier version's: all are new trades
        return np.full(rows.num_rows, view == "corrected")
    action = rows.column("action").cast(pa.string())
    if view == "corrections":
        return np.asarray(pc.is_valid(action).to_numpy(zero_copy_only=False))
    cancels = pc.fill_null(pc.equal(action, CANCEL), fill_value=False)
    return np.asarray(pc.invert(cancels).to_numpy(zero_copy_only=False))


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
        behind: npt.NDArray[np.bool_] = times < after.time_ns
    else:
        ties = rows > after.log_row if place == last else np.full(len(times), place > last)
        behind = times > after.time_ns
    found: npt.NDArray[np.bool_] = behind | ((times == after.time_ns) & ties)
    return found


def _first(hits: list[Hit], selection: Selection) -> list[Hit]:
    """Less hits, if only the first rows of the order are wanted; ties in time all stay."""
    count = sum(len(hit.rows) for hit in hits)
    if selection.at_most is None:
        return hits
    # Those that are superseded are taken out later, by their ids.
    at_most = selection.at_most + len(selection.superseded)
    if count <= at_most:
        return hits
    times = np.concatenate([hit.times for hit in hits])
    if selection.descending:
        edge = np.partition(times, count - at_most)[count - at_most]
        keep = [hit.times >= edge for hit in hits]
    else:
        edge = np.partition(times, at_most - 1)[at_most - 1]
        keep = [hit.times <= edge for hit in hits]
    return [
        Hit(hit.batch, hit.rows[mask], hit.times[mask], hit.size_bytes)
        for hit, mask in zip(hits, keep, strict=True)
        if mask.any()
    ]


def _expand(stream: Stream, hits: list[Hit]) -> pa.Table:
    """Hits to rows; many small batches cost little more than one."""
    tables = []
    group: list[Hit] = []
    rows = size_bytes = 0
    for hit in sorted(hits, key=lambda hit: hit.batch.source_partition):
        rows += len(hit.rows)
        size_bytes += hit.size_bytes
        same = not group or hit.batch.source_partition == group[0].batch.source_partition
        if group and not (same and rows <= _MAX_EXPAND_ROWS and size_bytes <= _MAX_EXPAND_BYTES):
            tables.append(_expanded(stream, group))
            group, rows, size_bytes = [], len(hit.rows), hit.size_bytes
        group.append(hit)
    if group:
        tables.append(_expanded(stream, group))
    return pa.concat_tables(tables) if tables else stream.table_schema.empty_table()


def _expanded(stream: Stream, hits: list[Hit]) -> pa.Table:
    rows = expand(stream, [hit.batch for hit in hits], [hit.rows for hit in hits])
    return rows.cast(stream.table_schema)
