"""Below which value a share of all values lies: a histogram whose buckets grow with the value.

A bucket is the sign, the exponent and the first six bits of the mantissa of a double, so it is as
wide as 1/64 of its lower bound at most: the middle of a bucket is within 1/128 of each value in it,
as in HdrHistogram and DDSketch (Masson, Rim and Lee, 2019), and no logarithm is computed.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from k2_streams.core.sketches.codec import decode_body, encode_body

_MANTISSA_BITS = 6
_SHIFT = 52 - _MANTISSA_BITS
#: Relative, of a value.
RELATIVE_ERROR = 2.0 ** -(_MANTISSA_BITS + 1)
_FORM = b"q"
_PAIR = np.dtype([("bucket", "<i4"), ("count", "<i8")])


class Quantile(NamedTuple):
    """A value, and the bounds of the bucket that it lies in."""

    estimate: float
    lower: float
    upper: float


class Quantiles:
    """The counts of all values added, by their buckets: 17,000 for every decimal of K2.

    Args:
        counts: of another one; None: nothing was added.
    """

    def __init__(self, counts: dict[int, int] | None = None) -> None:
        self.counts = {} if counts is None else counts

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Add values; none is NaN."""
        sizes = np.abs(values).view(np.int64) >> _SHIFT
        buckets, counts = np.unique(np.where(values < 0, -sizes, sizes), return_counts=True)
        self._add(buckets.tolist(), counts.tolist())

    def merge(self, other: "Quantiles") -> None:
        """Add what the other one counted."""
        self._add(list(other.counts), list(other.counts.values()))

    @property
    def count(self) -> int:
        """How many values were added."""
        return sum(self.counts.values())

    def at(self, share: float) -> Quantile | None:
        """The smallest value that at least this share of all is not above; None: there is none."""
        rank = max(math.ceil(share * self.count), 1)
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                edges = sorted((_edge(bucket), _edge(bucket + (1 if bucket >= 0 else -1))))
                return Quantile(sum(edges) / 2, *edges) if bucket else Quantile(0.0, 0.0, 0.0)
        return None

    def encode(self) -> bytes:
        """By the buckets."""
        pairs = np.array(sorted(self.counts.items()), _PAIR)
        return encode_body(_FORM, pairs.tobytes())

    @classmethod
    def decode(cls, content: bytes) -> "Quantiles":
        """The inverse of `encode`.

        Raises:
            ValueError: it is none of this version.
        """
        _, body = decode_body(content, _FORM)
        pairs = np.frombuffer(body, _PAIR)
        return cls(dict(zip(pairs["bucket"].tolist(), pairs["count"].tolist(), strict=True)))

    def _add(self, buckets: list[int], counts: list[int]) -> None:
        for bucket, count in zip(buckets, counts, strict=True):
            self.counts[bucket] = self.counts.get(bucket, 0) + count


def _edge(bucket: int) -> float:
    """The bound of a bucket that is nearer to 0."""
    size = float(np.int64(abs(bucket) << _SHIFT).view(np.float64))
    return math.copysign(size, bucket)
