"""A feed whose usual records the native extension decodes, and all others the feed itself."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.records.bytes_column import BytesColumn
from k2_streams.core.records.schema import NAME, ROWS
from k2_streams.feeds.decoding.decoded import Decoded, Kind, RawBatch
from k2_streams.feeds.decoding.merged import Part, merged
from k2_streams.feeds.description import Description
from k2_streams.feeds.feed import FEEDS, Feed, Feeds
from k2_streams.native import Native, NativeTrades


def with_native(feeds: Feeds, native: Native | None) -> Feeds:
    """The feeds of a stream; those that the extension knows are decoded by it first.

    Feeds are known by what they are, not by their names: that of another stream, or a user's, may
    have the name of one of K2's own.
    """
    if native is None:
        return feeds
    return {
        name: NativeFeed(one, native) if name in native.feeds and FEEDS.get(name) is one else one
        for name, one in feeds.items()
    }


class NativeFeed:
    """Decodes as its feed does. What the extension leaves, or fails on, the feed decodes.

    Args:
        feed: one of K2's own feeds of trades.
        native: knows it.
    """

    def __init__(self, feed: Feed, native: Native) -> None:
        self._feed = feed
        self._native = native

    @property
    def name(self) -> str:
        """The feed's."""
        return self._feed.name

    @property
    def description(self) -> Description:
        """The feed's."""
        return self._feed.description

    def decode(self, batch: RawBatch) -> Decoded:
        """Decode a batch. A record's outcome does not depend on its neighbours."""
        found = self._native.trades(self.name, _records(batch))
        if found is None:
            return self._feed.decode(batch)
        parts = [_taken(found)]
        if len(found.left):
            left = found.left.to_numpy().astype(np.int64)
            parts.append(Part(left, self._feed.decode(batch.take(left))))
        return merged(parts, len(batch.values), ROWS)


def _records(batch: RawBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "key": BytesColumn.of(batch.keys).array,
            "value": BytesColumn.of(batch.values).array,
            "append_time_ms": pa.array(batch.append_time_ms),
        }
    )


def _taken(found: NativeTrades) -> Part:
    """The records that the extension took: all of them hold trades."""
    messages = {
        name: column.to_numpy()
        for name, column in zip(found.messages.schema.names, found.messages.columns, strict=True)
    }
    places: npt.NDArray[np.int64] = messages["place"].astype(np.int64)
    decoded = Decoded(
        kind=np.full(len(places), Kind.TRADE, np.int8),
        scopes=found.scopes.to_pylist(),
        scope=messages["scope"],
        sequence=messages["sequence"],
        sessions=found.sessions.to_pylist(),
        session=messages["session"],
        event_time_ns=messages["event_time_ns"],
        rows=_rows(found.rows),
        bad=[],
    )
    return Part(places, decoded)


def _rows(found: pa.RecordBatch) -> pa.RecordBatch:
    """The rows in a stream's columns; what only corrections have is null."""
    given: Mapping[str, pa.Array] = dict(zip(found.schema.names, found.columns, strict=True))
    arrays = [
        given[field.name] if field.name in given else _nulls(found.num_rows, field.type)
        for field in ROWS
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=ROWS)


def _nulls(count: int, kind: pa.DataType) -> pa.Array:
    if kind == NAME:
        return pa.DictionaryArray.from_arrays(
            pa.nulls(count, pa.int32()), pa.array([], pa.string())
        )
    return pa.nulls(count, kind)
