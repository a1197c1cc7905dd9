"""A checksum of rows that does not depend on their order, nor on how they lie in files.

Each row becomes 64 bits; two different mixes of these are added up over all rows. Two sets of rows
with the same sums are the same set, but for a chance of about 2^-64 per pair of rows. It protects
against mistakes, not against somebody who looks for collisions.

The mix is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Of text the bytes are
the coefficients of a polynomial modulo 2^64.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Rows hashed at once: some MiB of intermediate results.
_ROWS_AT_ONCE = 16_384
_GOLDEN = 0x9E3779B97F4A7C15
_TEXT_BASE = np.uint64(0x9E3779B97F4A7C55)  # odd, so that no power of it is 0
_MIXES = (np.uint64(0x243F6A8885A308D3), np.uint64(0x13198A2E03707344))
_BITS = 64
_MASK = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True)
class RowSums:
    """How many rows, and two sums over them."""

    rows: int = 0
    low: int = 0
    high: int = 0

    def __add__(self, other: "RowSums") -> "RowSums":
        """Of both sets of rows together."""
        return RowSums(
            self.rows + other.rows, (self.low + other.low) & _MASK, (self.high + other.high) & _MASK
        )


def sums_of(rows: pa.Table) -> RowSums:
    """Of all rows, over all columns by their names; nested types to any depth.

    A value has the same hash in every chunk, slice and dictionary; the type must be the same.
    """
    total = RowSums()
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
        hashed = hashes_of(batch)
        low, high = (int(mixed(hashed ^ salt).sum(dtype=np.uint64)) for salt in _MIXES)
        total += RowSums(batch.num_rows, low, high)
    return total


def hashes_of(rows: pa.RecordBatch) -> np.ndarray:
    """One hash per row, over all columns by their names; bits of it are not yet spread."""
    hashed = np.zeros(rows.num_rows, np.uint64)
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        hashed += mixed(_hashes(column) ^ _seed(name))
    return hashed


def _seed(name: str) -> np.uint64:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def mixed(values: np.ndarray) -> np.ndarray:
    """Each value with its bits spread over all 64."""
    mixed = values + np.uint64(_GOLDEN)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _hashes(array: pa.Array) -> np.ndarray:
    """One value per row; all nulls have the same one."""
    if len(array) == 0:
        return np.zeros(0, np.uint64)
    hashed = _hashes_of_values(array)
    if array.null_count:
        hashed = np.where(pc.is_null(array).to_numpy(zero_copy_only=False), _MIXES[0], hashed)
    return hashed


def _hashes_of_values(array: pa.Array) -> np.ndarray:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _hashes(array.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _hashes_of_text(array)
    if pa.types.is_map(kind):
        children = mixed(_hashes(array.keys)) + _hashes(array.items)
        return _hashes_of_lists(array, children)
    if pa.types.is_list(kind):
        return _hashes_of_lists(array, _hashes(array.values))
    if pa.types.is_struct(kind):
        hashed = np.zeros(len(array), np.uint64)
        for at in range(kind.num_fields):
            hashed += mixed(_hashes(array.field(at)) ^ _seed(kind.field(at).name))
        return hashed
    return _hashes_of_numbers(array)


def _hashes_of_numbers(array: pa.Array) -> np.ndarray:
    """Of values of a fixed width: their bytes."""
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    if array.null_count == len(array):  # may have no values at all
        return np.zeros(len(array), np.uint64)
    width = array.type.bit_width // 8
    found = np.frombuffer(array.buffers()[1], np.uint8)
    found = found[array.offset * width : (array.offset + len(array)) * width]
    if width <= 8:  # what one number of numpy has
        return mixed(found.view(f"<u{width}").astype(np.uint64))
    words = found.view("<u8").reshape(len(array), -1)
    hashed = np.zeros(len(array), np.uint64)
    for at in range(words.shape[1]):
        hashed = mixed(hashed + words[:, at])
    return hashed


def _hashes_of_text(array: pa.Array) -> np.ndarray:
    _, offsets_buffer, data = array.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[array.offset :][: len(array) + 1]
    starts, lengths = offsets[:-1], np.diff(offsets)
    if data is None or not lengths.any():
        return mixed(lengths.astype(np.uint64))
    found = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    places = np.arange(len(found)) - np.repeat(starts - offsets[0], lengths)
    powers = np.cumprod(np.full(int(lengths.max()), _TEXT_BASE), dtype=np.uint64)
    terms = (found.astype(np.uint64) + np.uint64(1)) * powers[places]
    return mixed(_sums_between(terms, offsets - offsets[0]) + lengths.astype(np.uint64))


def _hashes_of_lists(array: pa.Array, children: np.ndarray) -> np.ndarray:
    """Of lists and maps: of what is in them, in its order."""
    offsets = array.offsets.to_numpy()
    lengths = np.diff(offsets)
    inside = children[offsets[0] : offsets[-1]]
    places = np.arange(len(inside)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    terms = mixed(inside + places.astype(np.uint64) * np.uint64(_GOLDEN))
    return mixed(_sums_between(terms, offsets - offsets[0]) + lengths.astype(np.uint64))


def _sums_between(terms: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The sums of the terms between each two offsets, modulo 2^64."""
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    between: np.ndarray = sums[offsets[1:]] - sums[offsets[:-1]]
    return between
