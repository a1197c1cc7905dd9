"""Names that have a number each, looked up a batch at a time."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: The number of a name that has none.
NO_NUMBER = -1
#: Fewer names than this, or than this part of the known ones, are looked up one by one: each then
#: costs 0.2 µs, most of it for memory that no cache holds. Arrow first makes a hash table of all
#: known names, and looks one up in a fifth of that time.
_FEW_NAMES = 256
_FEW_OF_KNOWN = 4

Int64s = npt.NDArray[np.int64]


class _Table(NamedTuple):
    """The known names, and the number of each; behind these that of a name that has none."""

    names: pa.StringArray
    numbers: Int64s


class NameNumbers:
    """Numbers by name. Who keeps one bounds it: it grows with every name that it is given."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._table: _Table | None = None  # None: the names are others by now

    def __len__(self) -> int:
        """How many names have a number."""
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        """The names, as they came."""
        return iter(self._numbers)

    def get(self, name: str) -> int | None:
        """A name's number, if it has one."""
        return self._numbers.get(name)

    def of(self, names: Sequence[str] | pa.StringArray) -> Int64s:
        """Of each name its number, or `NO_NUMBER`."""
        count, known = len(names), len(self._numbers)
        if count < _FEW_NAMES or count * _FEW_OF_KNOWN < known:
            texts = names.to_pylist() if isinstance(names, pa.StringArray) else names
            return np.fromiter(map(self._numbers.get, texts, repeat(NO_NUMBER)), np.int64, count)
        table = self._table
        if table is None:
            numbers = np.array([*self._numbers.values(), NO_NUMBER], np.int64)
            table = self._table = _Table(pa.array(self._numbers, pa.string()), numbers)
        at = pc.index_in(pa.array(names, pa.string()), value_set=table.names)
        found: Int64s = table.numbers[at.fill_null(known).to_numpy()]
        return found

    def put(self, name: str, number: int) -> None:
        """Give a name that has none a number."""
        self._numbers[name] = number
        self._table = None

    def pop(self, name: str) -> int | None:
        """Take a name's number away, if it has one."""
        number = self._numbers.pop(name, None)
        if number is not None:
            self._table = None
        return number

    def clear(self) -> None:
        """Take all numbers away."""
        self._numbers.clear()
        self._table = None
