"""Which ids are repeats: the decision, for feeds that carry ids without a contiguous sequence.

The promise: a repeat that arrives within the time to live of its first copy is found, and no first
copy is taken for a repeat. An answer depends on the ids and the append times in the log alone, not
on how they were cut into batches, on the machine's clock or on restarts.

Time is the partition's: the largest append time so far. It is cut into buckets of an eighth of the
time to live, and a bucket holds the ids whose first copy came in it:

    |-------|-------|-------|-------|-------|-------|-------|-------|--now--|
       dropped when `now` reaches a bucket that begins at its end + time to live

So an id is remembered for one to 9/8 of the time to live. Eight, since every live bucket has a
filter of its own: more would add up more false positives, fewer would keep ids for longer; 21 bits
an id at 0.1 %, and no other number takes less.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import mmh3
import numpy as np
import numpy.typing as npt

from k2_streams.core.dedup.bloom import BloomShape, Bools, Hashes

#: Buckets in a time to live; one more is live, since the first and the last are cut.
BUCKETS = 8
LIVE_BUCKETS = BUCKETS + 1
HASH_BYTES = 16

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """How long ids are remembered. A bucket is named by its end, in ms."""

    ttl_ms: int

    def __post_init__(self) -> None:
        """Refuse what cannot be cut into buckets."""
        if self.ttl_ms < BUCKETS or self.ttl_ms % BUCKETS:
            raise ValueError(f"expected a multiple of {BUCKETS} ms, found {self.ttl_ms}")

    @property
    def width_ms(self) -> int:
        """Of a bucket."""
        return self.ttl_ms // BUCKETS

    def bucket(self, now_ms: int) -> int:
        """The end of the bucket that the partition's time is in."""
        return (now_ms // self.width_ms + 1) * self.width_ms

    def is_live(self, end_ms: int, bucket: int) -> bool:
        """Whether a bucket is looked into while the partition's time is in `bucket`."""
        return end_ms + self.ttl_ms > bucket - self.width_ms


class KnownIds(Protocol):
    """What is remembered. `step_batch` asks and tells it; it decides nothing."""

    def expire(self, bucket: int) -> None:
        """The partition's time is now in this bucket: drop those that are not live any more."""
        ...

    def held(self, hashes: Hashes) -> Bools:
        """Of each id, whether a live bucket holds it."""
        ...

    def add(self, bucket: int, hashes: Hashes) -> None:
        """Remember ids that no live bucket holds, each once."""
        ...


class Remembered(NamedTuple):
    """What `step` knows: the first copy's bucket of each id, and the partition's time."""

    now_ms: int
    bucket_of: dict[bytes, int]


def step(
    known: Remembered, identity: bytes, append_ms: int, window: Window
) -> tuple[Remembered, bool]:
    """One id, plainly: what is known after it, and whether it is a repeat.

    This is what `step_batch` means; it is not used where it has to be fast.
    """
    now_ms = max(known.now_ms, append_ms)
    bucket = window.bucket(now_ms)
    live = {other: end for other, end in known.bucket_of.items() if window.is_live(end, bucket)}
    repeated = identity in live
    if not repeated:
        live[identity] = bucket
    return Remembered(now_ms, live), repeated


def step_batch(known: KnownIds, window: Window, hashes: Hashes, now_ms: Int64s) -> Bools:
    """Of each id of a batch, whether it is a repeat; the first copies are added to `known`.

    Args:
        known: what is remembered of the partition.
        window: how long.
        hashes: of the ids, in the order of the log.
        now_ms: the partition's time at each: the largest append time up to it. It never falls.
    """
    repeated = np.zeros(len(hashes), np.bool_)
    for start, end, bucket in _by_bucket(window, now_ms):
        part = hashes[start:end]
        known.expire(bucket)
        order, first = _first_copies(part)
        fresh = first & ~known.held(part)
        # In the order of the hashes, which is what a sorted store takes most easily.
        known.add(bucket, part[order[fresh[order]]])
        repeated[start:end] = ~fresh
    return repeated


def _by_bucket(window: Window, now_ms: Int64s) -> Iterator[tuple[int, int, int]]:
    """Runs whose time is in one bucket: start, end, bucket. One, as nearly always."""
    if not len(now_ms):
        return
    number = now_ms // window.width_ms
    cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(number)]
    for start, end in pairwise(cuts):
        yield start, end, (int(number[start]) + 1) * window.width_ms


def _first_copies(hashes: Hashes) -> tuple[npt.NDArray[np.intp], Bools]:
    """The order of the hashes, and of each whether no equal one comes before it."""
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))  # stable: equal ones as they came
    ordered = hashes[order]
    first = np.empty(len(hashes), np.bool_)
    first[order[:1]] = True
    first[order[1:]] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, first


def hashes_of(identities: Iterable[bytes]) -> Hashes:
    """The ids' hashes: MurmurHash3, 128 bits. Two of 10^12 ids share one with p = 10^-15."""
    digest = mmh3.mmh3_x64_128_digest
    return from_bytes(b"".join([digest(identity) for identity in identities]))


def from_bytes(packed: bytes) -> Hashes:
    """Packed hashes, 16 bytes each; their order as numbers is that of their bytes."""
    return np.frombuffer(packed, ">u8").astype(np.uint64).reshape(-1, 2)


def to_bytes(hashes: Hashes) -> bytes:
    """The inverse of `from_bytes`."""
    return hashes.astype(">u8").tobytes()


@dataclass(frozen=True, slots=True)
class Memory:
    """What the filters of one partition take, and how often they say "maybe" to a new id."""

    ids: int  # expected within a time to live
    rate: float  # of all live filters together
    shape: BloomShape  # of a bucket's filter

    @classmethod
    def of(cls, ids: int, rate: float) -> "Memory":
        """For so many ids within a time to live, at this rate.

        An id is looked up in every live filter, so each gets its share of the rate.
        """
        return cls(ids, rate, BloomShape.of(-(-ids // BUCKETS), rate / LIVE_BUCKETS))

    @property
    def size_bytes(self) -> int:
        """With all buckets live."""
        return LIVE_BUCKETS * self.shape.size_bytes
