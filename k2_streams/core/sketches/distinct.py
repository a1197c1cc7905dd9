"""How many distinct values there are: HyperLogLog (Flajolet, Fusy, Gandouet and Meunier, 2007).

A value's hash chooses one of 2^14 registers, which keeps the longest run of leading zeros that it
saw. The estimate is Ertl's improved raw one ("New cardinality estimation algorithms for
HyperLogLog sketches", 2017, algorithm 6): without a table of corrections, for any count.
"""

import math

import numpy as np
import numpy.typing as npt

from k2_streams.core.sketches.codec import decode_body, encode_body

Registers = npt.NDArray[np.uint8]

#: Bits of a hash that choose the register: 16 KiB, and a standard error of 0.81 %.
INDEX_BITS = 14
REGISTERS = 1 << INDEX_BITS
_REST_BITS = 64 - INDEX_BITS
#: Relative, of an estimate.
STANDARD_ERROR = 1.04 / math.sqrt(REGISTERS)
#: Bounds lie so many standard errors from the estimate: 99.7 % of counts are within.
BOUND_ERRORS = 3
_SPARSE, _DENSE = b"s", b"d"
_PAIR = np.dtype([("index", "<u2"), ("run", "u1")])


class Distinct:
    """The distinct ones of all values added.

    Args:
        registers: of another one; None: nothing was added.
    """

    def __init__(self, registers: Registers | None = None) -> None:
        self.registers = np.zeros(REGISTERS, np.uint8) if registers is None else registers

    def add(self, hashes: npt.NDArray[np.uint64]) -> None:
        """Add values by their hashes, all of whose 64 bits are as good as random."""
        index = (hashes >> np.uint64(_REST_BITS)).astype(np.intp)
        rest = hashes & np.uint64((1 << _REST_BITS) - 1)
        # The exponent of a number below 2^50, which a double holds exactly, is its length in bits.
        _, length = np.frexp(rest.astype(np.float64))
        np.maximum.at(self.registers, index, (_REST_BITS + 1 - length).astype(np.uint8))

    def merge(self, other: "Distinct") -> None:
        """Add what the other one saw."""
        np.maximum(self.registers, other.registers, out=self.registers)

    def estimate(self) -> float:
        """How many, give or take `STANDARD_ERROR`."""
        counts = np.bincount(self.registers, minlength=_REST_BITS + 2).tolist()
        total = REGISTERS * _tau(1 - counts[_REST_BITS + 1] / REGISTERS)
        for run in range(_REST_BITS, 0, -1):
            total = (total + counts[run]) / 2
        total += REGISTERS * _sigma(counts[0] / REGISTERS)
        return REGISTERS * REGISTERS / (2 * math.log(2) * total)

    def encode(self) -> bytes:
        """The registers; few that are set are listed."""
        at = np.flatnonzero(self.registers)
        if len(at) * _PAIR.itemsize >= REGISTERS:
            return encode_body(_DENSE, self.registers.tobytes())
        pairs = np.empty(len(at), _PAIR)
        pairs["index"], pairs["run"] = at, self.registers[at]
        return encode_body(_SPARSE, pairs.tobytes())

    @classmethod
    def decode(cls, content: bytes) -> "Distinct":
        """The inverse of `encode`.

        Raises:
            ValueError: it is none of this version.
        """
        form, body = decode_body(content, _SPARSE, _DENSE)
        if form == _DENSE:
            return cls(np.frombuffer(body, np.uint8).copy())
        found, pairs = cls(), np.frombuffer(body, _PAIR)
        found.registers[pairs["index"]] = pairs["run"]
        return found


def _sigma(share: float) -> float:
    """Of the share of registers that nothing chose: share + sum of share^(2^k) 2^(k-1), k >= 1."""
    if share == 1:
        return math.inf
    total, factor, before = share, 1.0, -1.0
    while total != before:  # doubles: some ten turns
        share *= share
        before, total, factor = total, total + share * factor, factor * 2
    return total


def _tau(share: float) -> float:
    """Of the share of registers that are not full: (1 - share - sum of ...) / 3."""
    if share in {0, 1}:
        return 0
    total, factor, before = 1 - share, 1.0, -1.0
    while total != before:
        share, factor = math.sqrt(share), factor / 2
        before, total = total, total - (1 - share) ** 2 * factor
    return total / 3
