"""A table's partition as a task sees it: decoded values in memory, the store beneath."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from k2_streams.state.codec import COUNT_PREFIX, add_hash, row_hash
from k2_streams.state.store import PartitionStore

Value = TypeVar("Value")

#: Values kept decoded. A scope's state takes about 1 KiB: 100 MiB at the most.
CACHE_ROWS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class SealedEpoch:
    """The rows an epoch changed, encoded, and what the partition is with them."""

    rows: dict[bytes, bytes | None]
    count: int
    checksum: int


class Table(Generic[Value]):
    """Reads through a cache to the store; keeps what an epoch changed until it is sealed.

    The store is written by the checkpoint alone, after its transaction was committed. What is not
    yet there stays in the cache. On any failure the whole object is thrown away.
    """

    def __init__(
        self,
        store: PartitionStore,
        encode: Callable[[Value], bytes],
        decode: Callable[[bytes], Value],
        count: int,
        checksum: int,
    ) -> None:
        self._store = store
        self._encode = encode
        self._decode = decode
        self._count = count
        self._checksum = checksum
        self._cache: dict[str, Value] = {}
        self._hashes: dict[str, int] = {}  # of the last sealed value; 0 of a row not yet sealed
        self._dirty: dict[str, Value] = {}

    @property
    def count(self) -> int:
        """Rows, with those of the epoch that is being written."""
        return self._count

    def get(self, key: str) -> Value | None:
        """The newest value."""
        found = self._cache.get(key)
        if found is None and key not in self._hashes:
            raw = self._store.get(key.encode())
            if raw is None:
                return None
            found = self._decode(raw)
            self._cache[key] = found
            self._hashes[key] = row_hash(key.encode(), raw)
        return found

    def all(self) -> dict[str, Value]:
        """All rows of the store, decoded: for a task that begins, before its first `put`.

        The counts of what was put off, which stand beside them, are none of them.
        """
        return {
            key.decode(): self._decode(raw)
            for key, raw in self._store.items()
            if not key.startswith(COUNT_PREFIX)
        }

    def put(self, key: str, value: Value) -> None:
        """Change a row in the current epoch. Read it first: `get` knows what it replaces."""
        if key not in self._hashes:
            self._hashes[key] = 0
            self._count += 1
        self._cache[key] = value
        self._dirty[key] = value

    def seal(self) -> SealedEpoch:
        """End the epoch: what it changed, ready to send. The next one may begin at once."""
        rows: dict[bytes, bytes | None] = {}
        for key, value in self._dirty.items():
            raw_key, raw = key.encode(), self._encode(value)
            new = row_hash(raw_key, raw)
            self._checksum = add_hash(self._checksum, new=new, old=self._hashes[key])
            self._hashes[key] = new
            rows[raw_key] = raw
        self._dirty = {}
        return SealedEpoch(rows, self._count, self._checksum)

    def written(self) -> None:
        """The sealed epoch is in the store: its rows may now leave the cache."""
        excess = len(self._cache) - CACHE_ROWS_MAX
        if excess > 0:
            for key in [key for key in self._cache if key not in self._dirty][:excess]:
                del self._cache[key], self._hashes[key]
