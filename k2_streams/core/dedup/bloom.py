"""A Bloom filter over 128-bit hashes, a batch at a time with numpy.

"No" is certain, "maybe" is not (Bloom, 1970). The k bits of an id are h1 + i * h2, made of the two
halves of its hash (Kirsch and Mitzenmacher, 2006). For n ids at rate p it takes
n * log2(1/p) / ln 2 bits (1.44 * log2(1/p) an id) and k = log2(1/p): 1.8 GB for 1 G at 0.1 %.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Two 64-bit words an id: the MurmurHash3 of what it is made of.
Hashes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

#: Fewer would be no filter; more would not fit a rate that anyone asks for (2^-30).
_MAX_PROBES = 30
_WORD_BITS = 64


@dataclass(frozen=True, slots=True)
class BloomShape:
    """How large a filter is, and how many bits an id sets."""

    bits: int  # a multiple of 64
    probes: int

    @classmethod
    def of(cls, ids: int, rate: float) -> "BloomShape":
        """The smallest filter that answers "maybe" to at most `rate` of new ids, holding `ids`."""
        bits = math.ceil(max(ids, 1) * math.log2(1 / rate) / math.log(2))
        probes = min(max(round(math.log2(1 / rate)), 1), _MAX_PROBES)
        return cls(-(-bits // _WORD_BITS) * _WORD_BITS, probes)

    @property
    def size_bytes(self) -> int:
        """What a filter takes in memory."""
        return self.bits // 8

    def rate_at(self, ids: int) -> float:
        """The expected share of "maybe" for new ids, of a filter that holds so many."""
        return float((1 - math.exp(-self.probes * ids / self.bits)) ** self.probes)


def positions(shape: BloomShape, hashes: Hashes) -> npt.NDArray[np.int64]:
    """The bits of each id, one row per probe: the same for every filter of the shape."""
    first, step = hashes[:, 0], hashes[:, 1] | np.uint64(1)  # odd: it walks through all words
    size = np.uint64(shape.bits)
    rows = np.empty((shape.probes, len(hashes)), np.int64)
    for probe in range(shape.probes):
        rows[probe] = (first + np.uint64(probe) * step) % size
    return rows


class Bloom:
    """One filter. It only grows; to forget, drop it whole."""

    __slots__ = ("_words", "ids", "shape")

    def __init__(self, shape: BloomShape) -> None:
        self.shape = shape
        self.ids = 0  # added; a repeat counts again
        self._words: npt.NDArray[np.uint8] = np.zeros(shape.size_bytes, np.uint8)

    def add(self, at: npt.NDArray[np.int64]) -> None:
        """Add ids by their `positions`."""
        np.bitwise_or.at(self._words, (at >> 3).ravel(), _mask(at).ravel())
        self.ids += at.shape[1]

    def maybe(self, at: npt.NDArray[np.int64]) -> Bools:
        """Of each id, by its `positions`: whether it may have been added."""
        found = np.zeros(at.shape[1], np.bool_)
        left = np.arange(at.shape[1])
        for row in at:  # most of what was never added is gone after one or two
            bits = row[left]
            left = left[(self._words[bits >> 3] & _mask(bits)) != 0]
            if not len(left):
                return found
        found[left] = True
        return found


def _mask(bits: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    return np.left_shift(np.uint8(1), (bits & 7).astype(np.uint8))
