"""The row tables of one changelog: a declared table, and those of the task that lie beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from k2_streams.core.types import SourceRecord, TopicPartition
from k2_streams.kafka.topics import TopicInfo
from k2_streams.state.checked_store import StoreUnusableError
from k2_streams.state.codec import (
    POSITION_KEY,
    ROWS,
    SHARED_TABLES,
    add_hash,
    row_hash,
    shared_table,
)
from k2_streams.state.position import (
    ALL_TABLES,
    Position,
    RowSum,
    Section,
    decode_position,
    encode_position,
)
from k2_streams.state.state_table import Figures, SealedTable
from k2_streams.state.store import STATE_VERSION, PartitionStore, StoreMeta, total, without_empty
from k2_streams.state.table import CACHE_ROWS, RowTable

#: Rows applied to the store in one batch while it is rebuilt, and their bytes.
REBUILD_BATCH_ROWS = 10_000
REBUILD_BATCH_BYTES = 16 << 20

_PREFIXES = {name: prefix for prefix, name in SHARED_TABLES.items()} | {ROWS: b""}


Table = TypeVar("Table", bound=RowTable[Any])


class RowCodec(NamedTuple):
    """A table's values to bytes and back."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class SealedRowTables:
    """A `SealedTable` of one changelog record per row changed."""

    rows: Sequence[tuple[bytes, bytes | None]]
    sums: Mapping[str, RowSum]
    sections: Mapping[str, Section] = field(default_factory=dict)
    counts: Figures = field(default_factory=dict)
    gauges: Figures = field(default_factory=dict)


