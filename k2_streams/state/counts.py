"""Counts by key beside a table's rows: in the same store, changelog, count and checksum.

A row's key is `COUNT_PREFIX` and the key counted; no scope's key begins with it. Its value is the
number in digits; a count of 0 has no row.
"""

from collections.abc import Mapping

from k2_streams.state.codec import COUNT_PREFIX, add_hash, row_hash
from k2_streams.state.store import PartitionStore
from k2_streams.state.table import SealedEpoch


def load(store: PartitionStore) -> dict[bytes, int]:
    """All counts that the store holds."""
    return {key.removeprefix(COUNT_PREFIX): int(value) for key, value in store.items(COUNT_PREFIX)}


class Counts:
    """The rows of counts, and what they add to the partition's count and checksum.

    Args:
        sealed: as the store holds them; part of the table's count and checksum already.
    """

    def __init__(self, sealed: Mapping[bytes, int]) -> None:
        self._hashes = {key: _hash(key, count) for key, count in sealed.items()}
        self._rows = 0
        self._checksum = 0

    def seal(self, changed: Mapping[bytes, int], table: SealedEpoch) -> SealedEpoch:
        """The table's sealed epoch with these counts."""
        rows = dict(table.rows)
        for key, count in changed.items():
            old = self._hashes.pop(key, None)
            if not count and old is None:
                continue  # came and went within the epoch
            new = 0
            if count:
                new = self._hashes[key] = _hash(key, count)
            self._rows += (count > 0) - (old is not None)
            self._checksum = add_hash(self._checksum, new=new, old=old or 0)
            rows[COUNT_PREFIX + key] = b"%d" % count if count else None
        return SealedEpoch(
            rows, table.count + self._rows, add_hash(table.checksum, new=self._checksum)
        )


def _hash(key: bytes, count: int) -> int:
    return row_hash(COUNT_PREFIX + key, b"%d" % count)
