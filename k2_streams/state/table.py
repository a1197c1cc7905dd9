"""A table's partition as a task sees it: decoded values in memory, the store beneath."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from k2_streams.state.codec import ROWS, add_hash, row_hash, shared_table
from k2_streams.state.position import RowSum
from k2_streams.state.store import PartitionStore

Value = TypeVar("Value")

#: Values kept decoded. A scope's state takes about 1 KiB: 100 MiB at the most.
CACHE_ROWS = 100_000
#: The same of values that are bytes, of which one may have 256 KiB.
CACHE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class SealedRows:
    """The rows an epoch changed, encoded, and what the table is with them."""

    rows: dict[bytes, bytes | None]  # None: the row was deleted
    count: int
    checksum: int

    @property
    def sum(self) -> RowSum:
        """As the position has it."""
        return RowSum(self.count, self.checksum)


class RowTable(Generic[Value]):
    """Reads through a cache to the store; keeps what an epoch changed until it is sealed.

    The store is written by the checkpoint alone, after its transaction was committed. What is not
    yet there stays in the cache. On any failure the whole object is thrown away.

    Args:
        store: of the partition.
        encode, decode: a value to its bytes and back. Values are kept as they are, so they must be
            immutable.
        count, checksum: of the table, as the store holds it.
        prefix: the byte before each key, of a table that shares its store.
        cache_rows: values that stay in memory, beside those that are not written yet.
    """

    def __init__(
        self,
        store: PartitionStore,
        encode: Callable[[Value], bytes],
        decode: Callable[[bytes], Value],
        count: int,
        checksum: int,
        prefix: bytes = b"",
        cache_rows: int = CACHE_ROWS,
    ) -> None:
        self._store = store
        self._cache_rows = cache_rows
        self._encode = encode
        self._decode = decode
        self._count = count
        self._checksum = checksum
        self._prefix = prefix
        self._cache: dict[str, Value | None] = {}  # None: there is no such row
        self._hashes: dict[str, int | None] = {}  # of the last sealed value of what is cached
        self._dirty: dict[str, None] = {}  # in the order of the changes
        self._sealed: dict[str, None] = {}  # of the epoch that is being written

    def get(self, key: str) -> Value | None:
        """The newest value."""
        found = self._cache.get(key)
        if found is None and key not in self._hashes:
            raw_key = self._raw(key)
            raw = self._store.get(raw_key)
            found = None if raw is None else self._decode(raw)
            self._keep(key, found)
            self._hashes[key] = None if raw is None else row_hash(raw_key, raw)
        return found

    def items(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """All rows whose keys begin so, in the order of their keys, with what the epoch changed."""
        changed = {
            key: self._cache[key] for key in self._dirty | self._sealed if key.startswith(prefix)
        }
        stored = {
            key: raw
            for raw_key, raw in self._store.items(self._raw(prefix))
            if (self._prefix or shared_table(raw_key) == ROWS)
            and (key := self._text(raw_key)) not in changed
        }
        for key in sorted(stored.keys() | changed.keys()):
            value = changed[key] if key in changed else self._decode(stored[key])
            if value is not None:
                yield key, value

    def put(self, key: str, value: Value) -> None:
        """Change a row in the current epoch."""
        if key not in self._hashes:
            self.get(key)  # what it replaces is part of the sum
        self._change(key, value)

    def delete(self, key: str) -> None:
        """Delete a row in the current epoch, if there is one."""
        if self.get(key) is not None:
            self._change(key, None)

    def seal(self) -> SealedRows:
        """End the epoch: what it changed, ready to send. The next one may begin at once."""
        rows: dict[bytes, bytes | None] = {}
        added = 0  # to the checksum
        for key in self._dirty:
            value, old = self._cache[key], self._hashes[key]
            raw_key, raw = self._raw(key), None if value is None else self._encode(value)
            if raw is None and old is None:
                continue  # it came and went within the epoch
            new = None if raw is None else row_hash(raw_key, raw)
            self._count += (new is not None) - (old is not None)
            added += (new or 0) - (old or 0)
            self._hashes[key] = new
            rows[raw_key] = raw
        self._checksum = add_hash(self._checksum, new=added)
        self._sealed, self._dirty = self._dirty, {}
        return SealedRows(rows, self._count, self._checksum)

    def written(self) -> None:
        """The sealed epoch is in the store: its rows may now leave the cache."""
        self._sealed = {}
        if self._is_cache_full():
            for key in [key for key in self._cache if key not in self._dirty]:
                self._forget(key)
                if not self._is_cache_full():
                    break

    def _is_cache_full(self) -> bool:
        """Whether rows are to leave the cache."""
        return len(self._cache) > self._cache_rows

    def _change(self, key: str, value: Value | None) -> None:
        self._keep(key, value)
        self._dirty[key] = None

    def _keep(self, key: str, value: Value | None) -> None:
        """A value comes into the cache."""
        self._cache[key] = value

    def _forget(self, key: str) -> None:
        """A row leaves the cache."""
        del self._cache[key], self._hashes[key]

    def _raw(self, key: str) -> bytes:
        # Keys of records are bytes, and need not be UTF-8.
        return self._prefix + key.encode("utf-8", "surrogateescape")

    def _text(self, raw_key: bytes) -> str:
        return raw_key.removeprefix(self._prefix).decode(errors="surrogateescape")


class BytesTable(RowTable[bytes]):
    """A table of bytes, which somebody else encodes: its cache is bounded by their size, too.

    Args:
        of_table: as of a `RowTable`.
        cache_bytes: of keys and values that stay in memory, beside those that are not written yet.
        more: as of a `RowTable`.
    """

    def __init__(self, *of_table: Any, cache_bytes: int = CACHE_BYTES, **more: Any) -> None:
        super().__init__(*of_table, **more)
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0

    def _is_cache_full(self) -> bool:
        return self._cached_bytes > self._cache_bytes or super()._is_cache_full()

    def _keep(self, key: str, value: bytes | None) -> None:
        self._cached_bytes -= self._size_bytes(key)
        super()._keep(key, value)
        self._cached_bytes += self._size_bytes(key)

    def _forget(self, key: str) -> None:
        self._cached_bytes -= self._size_bytes(key)
        super()._forget(key)

    def _size_bytes(self, key: str) -> int:
        """What a key in the cache takes, if there is no such row as well; 0: it is not there."""
        return len(key) + len(self._cache[key] or b"") if key in self._cache else 0
