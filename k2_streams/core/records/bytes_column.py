"""Keys or values of many records: Arrow's column for those who compute, a sequence for others."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class BytesColumn(Sequence[bytes | None]):
    """Bytes per record, or none. The sequence is made when it is first looked at.

    Attributes:
        array: the same as an Arrow column.
    """

    __slots__ = ("_list", "array")

    def __init__(self, array: pa.BinaryArray) -> None:
        self.array = array
        self._list: list[bytes | None] | None = None

    @classmethod
    def of(cls, found: Sequence[bytes | None]) -> "BytesColumn":
        """The column of a sequence.

        Raises:
            pyarrow.ArrowException: all together are more than a column holds, 2 GiB.
        """
        if isinstance(found, cls):
            return found
        array = pa.array(found, pa.binary())
        if isinstance(array, pa.ChunkedArray):
            raise pa.ArrowCapacityError("expected at most 2 GiB in a column")
        return cls(array)

    def take(self, places: npt.NDArray[np.int64]) -> "BytesColumn":
        """Those of some records."""
        return BytesColumn(self.array.take(pa.array(places)))

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, at: int) -> bytes | None: ...
    @overload
    def __getitem__(self, at: slice) -> list[bytes | None]: ...
    def __getitem__(self, at: int | slice) -> bytes | list[bytes | None] | None:
        return self._texts()[at]

    def __iter__(self) -> Iterator[bytes | None]:
        return iter(self._texts())

    def _texts(self) -> list[bytes | None]:
        if self._list is None:
            self._list = self.array.to_pylist()
        return self._list
