"""What the tasks of a log run: the declared agents over its rows, and the tables of that.

A task's first table holds its position and the timers; the declared tables follow. So a table can
be declared later, or no more, and the position stays where it is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.records import log_record
from k2_streams.core.records.agent_rows import agent_rows
from k2_streams.core.records.stream import Stream
from k2_streams.kafka.topics import TopicInfo, changelog_topic
from k2_streams.kafka.transactions import OutputRecord
from k2_streams.runtime.deferral.none import NoDeferral
from k2_streams.runtime.fetched import Record
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.epoch import Epoch, dead_letter
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.runtime.task.processing_error import ProcessingError
from k2_streams.state.codec import SHARED_TABLES, TIMER_PREFIX
from k2_streams.state.position import Position, Section, SectionCodec
from k2_streams.state.row_tables import RowCodec, RowTables
from k2_streams.state.state_table import StateTable
from k2_streams.state.store import PartitionStore
from k2_streams.state.table import BytesTable
from k2_streams.topology.context import NO_EVENT_TIME_NS, DeadRow
from k2_streams.topology.declarations import Agent, StreamSource, Table, Topology
from k2_streams.topology.errors import AgentFailedError, RecordUnreadableError
from k2_streams.topology.overlay import KeyedRows
from k2_streams.topology.running import AgentRunner, Effects

Milliseconds = npt.NDArray[np.int64]


def _as_it_is(value: bytes) -> bytes:
    return value


#: Agents' values are encoded by their declarations; the table keeps bytes.
BYTES_CODEC = RowCodec(_as_it_is, _as_it_is)


class Watermark(msgspec.Struct, frozen=True):
    """What the position says of event time."""

    event_time_ns: int = NO_EVENT_TIME_NS  # the largest of the rows processed


WATERMARK = SectionCodec("watermark", 1, Watermark)


@dataclass(frozen=True, slots=True)
class AgentProgram:
    """A `Program` of declared agents.

    Attributes:
        source: the log.
        agents: of this source.
        outputs: see `Program`.
        changelogs: by table, also of the one that holds the position.
        deferred: nothing is.
    """

    source: StreamSource
    agents: tuple[Agent, ...]
    outputs: TaskOutputs
    changelogs: Mapping[str, TopicInfo]
    deferred: TopicInfo | None = None

    @classmethod
    def of(
        cls,
        topology: Topology,
        source: StreamSource,
        topics: Mapping[str, TopicInfo],
        app_id: str,
    ) -> "AgentProgram":
        """What a topology declares for a source.

        Args:
            topology: of the app.
            source: one of its sources.
            topics: of the app, by name.
            app_id: that the changelogs' names begin with.
        """
        agents = tuple(agent for agent in topology.agents if agent.source is source)
        names = [
            source.position_table,
            *(one.name for agent in agents for one in agent.declared_tables),
        ]
        changelogs = {name: topics[changelog_topic(app_id, name)] for name in names}
        return cls(source, agents, TaskOutputs.of(topology, source), changelogs)

    @property
    def tables(self) -> tuple[Table, ...]:
        """As the agents declare them."""
        return tuple(table for agent in self.agents for table in agent.declared_tables)

    @property
    def versions(self) -> Mapping[str, int]:
        """As `Program.versions`."""
        return {table.name: table.version for table in self.tables}

    @property
    def starts_in_lake(self) -> bool:
        """As `Program.starts_in_lake`."""
        return self.source.start == "lake"

    def new_tables(self, partition: int, context: TaskContext) -> "AgentTables":
        """As `Program.new_tables`."""
        return AgentTables(self, partition, context)


class AgentTables:
    """`TaskTables` of declared agents.

    Args:
        program: of the source.
        partition: of the source.
        context: of the worker.
    """

    def __init__(self, program: AgentProgram, partition: int, context: TaskContext) -> None:
        self._program = program
        self._partition = partition
        self._context = context
        self._first = self._rows_of(program.source.position_table, has_position=True)
        self._declared = {
            one.name: self._rows_of(one.name, has_position=False) for one in program.tables
        }
        self.all: tuple[StateTable, ...] = (self._first, *self._declared.values())

    def _rows_of(self, name: str, *, has_position: bool) -> RowTables:
        context = self._context
        folder = context.settings.worker_dir / name / str(self._partition)
        return RowTables(
            name,
            PartitionStore(folder, context.disk),
            self._program.changelogs[name],
            self._partition,
            has_position=has_position,
            cache_rows=context.limits.table_cache_rows,
        )

    @property
    def position(self) -> Position | None:
        """As `TaskTables.position`."""
        return self._first.position

    def processing(self, position: Position) -> "AgentProcessing":
        """As `TaskTables.processing`."""
        kind = partial(BytesTable, cache_bytes=self._context.limits.table_cache_bytes)
        rows = {name: table.table_of(kind, BYTES_CODEC) for name, table in self._declared.items()}
        timers = self._first.table_of(kind, BYTES_CODEC, SHARED_TABLES[TIMER_PREFIX])
        return AgentProcessing(self._program, self._partition, rows, timers, position)

    def deferral(self, position: Position, on_ready: Callable[[], None]) -> NoDeferral:  # noqa: ARG002 - nothing is deferred
        """As `TaskTables.deferral`."""
        return NoDeferral()

    def close(self) -> None:
        """As `TaskTables.close`."""
        for table in self.all:
            table.close()


class _RecordRows(NamedTuple):
    """Rows of records that follow one another."""

    rows: pa.RecordBatch
    records: Sequence[Record]
    ends: npt.NDArray[np.int64]  # of each record the number of rows up to and with its last
    stream_time_ms: Milliseconds  # at each row
    reached_ms: int  # stream time behind the last record, which may have no row

    def record_of(self, row: int) -> tuple[Record, int]:
        """The record that a row came in, and the row's number in it."""
        at = int(np.searchsorted(self.ends, row, side="right"))
        return self.records[at], row - (int(self.ends[at - 1]) if at else 0)


