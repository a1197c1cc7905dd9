"""The records of a fetch as columns, from which a record is made only where one is looked at."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.records.bytes_column import BytesColumn

Indices = npt.NDArray[np.int64]
#: `timestamp_type` of a record that the broker dated.
APPEND_TIME = 1


class FetchedRecord(NamedTuple):
    """A record as a consumer has it."""

    offset: int
    timestamp: int  # ms
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


_WHOLE = FetchedRecord._fields


class RecordColumns(Sequence[FetchedRecord]):
    """Records of one partition in the order of their offsets.

    Args:
        columns: as `k2_streams.native.NativeRecords` has them.
    """

    __slots__ = ("_columns",)

    def __init__(self, columns: pa.RecordBatch) -> None:
        self._columns = columns

    @classmethod
    def joined(cls, parts: "Sequence[RecordColumns]") -> "RecordColumns":
        """These records one after the other; at least one part."""
        return cls(pa.concat_batches([part._columns for part in parts]))  # noqa: SLF001 - its own class

    @property
    def size_bytes(self) -> int:
        """What they take in memory."""
        return int(self._columns.nbytes)

    @property
    def offsets(self) -> Indices:
        """Of each record."""
        return self._numbers("offset")

    @property
    def timestamps_ms(self) -> Indices:
        """Of each record."""
        return self._numbers("timestamp")

    @property
    def keys(self) -> BytesColumn:
        """Of each record."""
        return BytesColumn(self._columns.column("key"))

    @property
    def values(self) -> BytesColumn:
        """Of each record."""
        return BytesColumn(self._columns.column("value"))

    @property
    def feeds(self) -> pa.BinaryArray:
        """The last header `feed` of each record; null where there is none, or it is null."""
        return self._columns.column("feed")

    @property
    def lines(self) -> pa.BinaryArray:
        """The last header `line` of each record, in the same way."""
        return self._columns.column("line")

    def places_with_header(self, name: bytes) -> list[int]:
        """The places of the records whose last header of a name has a value, ascending."""
        headers = self._columns.column("headers")
        found: Indices = pc.indices_nonzero(pc.equal(headers.keys, name)).to_numpy()
        if not len(found):
            return []
        # Of a slice the keys are those of the whole, and so are the ends of its records.
        ends: Indices = headers.offsets.to_numpy()[1:]
        places = np.unique(np.searchsorted(ends, found.astype(np.int64), side="right")).tolist()
        return [
            place
            for place in places
            if place < len(self) and dict(headers[place].as_py()).get(name) is not None
        ]

    def first_producer_timed(self) -> int | None:
        """The first record that the broker did not date; None: it dated all."""
        found = np.flatnonzero(self._numbers("timestamp_type") != APPEND_TIME)
        return int(found[0]) if len(found) else None

    def without_producer_times(self) -> "RecordColumns":
        """The same records, without a time where the broker did not date them."""
        is_dated = self._numbers("timestamp_type") == APPEND_TIME
        at = self._columns.schema.get_field_index("timestamp")
        times_ms = pa.array(np.where(is_dated, self.timestamps_ms, 0))
        field = self._columns.schema.field(at)
        return RecordColumns(self._columns.set_column(at, field, times_ms))

    def _numbers(self, name: str) -> Indices:
        numbers: Indices = self._columns.column(name).to_numpy()
        return numbers

    def __len__(self) -> int:
        return int(self._columns.num_rows)

    @overload
    def __getitem__(self, at: int) -> FetchedRecord: ...
    @overload
    def __getitem__(self, at: slice) -> "RecordColumns": ...
    def __getitem__(self, at: int | slice) -> "FetchedRecord | RecordColumns":
        places = range(len(self))[at]
        if isinstance(places, int):
            (record,) = self._records(places, 1)
            return record
        if places.step != 1:
            raise ValueError(f"expected a slice of records in their order, found {at}")
        return RecordColumns(self._columns.slice(places.start, len(places)))

    def __iter__(self) -> Iterator[FetchedRecord]:
        return self._records(0, len(self))

    def _records(self, start: int, count: int) -> Iterator[FetchedRecord]:
        columns = [self._columns.column(name).slice(start, count).to_pylist() for name in _WHOLE]
        for *whole, headers in zip(*columns, strict=True):
            # A name may be any bytes, as in `header_keys`.
            named = tuple((name.decode(errors="replace"), content) for name, content in headers)
            yield FetchedRecord._make((*whole, named))
