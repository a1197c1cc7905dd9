"""A table of ids that were seen: restored, sealed and written like any other table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from k2_streams.core.dedup.bloom import Hashes
from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.types import SourceRecord, TopicPartition
from k2_streams.kafka.topics import TopicInfo
from k2_streams.kafka.transactions import ChangelogRows
from k2_streams.state.checked_store import StoreUnusableError
from k2_streams.state.codec import StateFormatError, add_hash
from k2_streams.state.ids import IdTable, SealedIds
from k2_streams.state.ids_codec import BucketSum, decode_ids
from k2_streams.state.ids_store import IDS_VERSION, IdsMeta, IdStore
from k2_streams.state.position import Position, RowSum, Section, SectionCodec
from k2_streams.state.state_table import Figures, SealedTable

#: Records of up to 4 MiB read at once.
_POLL_RECORDS = 16


class Buckets(msgspec.Struct, frozen=True):
    """Live buckets of the ids' store, oldest first."""

    buckets: tuple[BucketSum, ...] = ()


def buckets_section(name: str) -> SectionCodec[Buckets]:
    """The section of a table of ids, by the table's name."""
    return SectionCodec(name, 1, Buckets)


@dataclass(frozen=True, slots=True)
class SealedIdTable:
    """A `SealedTable` of packed records."""

    name: str
    partition: int
    ids: SealedIds
    gauges: Figures

    @property
    def rows(self) -> ChangelogRows:
        """One record of all new ids, or a few; none where no id is new."""
        return [(b"", value) for value in self.ids.records()]

    @property
    def sums(self) -> Mapping[str, RowSum]:
        """Of all live buckets together."""
        checksum = 0
        for bucket in self.ids.buckets:
            checksum = add_hash(checksum, new=bucket.checksum)
        return {self.name: RowSum(sum(bucket.ids for bucket in self.ids.buckets), checksum)}

    @property
    def sections(self) -> Mapping[str, Section]:
        """Of each bucket what it holds."""
        return {self.name: buckets_section(self.name).write(Buckets(self.ids.buckets))}

    @property
    def counts(self) -> Figures:
        """What was asked, and how it came out."""
        counts = self.ids.counts
        return {
            ("dedup_ids_total", ("new",)): counts.new,
            ("dedup_ids_total", ("duplicate",)): counts.repeated,
            ("dedup_false_positives_total", ()): counts.false_positives,
        }


class DedupTable:
    """A `StateTable` of ids.

    What the changelog no longer holds is of no use: its retention is longer than any id is looked
    for.

    Args:
        name: of the table, and of its section.
        store: of the partition, not open.
        changelog: its topic.
        partition: of the changelog.
        memory: what a bucket's filter takes.
        window: how long an id is looked for.
    """

    poll_records = _POLL_RECORDS

    def __init__(
        self,
        name: str,
        store: IdStore,
        changelog: TopicInfo,
        partition: int,
        memory: Memory,
        window: Window,
    ) -> None:
        self.name = name
        self.changelog = TopicPartition(changelog.name, partition)
        self.ids = IdTable(store, memory, window)
        self._topic_id = changelog.id
        self._store = store
        self._expected: tuple[BucketSum, ...] = ()
        self._found: dict[int, list[Hashes]] = {}

    # -- take-over -------------------------------------------------------------------------------

    def open(self, begin: int) -> int:
        """As `StateTable.open`."""
        meta = self._store.open(self.ids.load)
        if meta is None:
            return begin
        return max(begin, meta.of(self._topic_id, self.changelog.partition).changelog_offset)

    def expect(self, position: Position | None, time_ms: int) -> None:
        """As `StateTable.expect`.

        Buckets that every record to come is too late for are not asked for any more: the changelog
        does not hold the ids of a partition that was silent for weeks.

        Raises:
            StateFormatError: the position says what this version cannot read.
        """
        held = None if position is None else buckets_section(self.name).read(position.sections)
        if position is None or held is None:
            return
        window = self.ids.window
        bucket = window.bucket(max(position.append_time_ms, time_ms))
        self._expected = tuple(b for b in held.buckets if window.is_live(b.end_ms, bucket))

    def replay(self, records: Sequence[SourceRecord]) -> None:
        """As `StateTable.replay`."""
        live = {bucket.end_ms for bucket in self._expected}
        for record in records:
            try:
                for bucket, hashes in decode_ids(record.value or b""):
                    if bucket in live:
                        self._found.setdefault(bucket, []).append(hashes)
            except StateFormatError as error:
                raise StoreUnusableError(f"changelog record {record.offset}: {error}") from error

    def finish(self, end: int) -> None:
        """As `StateTable.finish`."""
        found = {bucket: np.concatenate(parts) for bucket, parts in self._found.items()}
        for bucket, hashes in found.items():
            self.ids.load(bucket, hashes)
        dropped = self.ids.keep(self._expected)
        if self.ids.sums() != self._expected:
            raise StoreUnusableError(f"expected ids {self._expected}, found {self.ids.sums()}")
        meta = IdsMeta(IDS_VERSION, self._topic_id, end, self.changelog.partition, self._expected)
        self._store.write(found, dropped, meta)
        self._found = {}

    def wipe(self) -> None:
        """As `StateTable.wipe`."""
        self._store.wipe()
        self.ids.forget()
        self._found = {}

    def close(self) -> None:
        """As `StateTable.close`."""
        self._store.close()

    # -- checkpoint ------------------------------------------------------------------------------

    def seal(self) -> SealedIdTable:
        """As `StateTable.seal`."""
        sealed = self.ids.seal()
        partition = (str(self.changelog.partition),)
        gauges: Figures = {
            ("dedup_stored_ids", partition): float(self.ids.ids),
            ("dedup_filter_bytes", partition): float(self.ids.filter_bytes),
            ("dedup_estimated_false_positive_ratio", partition): self.ids.expected_rate,
        }
        return SealedIdTable(self.name, self.changelog.partition, sealed, gauges)

    def written(self, sealed: SealedTable, changelog_offset: int, position: bytes) -> None:  # noqa: ARG002 - it lies elsewhere
        """As `StateTable.written`."""
        assert isinstance(sealed, SealedIdTable)  # noqa: S101 - what `seal` gave
        meta = IdsMeta(
            IDS_VERSION,
            self._topic_id,
            changelog_offset,
            self.changelog.partition,
            sealed.ids.buckets,
        )
        self.ids.write(sealed.ids, meta)
