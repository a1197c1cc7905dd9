"""A partition's ids as a task sees them: one filter per bucket in memory, the store beneath.

    an id ---> every live filter says no --------------------------------> new
          '--> one says maybe ---> is it in that bucket, pending or stored?
                                        yes: a repeat    no: a false positive

A filter's "no" is worth something only if it has seen all that its bucket holds: `recover_ids`
gives it every id of the store and of the changelog before the table is used.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np

from k2_streams.core.dedup.bloom import Bloom, Bools, Hashes, positions
from k2_streams.core.dedup.ids import HASH_BYTES, Memory, Window, to_bytes
from k2_streams.state.codec import add_hash
from k2_streams.state.ids_codec import BucketSum, checksum_of, encode_ids
from k2_streams.state.ids_store import IdsMeta, IdStore


class IdCounts(msgspec.Struct):
    """What was asked since the last checkpoint, and how it came out."""

    new: int = 0
    repeated: int = 0  # looked up, and there
    false_positives: int = 0  # new ids for which a filter answers "maybe"


@dataclass(frozen=True, slots=True)
class SealedIds:
    """The ids an epoch brought, and what the buckets are with them."""

    ids: dict[int, Hashes]
    dropped: tuple[int, ...]
    buckets: tuple[BucketSum, ...]
    counts: IdCounts

    def records(self) -> list[bytes]:
        """The changelog's records: one, or none where no id is new."""
        return encode_ids(self.ids)


@dataclass(slots=True)
class _Bucket:
    """What is known of a live bucket."""

    filter: Bloom
    ids: int = 0
    checksum: int = 0
    new: list[Hashes] = field(default_factory=list)  # of this epoch
    pending: set[bytes] = field(default_factory=set)  # of this epoch
    sealed: set[bytes] = field(default_factory=set)  # of the epoch that is being written


class IdTable:
    """`core.dedup.ids.KnownIds` over a store, for one thread. After any failure it is thrown away.

    The store is written by the checkpoint alone, after its transaction was committed. What is not
    yet there is held in memory beside the filters.
    """

    def __init__(self, store: IdStore, memory: Memory, window: Window) -> None:
        self.window = window
        self._store = store
        self._memory = memory
        self._buckets: dict[int, _Bucket] = {}
        self._dropped: list[int] = []
        self._counts = IdCounts()

    @property
    def ids(self) -> int:
        """Ids remembered."""
        return sum(bucket.ids for bucket in self._buckets.values())

    @property
    def filter_bytes(self) -> int:
        """What the filters take."""
        return len(self._buckets) * self._memory.shape.size_bytes

    @property
    def expected_rate(self) -> float:
        """By the formula: the share of new ids looked up in vain, with the filters as they are."""
        passed = 1.0
        for bucket in self._buckets.values():
            passed *= 1 - self._memory.shape.rate_at(bucket.filter.ids)
        return 1 - passed

    def load(self, bucket: int, hashes: Hashes) -> None:
        """Take ids that the store holds, or that the changelog says it must hold."""
        self._bucket(bucket, hashes)

    def forget(self) -> None:
        """Whatever was loaded cannot be trusted."""
        self._buckets = {}

    def keep(self, buckets: tuple[BucketSum, ...]) -> tuple[int, ...]:
        """Drop all buckets but these; those that were dropped."""
        kept = {bucket.end_ms for bucket in buckets}
        gone = tuple(end for end in self._buckets if end not in kept)
        for end in gone:
            del self._buckets[end]
        return gone

    def sums(self) -> tuple[BucketSum, ...]:
        """The live buckets, oldest first."""
        return tuple(
            BucketSum(end, bucket.ids, bucket.checksum)
            for end, bucket in sorted(self._buckets.items())
        )

    # -- core.dedup.KnownIds ---------------------------------------------------------------------

    def expire(self, bucket: int) -> None:
        """Drop what is not live while the partition's time is in this bucket."""
        for end in [end for end in self._buckets if not self.window.is_live(end, bucket)]:
            del self._buckets[end]
            self._dropped.append(end)

    def held(self, hashes: Hashes) -> Bools:
        """Of each id, whether a live bucket holds it."""
        found = np.zeros(len(hashes), np.bool_)
        asked = np.zeros(len(hashes), np.bool_)
        at = positions(self._memory.shape, hashes)
        packed: bytes | None = None
        for end, bucket in self._buckets.items():
            maybe = bucket.filter.maybe(at)
            for number in np.flatnonzero(maybe & ~found).tolist():
                packed = packed or to_bytes(hashes)
                identity = packed[number * HASH_BYTES : (number + 1) * HASH_BYTES]
                found[number] = (
                    identity in bucket.pending
                    or identity in bucket.sealed
                    or self._store.holds(end, identity)
                )
                asked[number] = True
        self._counts.repeated += int(np.count_nonzero(found))
        self._counts.false_positives += int(np.count_nonzero(asked & ~found))
        return found

    def add(self, bucket: int, hashes: Hashes) -> None:
        """Remember ids that no live bucket holds, each once."""
        if not len(hashes):
            return
        into = self._bucket(bucket, hashes)
        into.new.append(hashes)
        into.pending.update(_split(to_bytes(hashes)))
        self._counts.new += len(hashes)

    # -- checkpoint ------------------------------------------------------------------------------

    def seal(self) -> SealedIds:
        """End the epoch: what it brought, ready to send. The next one may begin at once."""
        ids = {}
        for end, bucket in self._buckets.items():
            if bucket.new:
                ids[end] = np.concatenate(bucket.new)
                bucket.new = []
                bucket.sealed, bucket.pending = bucket.pending, set()
        dropped: tuple[int, ...] = ()
        if ids:  # nothing is written without one; what was dropped waits for the next
            dropped, self._dropped = tuple(self._dropped), []
        counts, self._counts = self._counts, IdCounts()
        return SealedIds(ids, dropped, self.sums(), counts)

    def write(self, sealed: SealedIds, meta: IdsMeta) -> None:
        """The sealed epoch is committed: into the store with it, in one batch."""
        self._store.write(sealed.ids, sealed.dropped, meta)
        for bucket in self._buckets.values():
            bucket.sealed = set()

    def _bucket(self, end: int, hashes: Hashes) -> _Bucket:
        """The bucket with these ids in its filter and its sums."""
        bucket = self._buckets.get(end)
        if bucket is None:
            bucket = self._buckets[end] = _Bucket(Bloom(self._memory.shape))
        bucket.filter.add(positions(self._memory.shape, hashes))
        bucket.ids += len(hashes)
        bucket.checksum = add_hash(bucket.checksum, new=checksum_of(hashes))
        return bucket


def _split(packed: bytes) -> Iterator[bytes]:
    return (packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES))
