"""How many rows a subscription gave, and a checksum over them that does not depend on their order.

A row's place in the log is mixed to 64 bits by the finaliser of SplitMix64 (Steele, Lea and Flood,
OOPSLA 2014), and these are added up modulo 2^64. No two rows have one place, and a row never
changes, so a reader that comes to the same sum has each row once, in whatever order and format it
got them:

    mixed(n)  = z = n + 0x9E3779B97F4A7C15
                z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
                z = (z ^ (z >> 27)) * 0x94D049BB133111EB
                z ^ (z >> 31)                                            all modulo 2^64
    of a row  = mixed(mixed(mixed(log_partition) + log_offset) + log_row)
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from k2_streams.core.subscription.position import Places

_MASK = (1 << 64) - 1
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Tally:
    """Of all rows given so far."""

    rows: int = 0
    checksum: int = 0

    def with_rows(self, places: Places) -> "Tally":
        """The tally when these are given too."""
        words = _mixed(places.partitions.astype(np.uint64))
        words = _mixed(words + places.offsets.astype(np.uint64))
        words = _mixed(words + places.rows.astype(np.uint64))
        added = int(words.sum(dtype=np.uint64))
        return Tally(self.rows + len(places), (self.checksum + added) & _MASK)

    @property
    def text(self) -> str:
        """The checksum as 16 hexadecimal digits."""
        return f"{self.checksum:016x}"


def _mixed(words: Words) -> Words:
    mixed = words + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
