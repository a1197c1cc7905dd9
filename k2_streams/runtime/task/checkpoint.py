"""Checkpoints: an epoch's outputs, its tables' rows and the source's position, in one transaction.

    1 seal      stop adding to the epoch; what it changed is in memory
    2 transact  outputs, each table's changelog rows and position, the group's offsets: all or none
    3 hand over rows and events to this worker's tail and sink, at their acknowledged offsets
    4 write     each table's store, in one batch per store
    5 count     metrics, so that a replay counts once

3 before 2 would show rows that may be aborted (ADR 0009). 4 before 2 would put a store ahead of its
changelog after a kill: replayed records would look like duplicates, and be lost. On any failure the
task is over, and its successor begins at the last position that was committed.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from k2_streams import traces
from k2_streams.core.load.checkpoint_pace import CheckpointPace
from k2_streams.core.load.checkpoint_size import CheckpointSize
from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint, failpoint_in_loop
from k2_streams.kafka.hanging_transactions import SLOW_TRANSACTION_S
from k2_streams.kafka.transactions import ChangelogRows, TransactionalProducer
from k2_streams.runtime.committed_rows import HandOver
from k2_streams.runtime.control.supervisor import BackgroundTask
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.epoch import Epoch, EpochOutputs
from k2_streams.runtime.task.processing_error import ProcessingError
from k2_streams.state.codec import POSITION_KEY
from k2_streams.state.position import Position, RowSum, Section, encode_position
from k2_streams.state.state_table import SealedTable, StateTable

#: What is left of a wait below this is none: added to the loop's time it may not move it.
_MOMENT_S = 1e-6
#: Below the transaction time-out of 15 s: a slow checkpoint ends here, not at the broker.
CHECKPOINT_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class _Changed:
    """A table with what a sealed epoch changed in it."""

    table: StateTable
    sealed: SealedTable
    rows: ChangelogRows


class Checkpoints:
    """The checkpoints of one task: one in flight at a time, while the next epoch grows.

    Args:
        tables: committed with the outputs; the position lies in the first one's changelog.
        position: of the last checkpoint.
        partitions: all that the producer writes to.
        is_behind: whether more records wait than the task processes at once.
        on_written: called in the tasks' thread once the stores are written.
        on_done: called when the one in flight has ended, well or not.
    """

    def __init__(
        self,
        partition: int,
        context: TaskContext,
        producer: TransactionalProducer,
        tables: Sequence[StateTable],
        position: Position,
        partitions: Sequence[TopicPartition],
        *,
        is_behind: Callable[[], bool],
        on_written: Callable[[], None],
        on_done: Callable[[], None],
    ) -> None:
        self.position = position  # of the newest epoch that was sealed
        self._partition = partition
        self._context = context
        self._producer = producer
        self._tables = tables
        self._partitions = partitions
        self._pace = CheckpointPace(context.settings.pace)
        self._size = context.sizes.setdefault(
            partition, CheckpointSize(context.limits.checkpoint_records, CHECKPOINT_DEADLINE_S)
        )
        self._is_behind = is_behind
        self._on_written = on_written
        self._on_done = on_done
        self._hand_over = HandOver(
            partition, context.committed, context.program.outputs, context.clock
        )
        self._sealed_at = context.clock.monotonic()
        self._commit: BackgroundTask | None = None

    def room(self, epoch: Epoch) -> int:
        """How many more records may be added to an epoch; at least one, so that work goes on."""
        return max(self._size.records - epoch.records, 1)

    def is_open(self, epoch: Epoch) -> bool:
        """Whether there is anything to commit in an epoch."""
        moved = epoch.position > self.position.next_offset or epoch.drained > 0
        return moved or epoch.is_timed

    def wait_s(self) -> float | None:
        """How long until the next one's time has come; None while one is in flight."""
        if self._commit is not None:
            return None
        interval_s = self._pace.interval_s(is_behind=self._is_behind())
        left_s = interval_s - (self._context.clock.monotonic() - self._sealed_at)
        return left_s if left_s > _MOMENT_S else 0.0

    def is_due(self, epoch: Epoch) -> bool:
        """Whether an epoch is to be committed now."""
        if not self.is_open(epoch):
            return False
        is_large = (
            epoch.records >= self._size.records
            or epoch.size_bytes >= self._context.limits.checkpoint_bytes
        )
        return is_large or self.wait_s() == 0

    def begin(self, epoch: Epoch, stream_time_ms: int, sections: Mapping[str, Section]) -> None:
        """Seal the epoch and start its transaction; the one before has been `settled`.

        Args:
            epoch: to which nothing is added any more.
            stream_time_ms: behind its last record.
            sections: of the position, but for those of the tables.
        """
        # 1 Stop adding to the epoch. Its changes are in memory: no store is ahead of a changelog.
        epoch.seal(self._partition)
        try:
            sealed = [table.seal() for table in self._tables]
        except MemoryError:
            raise
        except Exception as error:
            raise self._failed(error, epoch) from error
        sums: dict[str, RowSum] = {}
        for one in sealed:
            sums.update(one.sums)
            sections = {**sections, **one.sections}
        last, now_us = self.position, self._context.clock.time_ns() // 1000
        position = self.position = msgspec.structs.replace(
            last,
            next_offset=epoch.position,
            checkpoint=last.checkpoint + 1,
            accepted_time_us=max(now_us, last.accepted_time_us),
            append_time_ms=stream_time_ms,
            tables=sums,
            versions=dict(self._context.program.versions),
            outputs=epoch.published(last.outputs),
            sections=sections,
        )
        encoded = encode_position(position)
        changed = [
            _Changed(table, one, rows)
            for number, (table, one) in enumerate(zip(self._tables, sealed, strict=True))
            if (rows := [*one.rows, (POSITION_KEY, encoded)] if number == 0 else one.rows)
        ]
        failpoint("checkpoint.sealed")
        self._sealed_at = self._context.clock.monotonic()
        self._commit = self._context.supervisor.spawn(
            f"checkpoint-{self._partition}",
            self._traced(epoch, self._transact(epoch, changed, position, encoded, sealed)),
            on_end=self._on_done,
        )

    async def _traced(self, epoch: Epoch, transaction: Coroutine[None, None, None]) -> None:
        topic, records = self._context.source.name, epoch.records
        with traces.span(
            "checkpoint",
            links=epoch.links,
            topic=topic,
            partition=self._partition,
            records=records,
        ):
            await transaction

    async def _transact(
        self,
        epoch: Epoch,
        changed: Sequence[_Changed],
        position: Position,
        encoded: bytes,
        sealed: Sequence[SealedTable],
    ) -> None:
        context, source = self._context, TopicPartition(self._context.source.name, self._partition)
        started = context.clock.monotonic()
        # 2 Outputs, changelog rows, the position (last of the rows) and the group's offsets are
        #   one transaction. Its outcome is known, or the task ends.
        loop = asyncio.get_running_loop()
        outputs = await loop.run_in_executor(context.pool, self._outputs, epoch, position)
        try:
            async with asyncio.timeout(CHECKPOINT_DEADLINE_S):
                await failpoint_in_loop("checkpoint.encoded")
                committed = await self._producer.commit(
                    outputs.records,
                    [(one.table.changelog.topic, one.rows) for one in changed],
                    context.settings.app_id,
                    {source: position.next_offset},
                    outputs.many,
                )
                if context.clock.monotonic() - started > SLOW_TRANSACTION_S:
                    await context.settling.check(self._producer, self._partitions)
        except TimeoutError:
            self._size.failed()
            raise
        await failpoint_in_loop("checkpoint.committed")
        # 3 Only now the readers: nothing can undo the rows any more, whoever owns the partition.
        self._hand_over.give(outputs.logs, committed.offsets, outputs.events)
        await failpoint_in_loop("checkpoint.handed-over")
        # 4 Only now the stores, in the tasks' thread: nothing is worked, or closed, meanwhile.
        ends = committed.changelog_ends
        await loop.run_in_executor(context.pool, self._write, changed, ends, encoded)
        await failpoint_in_loop("checkpoint.written")
        # 5 Metrics count what was committed.
        took_s = context.clock.monotonic() - started
        self._pace.took(took_s)
        self._size.took(took_s)
        context.metrics.task.checkpoint_seconds.observe(took_s)
        context.metrics.count(epoch)
        for each in sealed:
            context.metrics.add(each.counts)
            context.metrics.show(each.gauges)

    def _write(self, changed: Sequence[_Changed], ends: Sequence[int], encoded: bytes) -> None:
        """Write each table's store; in one piece, since every change of threads costs time."""
        for one, end in zip(changed, ends, strict=True):
            one.table.written(one.sealed, end, encoded)
        self._on_written()

    def _outputs(self, epoch: Epoch, position: Position) -> EpochOutputs:
        """The epoch as records.

        Raises:
            ProcessingError: something in it cannot be encoded.
        """
        try:
            return epoch.outputs(self._partition, position, self._context.limits.log_record_rows)
        except MemoryError:
            raise
        except Exception as error:
            raise self._failed(error, epoch) from error

    def _failed(self, error: Exception, epoch: Epoch) -> ProcessingError:
        """What cannot be encoded came from one of the epoch's records: count that as a failure."""
        raw, offsets = (
            self._context.source.name,
            (epoch.start, max(epoch.position - 1, epoch.start)),
        )
        found = ProcessingError.of(error, raw, self._partition, offsets, None)
        failures = self._context.failures[self._partition]
        failures.failed(raw, found.start, found.end, None, found.error)
        return found

    async def settled(self) -> None:
        """Wait for the transaction in flight; raises what it raised."""
        if self._commit is not None:
            # Whoever stops waiting must not stop the transaction.
            await self._commit.wait()
            self.reap()

    def reap(self) -> None:
        """Take the outcome of a transaction that has ended; raises what it raised."""
        if self._commit is not None and self._commit.done():
            commit, self._commit = self._commit, None
            commit.result()

    async def cancel(self) -> None:
        """Give the transaction in flight up: its outcome is unknown, and nothing of it is given."""
        commit, self._commit = self._commit, None
        try:
            if commit is not None:
                await commit.close()
        finally:
            self._hand_over.close()
