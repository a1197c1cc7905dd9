"""Taking a partition over: fence the previous owner, restore the tables, find the offsets.

    1 fence     ask the coordinator how the last transaction ended, start the producer, end
                hanging ones. Before this, the changelogs' committed ends may move under the replay.
    2 restore   the first table's store and the rest of its changelog: the position is in it
    3 position  the source, and the backlog, are the position's, and hold its offsets
    4 others    the other tables, as the position says that they must be
    5 confirm   nobody has written since 1

Three connections, whatever the number of tables: the question to the coordinator, the producer, and
one reader for all offsets and changelogs. An object is used once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.partition_faults import PartitionUnreadableError
from k2_streams.kafka.topics import DAY_MS
from k2_streams.kafka.transactions import FencedError, TransactionalProducer
from k2_streams.runtime.deferral.backlog import DEFERRAL, DeferralState
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.program import TaskTables
from k2_streams.runtime.task.resume import (
    Starts,
    checked_offsets,
    next_append_time_ms,
    records_in,
)
from k2_streams.state.position import DEAD_LETTERS_V1, EVENTS_V1, Position
from k2_streams.state.restore import Restored, Span, restore
from k2_streams.state.state_table import StateTable


@dataclass(frozen=True, slots=True)
class Taken:
    """A partition that is this task's."""

    producer: TransactionalProducer
    tables: TaskTables  # restored
    position: Position
    starts: Starts
    partitions: tuple[TopicPartition, ...]  # all that the producer writes to
    restored: Restored  # of the first table


#: The broker answers the requests of a connection in their order: an empty fetch that it holds
#: makes each question about offsets wait as long. A take-over asks a dozen.
FETCH_MAX_WAIT_MS = 10


class FencedEnds:
    """The ends of partitions when every other producer was fenced: they move no more.

    Args:
        reader: asks for them again.
        ends: of the partitions.
    """

    def __init__(self, reader: LogReader, ends: Mapping[TopicPartition, int]) -> None:
        self._reader = reader
        self._ends = ends

    async def confirm(self) -> None:
        """Compare them with what they are now, committed or not.

        Raises:
            FencedError: someone else took the partition over, and writes.
        """
        found = await self._reader.high_watermarks(list(self._ends))
        moved = [tp for tp, end in found.items() if end != self._ends[tp]]
        if moved:
            raise FencedError(f"{', '.join(map(str, moved))}: someone else has begun to write")