class AgentProcessing:
    """`Processing` by agents. What it does follows from the rows and their order alone.

    Args:
        program: of the source.
        partition: of the source.
        tables: the rows of each declared table, by name.
        timers: the rows of the table `timers`.
        position: that it goes on from.
    """

    #: Time without a record decides nothing: timers are in event time.
    next_deadline_ms: int | None = None

    def __init__(
        self,
        program: AgentProgram,
        partition: int,
        tables: Mapping[str, KeyedRows],
        timers: KeyedRows,
        position: Position,
    ) -> None:
        self._stream: Stream = program.source.stream
        self._outputs = program.outputs
        self._partition = partition
        self._stream_time_ms = position.append_time_ms
        watermark = WATERMARK.read(position.sections) or Watermark()
        self._runner = AgentRunner(
            program.agents,
            self._stream.time,
            partition,
            tables,
            timers,
            watermark.event_time_ns,
        )

    @property
    def stream_time_ms(self) -> int:
        """As `Processing.stream_time_ms`."""
        return self._stream_time_ms

    def sections(self) -> Mapping[str, Section]:
        """As `Processing.sections`."""
        return {WATERMARK.name: WATERMARK.write(Watermark(self._runner.watermark_ns))}

    def process(
        self,
        records: Sequence[Record],
        end: int,
        epoch: Epoch,
        *,
        probe: bool = False,  # noqa: ARG002 - what agents emit was checked when they emitted it
    ) -> None:
        """As `Processing.process`."""
        if records:
            found = self._read(records)
            try:
                effects = self._runner.process(found.rows, found.stream_time_ms)
            except AgentFailedError as error:
                raise self._failed(error, found) from error
            self._take(found, effects, epoch)
        epoch.position = end

    def refuse(self, record: Record, error: ProcessingError, end: int, epoch: Epoch) -> None:
        """As `Processing.refuse`: of the record's rows those that fail become dead letters.

        Raises:
            AgentStoppedError: the agent that fails declares that its partition stops.
            RecordUnreadableError: the record is none of this log.
        """
        try:
            found = self._read([record])
        except ProcessingError:
            raise RecordUnreadableError(
                self._outputs.source, self._partition, record.offset, error.error
            ) from error
        try:
            effects = self._runner.process(found.rows, found.stream_time_ms)
        except AgentFailedError as failed:
            effects = self._runner.isolate(found.rows, found.stream_time_ms, failed)
        self._take(found, effects, epoch)
        epoch.position = end

    def expire(self, epoch: Epoch) -> None:
        """As `Processing.expire`: there is nothing."""

    def pass_time(self, time_ms: int, epoch: Epoch) -> None:  # noqa: ARG002 - nothing is decided by it
        """As `Processing.pass_time`: it is not asked, as there is no deadline."""
        raise AssertionError(f"agents have no deadline that could be reached at {time_ms}")

    def _read(self, records: Sequence[Record]) -> _RecordRows:
        """The rows of records.

        Raises:
            ProcessingError: a record is none of this log.
        """
        batches = []
        for record in records:
            with self._readable([record]):
                value = record.value or b""
                batches.append(log_record.decode(value, self._partition, record.offset))
        with self._readable(records):
            rows = agent_rows(self._stream, [batch.rows for batch in batches])
        counts = np.array([batch.rows.num_rows for batch in batches], np.int64)
        appended_ms = np.array([record.timestamp for record in records], np.int64)
        time_ms = np.maximum.accumulate(np.maximum(appended_ms, self._stream_time_ms))
        return _RecordRows(
            rows, records, np.cumsum(counts), np.repeat(time_ms, counts), int(time_ms[-1])
        )

    @contextmanager
    def _readable(self, records: Sequence[Record]) -> Iterator[None]:
        """Name the records whose bytes are no batch, or whose columns are not the stream's.

        Raises:
            ProcessingError: in place of whatever such bytes make something raise.
        """
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            place = (self._outputs.source, self._partition)
            offsets = [record.offset for record in records]
            raise ProcessingError.of(error, *place, offsets, None) from error

    def _failed(self, error: AgentFailedError, found: _RecordRows) -> ProcessingError:
        first, _ = found.record_of(error.start)
        last, _ = found.record_of(error.end - 1)
        return ProcessingError(
            self._outputs.source,
            self._partition,
            first.offset,
            last.offset + 1,
            None,
            f"agent {error.agent}: {error.error}",
        )

    def _take(self, found: _RecordRows, effects: Effects, epoch: Epoch) -> None:
        """Into the epoch. Tables and timers have it already."""
        self._stream_time_ms = found.reached_ms
        rows = found.rows.num_rows
        epoch.records += rows
        figures = epoch.figures
        for agent in self._runner.agents:
            figures["agent_rows_total", (agent.name,)] += rows
        for output, emitted in effects.emitted:
            epoch.rows[output.stream.log].append(emitted)
        for dead in effects.dead:
            epoch.reasons[dead.reason] += 1
            epoch.dead_letters.append(self._dead_letter(found, dead))

    def _dead_letter(self, found: _RecordRows, dead: DeadRow) -> OutputRecord:
        """A row that an agent could not process, as JSON, and where it lies."""
        record, row = found.record_of(dead.row)
        (value,) = found.rows.slice(dead.row, 1).to_pylist()
        key = ":".join(str(value[name]) for name in self._stream.key)
        return dead_letter(
            of=self._outputs,
            partition=self._partition,
            offset=record.offset,
            key=key.encode(errors="replace"),
            value=msgspec.json.encode(value),
            headers=(("k2.agent", dead.agent.encode()), ("k2.row", b"%d" % row)),
            timestamp_ms=record.timestamp,
            reason=dead.reason,
            field_name=None,
            detail=dead.detail,
        )
