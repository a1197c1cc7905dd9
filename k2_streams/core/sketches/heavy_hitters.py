"""Which names have most of a total: counters that are dropped when they are too many.

They are those of Misra and Gries (1982), merged as in Agarwal, Cormode, Huang, Phillips, Wei and
Yi, "Mergeable summaries" (2012). A counter is never too high, and too low by the error at most,
which is below total / 1024 (of names of up to 24 characters). Names are counted exactly until there
are more than counters; then the smallest counters are dropped, at the end of every block of the
rows: at the same rows however they are cut into batches.
"""

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from k2_streams.core.sketches.codec import decode_body, encode_body

#: Kept of one partition and minute; fewer of long names, so that with those of a block their bytes
#: stay below the limit of a value in a table.
COUNTERS = 1_024
_NAMES_BYTES = 100_000
BLOCK_ROWS = 256
_MAX_CHAR_BYTES = 4
#: Kept of what is merged: more than a node's memory should hold of names that occur once.
MERGED_COUNTERS = 8_192
_FORM = b"h"
#: A weight has 128 bits; of 32 of them the sum over a batch is exact in a double.
_LIMB_BITS = 32


class Weighted(NamedTuple):
    """Rows to count: a name each, by its number, and a weight that is above 0."""

    names: list[str]
    codes: npt.NDArray[np.int64]
    weights: npt.NDArray[np.uint32]  # a row of four limbs each, the lowest first


class Heavy(NamedTuple):
    """A name and its part of the total: at least `lower`, at most `upper`."""

    name: str
    lower: int
    upper: int


class _Encoded(msgspec.Struct, array_like=True):
    rows: int
    error: bytes
    counters: list[tuple[str, bytes]]


_DECODER = msgspec.msgpack.Decoder(_Encoded)


class HeavyHitters:
    """The counters of all rows added.

    Args:
        rows: how many were added.
        error: by how much a counter may be too low.
        counters: by name.
    """

    def __init__(
        self, rows: int = 0, error: int = 0, counters: dict[str, int] | None = None
    ) -> None:
        self.rows = rows
        self.error = error
        self.counters = {} if counters is None else counters

    def add(self, rows: Weighted) -> None:
        """Add rows, in their order."""
        count = len(rows.codes)
        edges = [0, count]
        if _excess(self.counters.keys() | set(rows.names)):
            first = BLOCK_ROWS - self.rows % BLOCK_ROWS
            edges = [0, *range(first, count, BLOCK_ROWS), count]
        for start, end in pairwise(edges):
            for code, weight in _sums(rows.codes[start:end], rows.weights[start:end]).items():
                name = rows.names[code]
                self.counters[name] = self.counters.get(name, 0) + weight
            self.rows += end - start
            if self.rows % BLOCK_ROWS == 0:
                self._reduce(len(self.counters) - _excess(self.counters))

    def merge(self, other: "HeavyHitters") -> None:
        """Add what the other one counted; of up to `MERGED_COUNTERS` names in any order.

        Up to twice as many are kept meanwhile: to sort them all for every few that are new would
        take most of the time.
        """
        for name, count in other.counters.items():
            self.counters[name] = self.counters.get(name, 0) + count
        self.rows += other.rows
        self.error += other.error
        if len(self.counters) > 2 * MERGED_COUNTERS:
            self._reduce(MERGED_COUNTERS)

    def top(self, count: int) -> list[Heavy]:
        """The largest, of equal ones by their names."""
        ordered = sorted(self.counters.items(), key=lambda one: (-one[1], one[0]))
        return [Heavy(name, lower, lower + self.error) for name, lower in ordered[:count]]

    def encode(self) -> bytes:
        """By the names."""
        counters = [(name, _to_bytes(self.counters[name])) for name in sorted(self.counters)]
        found = _Encoded(self.rows, _to_bytes(self.error), counters)
        return encode_body(_FORM, msgspec.msgpack.encode(found))

    @classmethod
    def decode(cls, content: bytes) -> "HeavyHitters":
        """The inverse of `encode`.

        Raises:
            ValueError: it is none of this version.
        """
        _, body = decode_body(content, _FORM)
        found = _DECODER.decode(body)
        counters = {name: int.from_bytes(count, "little") for name, count in found.counters}
        return cls(found.rows, int.from_bytes(found.error, "little"), counters)

    def _reduce(self, kept: int) -> None:
        """Keep the largest: all are lowered by the largest one that is not kept."""
        if len(self.counters) <= kept:
            return
        least = sorted(self.counters.values(), reverse=True)[kept]
        self.error += least
        self.counters = {
            name: count - least for name, count in self.counters.items() if count > least
        }


def _excess(names: Collection[str]) -> int:
    """How many of these names are more than may be kept."""
    longest_bytes = _MAX_CHAR_BYTES * max(map(len, names), default=1)
    return max(len(names) - min(COUNTERS, _NAMES_BYTES // longest_bytes), 0)


def _sums(codes: npt.NDArray[np.int64], weights: npt.NDArray[np.uint32]) -> Mapping[int, int]:
    """The exact sum of the weights of each code that occurs."""
    found = np.flatnonzero(np.bincount(codes))
    total = [0] * len(found)
    for limb, column in enumerate(weights.T):
        if column.any():
            sums = np.bincount(codes, weights=column)[found].astype(np.int64).tolist()
            total = [
                so_far + (one << _LIMB_BITS * limb) for so_far, one in zip(total, sums, strict=True)
            ]
    return dict(zip(found.tolist(), total, strict=True))


def _to_bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "little")
