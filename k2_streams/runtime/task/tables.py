"""The tables of one task, as its topology declares them."""

from typing import Any

import msgspec

from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.core.sequence.step import ScopeState
from k2_streams.runtime.deferral.backlog import COUNT_CODEC, DEFERRAL
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.gap_keeper import GAPS
from k2_streams.runtime.task.line_keeper import LINES
from k2_streams.state.codec import COUNT_PREFIX, POSITION_KEY, SHARED_TABLES, shared_table
from k2_streams.state.dedup_table import DedupTable, buckets_section
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdStore
from k2_streams.state.position import Position, Section, SectionCodec, decode_position
from k2_streams.state.row_tables import RowCodec, RowTables
from k2_streams.state.state_table import StateTable
from k2_streams.state.store import PartitionStore
from k2_streams.state.table import RowTable

SEQUENCE_CODEC = RowCodec(sequence_codec.encode, sequence_codec.decode)


def window_of(settings: Settings) -> Window:
    """How long ids are remembered."""
    return Window(settings.dedup_ttl_s * 1000)


def memory_of(settings: Settings) -> Memory:
    """What one partition's filters take: each gets an equal share of the ids expected."""
    return Memory.of(
        -(-settings.dedup_expected_ids // settings.partitions), settings.dedup_false_positive_rate
    )


def decode_entry(key: bytes, value: bytes | None) -> Any:
    """A record of the changelog `sequence` in plain objects, for people.

    Raises:
        StateFormatError: bytes of another version.
    """
    if key == POSITION_KEY:
        return decode_position(value or b"")
    if value is None:
        return None
    codec = COUNT_CODEC if shared_table(key) == SHARED_TABLES[COUNT_PREFIX] else SEQUENCE_CODEC
    return codec.decode(value)


#: The features that write a section of the position.
SECTIONS: tuple[SectionCodec[Any], ...] = (DEFERRAL, LINES, GAPS, buckets_section("dedup"))


def with_typed_sections(position: Position) -> Position:
    """A position whose sections hold their features' own types, for people: fields have names."""
    typed = {
        one.name: Section(one.version, one.read(position.sections))
        for one in SECTIONS
        if one.name in position.sections
    }
    return msgspec.structs.replace(position, sections={**position.sections, **typed})


class TaskTables:
    """Tables of one partition; their rows can be used once they are restored."""

    def __init__(self, context: TaskContext, partition: int) -> None:
        folder, disk = context.settings.worker_dir, context.disk
        self._rows = RowTables(
            "sequence",
            PartitionStore(folder / "sequence" / str(partition), disk),
            context.changelog,
            partition,
            has_position=True,
            cache_rows=context.limits.table_cache_rows,
        )
        self._dedup = DedupTable(
            "dedup",
            IdStore(folder / "dedup" / str(partition), disk),
            context.ids_changelog,
            partition,
            memory_of(context.settings),
            window_of(context.settings),
        )
        self.all: tuple[StateTable, ...] = (self._rows, self._dedup)

    @property
    def position(self) -> Position | None:
        """The newest one, once the first table is restored; None: there is none."""
        return self._rows.position

    @property
    def ids(self) -> IdTable:
        """The ids that were seen."""
        return self._dedup.ids

    def sequence(self) -> RowTable[ScopeState]:
        """The sequencer's rows."""
        return self._rows.table(SEQUENCE_CODEC)

    def deferral(self) -> RowTable[int]:
        """How many records of each key are deferred."""
        return self._rows.table(COUNT_CODEC, SHARED_TABLES[COUNT_PREFIX])

    def close(self) -> None:
        """Close all stores."""
        for table in self.all:
            table.close()