class TakeOver:
    """Of one partition. What it opens is closed by `close`, unless `run` has returned it."""

    def __init__(self, context: TaskContext, partition: int) -> None:
        self._context = context
        self._partition = partition
        self.tables = context.program.new_tables(partition, context)
        self.partitions = self._own_partitions()
        name = f"{context.settings.app_id}-{context.source.name}-{partition}"
        self.producer = TransactionalProducer(context.kafka, name, partition)

    async def run(self) -> Taken:
        """Own the partition.

        Raises:
            FencedError: someone else took it over meanwhile.
            PositionError, StateLostError, UnsettledError: a person must decide.
            Exception: the broker or the disk failed; another task may try again.
        """
        await failpoint_in_loop("take-over.begun")
        async with LogReader(self._context.kafka, max_wait_ms=FETCH_MAX_WAIT_MS) as reader:
            fenced = await self._fence(reader)
            await failpoint_in_loop("take-over.fenced")
            spans = await self._spans(reader, fenced)
            first, *others = self.tables.all
            restored = await self._restore(reader, first, spans)
            await failpoint_in_loop("take-over.recovered")
            found = self.tables.position
            starts = await checked_offsets(reader, self._context, first.changelog, found)
            await failpoint_in_loop("take-over.positioned")
            await self._restore_others(reader, others, spans, starts, FencedEnds(reader, fenced))
            position = await self._upgraded(reader, found or self._beginning(starts), starts)
            await FencedEnds(reader, fenced).confirm()
        return Taken(self.producer, self.tables, position, starts, self.partitions, restored)

    def _own_partitions(self) -> tuple[TopicPartition, ...]:
        """All that this task, and nobody else, writes to."""
        program = self._context.program
        deferred = () if program.deferred is None else (program.deferred.name,)
        changelogs = (table.changelog.topic for table in self.tables.all)
        topics = (*program.outputs.topics, *deferred, *changelogs)
        return tuple(TopicPartition(topic, self._partition) for topic in topics)

    async def _fence(self, reader: LogReader) -> Mapping[TopicPartition, int]:
        """Step 1. Kafka aborts what the predecessor left open; the ends of all partitions."""
        return await self._context.settling.start(self.producer, self.partitions, reader)

    async def _spans(
        self, reader: LogReader, ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, Span]:
        """Of each changelog from where to where it can be replayed."""
        changelogs = [table.changelog for table in self.tables.all]
        begins = await reader.begin_offsets(changelogs)
        return {at: Span(begins[at], ends[at]) for at in changelogs}

    async def _restore(
        self, reader: LogReader, table: StateTable, spans: Mapping[TopicPartition, Span]
    ) -> Restored:
        """Step 2. One changelog's transactions are whole below its end: nothing is compared."""
        return await restore(reader, table, spans[table.changelog], self._context.pool)

    async def _restore_others(
        self,
        reader: LogReader,
        others: Sequence[StateTable],
        spans: Mapping[TopicPartition, Span],
        starts: Starts,
        ends: FencedEnds,
    ) -> None:
        """Step 4. The ends are compared before the sums are.

        Position and rows lie in two changelogs. They belong together only if nobody has written
        since the first was read.
        """
        position = self.tables.position
        time_ms = await self._earliest_time_ms(reader, position, starts)
        for table in others:
            table.expect(position, time_ms)
            await restore(reader, table, spans[table.changelog], self._context.pool, ends.confirm)

    async def _earliest_time_ms(
        self, reader: LogReader, position: Position | None, starts: Starts
    ) -> int:
        """No record to come was appended before."""
        backlog = None if position is None else DEFERRAL.read(position.sections)
        if backlog is not None and backlog.records:
            return 0  # the backlog may come before the source's next
        if self._context.program.starts_in_lake:
            return 0  # the topic may have lost the next record
        at = TopicPartition(self._context.source.name, self._partition)
        try:
            found = await next_append_time_ms(reader, at, starts.source)
        except PartitionUnreadableError:
            return 0  # the source's own reader names what cannot be read, and tries it again
        # One still to come: two calendars may differ by less than a day.
        return self._context.clock.time_ns() // 1_000_000 - DAY_MS if found is None else found

    def _beginning(self, starts: Starts) -> Position:
        context = self._context
        return Position(
            source_id=context.source.id,
            partitions=context.settings.partitions,
            next_offset=starts.source,
        )

    async def _upgraded(self, reader: LogReader, position: Position, starts: Starts) -> Position:
        """The position with what an earlier version did not know."""
        program, outputs = self._context.program, dict(position.outputs)
        written = program.outputs
        for role, topic in ((EVENTS_V1, written.events), (DEAD_LETTERS_V1, written.dead_letter)):
            if role in outputs and topic is not None:
                outputs[topic] = outputs.pop(role)
        if written.dead_letter not in outputs:
            at = TopicPartition(written.dead_letter, self._partition)
            outputs[written.dead_letter] = await records_in(reader, at)
        sections = dict(position.sections)
        if program.deferred is not None:
            backlog = DEFERRAL.read(sections) or DeferralState()
            backlog = msgspec.structs.replace(
                backlog, topic_id=program.deferred.id, next_offset=starts.deferred
            )
            sections[DEFERRAL.name] = DEFERRAL.write(backlog)
        return msgspec.structs.replace(position, outputs=outputs, sections=sections)
