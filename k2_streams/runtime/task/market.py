"""What the tasks of a raw source run: feeds, sequencer, ids and rows; and the tables of that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.core.enrich.instruments import PriceDomains, positive_prices
from k2_streams.core.enrich.notional import Notional, of_ones
from k2_streams.core.sequence import codec as sequence_codec
from k2_streams.kafka.topics import TopicInfo
from k2_streams.runtime.deferral.backlog import COUNT_CODEC, DEFERRAL, Deferral, DeferralState
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.gap_keeper import GAPS
from k2_streams.runtime.task.line_keeper import LINES
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.sequencer import Sequencer, SequencerOptions, progress_of
from k2_streams.state.codec import COUNT_PREFIX, POSITION_KEY, SHARED_TABLES, shared_table
from k2_streams.state.dedup_table import DedupTable, buckets_section
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_store import IdStore
from k2_streams.state.position import Position, Section, SectionCodec, decode_position
from k2_streams.state.row_tables import RowCodec, RowTables
from k2_streams.state.scope_table import ScopeTable
from k2_streams.state.state_table import StateTable
from k2_streams.state.store import PartitionStore
from k2_streams.state.table import RowTable
from k2_streams.topology.declarations import Agent, RawSource

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


@dataclass(frozen=True, slots=True)
class MarketProgram:
    """A `Program` of market data.

    Attributes:
        agent: of the raw topic.
        deferred: see `Program`.
        sequence: the changelog of the sequencer's rows.
        dedup: the changelog of ids.
        notional: computes it of rows.
        price_domains: which prices an instrument may have.
    """

    agent: Agent
    deferred: TopicInfo
    sequence: TopicInfo
    dedup: TopicInfo
    notional: Notional = of_ones
    price_domains: PriceDomains = positive_prices
    versions: Mapping[str, int] = field(default_factory=dict)

    @property
    def outputs(self) -> TaskOutputs:
        """As `Program.outputs`."""
        source = self.agent.source
        assert isinstance(source, RawSource)  # noqa: S101 - of a log other programs run
        return TaskOutputs.of_raw(source.input)

    @property
    def starts_in_lake(self) -> bool:
        """As `Program.starts_in_lake`: no table has the records of a raw topic."""
        return False

    def new_tables(self, partition: int, context: TaskContext) -> "MarketTables":
        """As `Program.new_tables`."""
        return MarketTables(self, partition, context)


class MarketTables:
    """`TaskTables` of a raw source: what was received per scope, ids, counts of deferred records.

    Args:
        program: of the source.
        partition: of the source.
        context: of the worker.
    """

    def __init__(self, program: MarketProgram, partition: int, context: TaskContext) -> None:
        settings = context.settings
        folder, disk = settings.worker_dir, context.disk
        self._program = program
        self._partition = partition
        self._context = context
        self._rows = RowTables(
            "sequence",
            PartitionStore(folder / "sequence" / str(partition), disk),
            program.sequence,
            partition,
            has_position=True,
            cache_rows=context.limits.table_cache_rows,
        )
        self._dedup = DedupTable(
            "dedup",
            IdStore(folder / "dedup" / str(partition), disk),
            program.dedup,
            partition,
            memory_of(settings),
            window_of(settings),
        )
        self.all: tuple[StateTable, ...] = (self._rows, self._dedup)

    @property
    def position(self) -> Position | None:
        """As `TaskTables.position`."""
        return self._rows.position

    @property
    def ids(self) -> IdTable:
        """The ids that were seen."""
        return self._dedup.ids

    def sequence(self) -> ScopeTable:
        """The sequencer's rows."""
        return self._rows.table_of(ScopeTable, SEQUENCE_CODEC)

    def counts(self) -> RowTable[int]:
        """How many records of each key are deferred."""
        return self._rows.table(COUNT_CODEC, SHARED_TABLES[COUNT_PREFIX])

    def processing(self, position: Position) -> Sequencer:
        """As `TaskTables.processing`."""
        program, context, settings = self._program, self._context, self._context.settings
        return Sequencer(
            program.agent,
            self._partition,
            settings.partitions,
            self.sequence(),
            self.ids,
            options=SequencerOptions(
                settings.check_partition,
                settings.late_horizon_s * 1000,
                program.price_domains,
                settings.conflict_tolerance_ms,
                context.limits.sequence,
                context.native,
            ),
            enriches=lambda: context.overload.enriches,
            progress=progress_of(position),
            notional=program.notional,
        )

    def deferral(self, position: Position, on_ready: Callable[[], None]) -> Deferral:
        """As `TaskTables.deferral`."""
        context = self._context
        return Deferral(
            self._program.deferred,
            self._partition,
            DEFERRAL.read(position.sections) or DeferralState(),
            self.counts(),
            context.overload,
            context.kafka,
            on_ready,
            context.supervisor,
        )

    def close(self) -> None:
        """As `TaskTables.close`."""
        for table in self.all:
            table.close()