class RowTables:
    """A `StateTable` of rows.

    Args:
        name: of the declared table.
        store: of the partition, not open.
        changelog: its topic.
        partition: of the changelog.
        has_position: whether the position record lies in this changelog, behind each epoch's rows.
        cache_rows: of each table, decoded rows that stay in memory.
        rebuild_batch_rows: rows that a replay writes at once.
    """

    poll_records = REBUILD_BATCH_ROWS

    def __init__(
        self,
        name: str,
        store: PartitionStore,
        changelog: TopicInfo,
        partition: int,
        *,
        has_position: bool,
        cache_rows: int = CACHE_ROWS,
        rebuild_batch_rows: int = REBUILD_BATCH_ROWS,
    ) -> None:
        self.name = name
        self.store = store
        self.changelog = TopicPartition(changelog.name, partition)
        self.position: Position | None = None  # the newest one, once it is restored
        self._topic_id = changelog.id
        self._has_position = has_position
        self._cache_rows = cache_rows
        self._rebuild_batch_rows = rebuild_batch_rows
        self._tables: dict[str, RowTable[Any]] = {}
        self._begin()

    def _begin(self) -> None:
        self._found: dict[str, RowSum] = {}
        self._pending: dict[bytes, bytes | None] = {}
        self._pending_bytes = 0
        self._replayed = 0
        if self._has_position:
            self.position = None

    # -- take-over -------------------------------------------------------------------------------

    def open(self, begin: int) -> int:
        """As `StateTable.open`."""
        meta = self.store.open()
        if meta is None:
            return begin
        meta.of(self._topic_id, self.changelog.partition)
        if meta.changelog_offset < begin:
            raise StoreUnusableError(
                f"expected a changelog offset from {begin} on, found {meta.changelog_offset}"
            )
        self._found = dict(meta.sums)
        if self._has_position and meta.position:
            self.position = decode_position(meta.position)
        return meta.changelog_offset

    def expect(self, position: Position | None, time_ms: int) -> None:  # noqa: ARG002 - rows have no time
        """As `StateTable.expect`, of tables whose position lies elsewhere."""
        self.position = position

    def replay(self, records: Sequence[SourceRecord]) -> None:
        """As `StateTable.replay`.

        What has been replayed is written now and then, with its sums and how far it goes: memory
        does not follow the size of a table, and a replay that is cut off is gone on with.
        """
        for record in records:
            self._replayed += 1
            key, value = record.key, record.value
            if key is None:
                raise StoreUnusableError(f"changelog record {record.offset} has no key")
            if key == POSITION_KEY:
                self.position = decode_position(value or b"")
                continue
            pending = self._pending
            old = pending[key] if key in pending else self.store.get(key)
            table = shared_table(key)
            was = self._found.get(table, RowSum())
            self._found[table] = RowSum(
                was.rows + (value is not None) - (old is not None),
                add_hash(
                    was.checksum,
                    new=0 if value is None else row_hash(key, value),
                    old=0 if old is None else row_hash(key, old),
                ),
            )
            pending[key] = value
            self._pending_bytes += len(value or b"")
            if (
                len(pending) >= self._rebuild_batch_rows
                or self._pending_bytes >= REBUILD_BATCH_BYTES
            ):
                self._write_pending(record.offset + 1)

    def finish(self, end: int) -> None:
        """As `StateTable.finish`."""
        position = self.position
        if position is None:
            if self._replayed:
                raise StoreUnusableError(
                    f"{self._replayed} changelog records and no position among them"
                )
            return
        found = self._named(self._found)
        if ALL_TABLES in position.tables:  # of version 1
            if self._has_position and total(found) != position.tables[ALL_TABLES]:
                raise StoreUnusableError(
                    f"expected {position.tables[ALL_TABLES]}, found {total(found)}"
                )
        else:
            names = self._named(dict.fromkeys(_PREFIXES, RowSum()))
            expected = {name: position.tables.get(name, RowSum()) for name in names}
            if without_empty(expected) != without_empty(found):
                raise StoreUnusableError(f"expected {expected}, found {found}")
        self._write_pending(end)

    def _write_pending(self, changelog_offset: int) -> None:
        position = b"" if self.position is None else encode_position(self.position)
        self._write(self._pending, changelog_offset, position, self._found)
        self._pending, self._pending_bytes = {}, 0

    def _named(self, sums: Mapping[str, RowSum]) -> dict[str, RowSum]:
        """By the names of the position; beside a table without it lie no others."""
        return {
            (self.name if table == ROWS else table): one
            for table, one in sums.items()
            if table == ROWS or self._has_position
        }

    def wipe(self) -> None:
        """As `StateTable.wipe`."""
        self.store.wipe()
        self._begin()

    def close(self) -> None:
        """As `StateTable.close`."""
        self.store.close()

    # -- processing ------------------------------------------------------------------------------

    def table(self, codec: RowCodec, shared: str = ROWS) -> RowTable[Any]:
        """The declared table, or one that lies beside it; each is made once, after `finish`."""
        return self.table_of(RowTable[Any], codec, shared)

    def table_of(self, kind: Callable[..., Table], codec: RowCodec, shared: str = ROWS) -> Table:
        """As `table`, of a class of its own: `kind` takes what `RowTable` takes."""
        if shared in self._tables:
            raise AssertionError(f"table {self.name}: {shared or 'its rows'} is in use already")
        one = self._found.get(shared, RowSum())
        made = kind(
            self.store,
            *codec,
            one.rows,
            one.checksum,
            prefix=_PREFIXES[shared],
            cache_rows=self._cache_rows,
        )
        self._tables[shared] = made
        return made

    # -- checkpoint ------------------------------------------------------------------------------

    def seal(self) -> SealedRowTables:
        """As `StateTable.seal`."""
        rows: list[tuple[bytes, bytes | None]] = []
        for table, one in self._tables.items():
            sealed = one.seal()
            rows += sealed.rows.items()
            self._found[table] = sealed.sum
        return SealedRowTables(rows, self._named(self._found))

    def written(self, sealed: SealedTable, changelog_offset: int, position: bytes) -> None:
        """As `StateTable.written`."""
        sums = {table: sealed.sums[self.name if table == ROWS else table] for table in self._tables}
        rows = {key: value for key, value in sealed.rows if key != POSITION_KEY}
        self._write(rows, changelog_offset, position, sums)
        for one in self._tables.values():
            one.written()

    def _write(
        self,
        rows: Mapping[bytes, bytes | None],
        changelog_offset: int,
        position: bytes,
        sums: Mapping[str, RowSum],
    ) -> None:
        meta = StoreMeta(
            STATE_VERSION,
            self._topic_id,
            changelog_offset,
            self.changelog.partition,
            position if self._has_position else b"",
            dict(sums),
        )
        self.store.write(rows, meta)
