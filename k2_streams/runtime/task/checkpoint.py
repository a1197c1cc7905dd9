"""Checkpoints: an epoch's outputs, its tables' rows and the source's position, in one transaction.

    1 seal      stop adding to the epoch; what it changed is in memory
    2 transact  outputs, each table's changelog rows and position, the group's offsets: all or none
    3 write     each table's store, in one batch a store
    4 count     metrics, so that a replay counts once

3 before 2 would put a store ahead of its changelog after a kill: replayed records would look like
duplicates, and be lost. On any failure the task is over, and its successor begins at the last
position that was committed.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from k2_streams.failpoints import failpoint, failpoint_in_loop
from k2_streams.kafka.hanging_transactions import SLOW_TRANSACTION_S
from k2_streams.kafka.offsets import Place
from k2_streams.kafka.topics import TopicInfo
from k2_streams.kafka.transactions import ChangelogRows, Output, TransactionalProducer
from k2_streams.runtime.control.supervisor import BackgroundTask
from k2_streams.runtime.deferral.backlog import Deferral
from k2_streams.runtime.task.context import TaskContext
from k2_streams.runtime.task.epoch import Epoch, Standing
from k2_streams.runtime.task.ids_checkpoint import SealedIdRecords
from k2_streams.runtime.task.processing_error import ProcessingError
from k2_streams.state.codec import POSITION_KEY, Position, encode_position
from k2_streams.state.ids import IdCounts, IdTable
from k2_streams.state.store import STATE_VERSION, PartitionStore, StoreMeta
from k2_streams.state.table import Table

#: How long a record waits for its transaction, at the most, plus the transaction itself.
CHECKPOINT_EVERY_S = 0.15
CHECKPOINT_RECORDS = 65_536
#: What is left of a wait below this is none: added to the loop's time it may not move it.
_MOMENT_S = 1e-6
#: Below the transaction time-out of 15 s: a slow checkpoint ends here, not at the broker.
CHECKPOINT_DEADLINE_S = 10.0


class SealedTable(Protocol):
    """What an epoch changed in a table, ready to be committed."""

    @property
    def position(self) -> Position:
        """The task's position, with this table's rows and checksum."""

    @property
    def changelog(self) -> str:
        """The topic the rows go to."""

    @property
    def rows(self) -> ChangelogRows:
        """Changelog records in their order. Of none, nothing is sent and nothing written."""

    def write(self, changelog_offset: int) -> None:
        """Write the store, in one batch; called once the transaction has been committed.

        Args:
            changelog_offset: the changelog's next record after these.
        """


class CheckpointedTable(Protocol):
    """A table's side of a checkpoint."""

    def seal(self, position: Position) -> SealedTable:
        """End the epoch; the next may begin at once."""


@dataclass(frozen=True, slots=True)
class SealedRows:
    """A `SealedTable` of one changelog record a row changed."""

    partition: int
    table: Table[Any]
    store: PartitionStore
    topic: TopicInfo
    changed: Mapping[bytes, bytes | None]
    position: Position
    deferral: Deferral

    @property
    def changelog(self) -> str:
        """The topic the rows go to."""
        return self.topic.name

    @property
    def rows(self) -> ChangelogRows:
        """The rows changed, then the position."""
        return [*self.changed.items(), (POSITION_KEY, encode_position(self.position))]

    def write(self, changelog_offset: int) -> None:
        """Rows, position and changelog offset, in one write batch."""
        meta = StoreMeta(
            STATE_VERSION, self.topic.id, changelog_offset, self.partition, self.position
        )
        self.store.write(self.changed, meta)
        self.table.written()
        self.deferral.committed()


@dataclass(frozen=True, slots=True)
class RowTable:
    """A `CheckpointedTable` of one changelog record a row changed, with the counts of deferral."""

    partition: int
    table: Table[Any]
    store: PartitionStore
    topic: TopicInfo
    deferral: Deferral

    def seal(self, position: Position) -> SealedRows:
        """End the epoch."""
        sealed = self.deferral.seal(self.table.seal())
        own = msgspec.structs.replace(position, rows=sealed.count, checksum=sealed.checksum)
        return SealedRows(
            self.partition, self.table, self.store, self.topic, sealed.rows, own, self.deferral
        )


class Checkpoints:
    """The checkpoints of one task: one in flight at a time, while the next epoch grows.

    Args:
        tables: what is committed with the outputs; the first one's rows and checksum are those of
            the task's own position.
        ids: committed with them.
        position: of the last checkpoint.
        places: all partitions that the producer writes to.
        on_done: called when the one in flight has ended, well or not.
    """

    def __init__(
        self,
        partition: int,
        context: TaskContext,
        producer: TransactionalProducer,
        tables: Sequence[CheckpointedTable],
        ids: IdTable,
        position: Position,
        places: Sequence[Place],
        on_done: Callable[[], None],
    ) -> None:
        self.position = position  # of the newest epoch that was sealed
        self._partition = partition
        self._context = context
        self._producer = producer
        self._tables = tables
        self._ids = ids
        self._places = places
        self._on_done = on_done
        self._sealed_at = context.clock.monotonic()
        self._commit: BackgroundTask | None = None

    def is_open(self, epoch: Epoch) -> bool:
        """Whether there is anything to commit in an epoch."""
        moved = epoch.position > self.position.next_offset or epoch.drained > 0
        return moved or epoch.is_timed

    def wait_s(self) -> float | None:
        """How long until the next one's time has come; None while one is in flight."""
        if self._commit is not None:
            return None
        left_s = CHECKPOINT_EVERY_S - (self._context.clock.monotonic() - self._sealed_at)
        return left_s if left_s > _MOMENT_S else 0.0

    def is_due(self, epoch: Epoch) -> bool:
        """Whether an epoch is to be committed now."""
        if not self.is_open(epoch):
            return False
        return epoch.records >= CHECKPOINT_RECORDS or self.wait_s() == 0

    def begin(self, epoch: Epoch) -> None:
        """Seal the epoch and start its transaction; the one before has been `settled`."""
        # 1 Stop adding to the epoch. Its changes are in memory: no store is ahead of a changelog.
        epoch.seal(self._partition)
        last, now_us = self.position, self._context.clock.time_ns() // 1000
        standing = epoch.standing or Standing(
            last.append_time_ms, last.lines, last.held, last.oldest_gap_ms
        )
        ids = self._ids.seal()
        position = msgspec.structs.replace(
            last,
            next_offset=epoch.position,
            epoch=last.epoch + 1,
            events=last.events + len(epoch.events),
            dead_letters=(last.dead_letters or 0) + len(epoch.dead_letters),
            accepted_time_us=max(now_us, last.accepted_time_us),
            deferred_next=epoch.deferred_next,
            deferred_records=epoch.deferred,
            deferred_from=epoch.deferred_from,
            append_time_ms=standing.append_time_ms,
            lines=standing.lines,
            held=standing.held,
            oldest_gap_ms=standing.oldest_gap_ms,
            ids=ids.buckets,
        )
        try:
            sealed: list[SealedTable] = [table.seal(position) for table in self._tables]
        except MemoryError:
            raise
        except Exception as error:
            raise self._failed(error, epoch) from error
        sealed.append(
            SealedIdRecords(self._partition, self._ids, self._context.ids_changelog, ids, position)
        )
        self.position = sealed[0].position
        failpoint("checkpoint.sealed")
        self._sealed_at = self._context.clock.monotonic()
        self._commit = self._context.supervisor.spawn(
            f"checkpoint-{self._partition}",
            self._transact(epoch, sealed, ids.counts),
            on_end=self._on_done,
        )

    async def _transact(self, epoch: Epoch, sealed: Sequence[SealedTable], ids: IdCounts) -> None:
        context, position = self._context, sealed[0].position
        started = context.clock.monotonic()
        # 2 Outputs, changelog rows, the position (last of the rows) and the group's offsets are
        #   one transaction. Its outcome is known, or the task ends.
        loop = asyncio.get_running_loop()
        outputs = await loop.run_in_executor(context.pool, self._outputs, epoch, position)
        changed = [(table, rows) for table in sealed if (rows := table.rows)]
        async with asyncio.timeout(CHECKPOINT_DEADLINE_S):
            await failpoint_in_loop("checkpoint.encoded")
            changelog_ends = await self._producer.commit(
                outputs,
                [(table.changelog, rows) for table, rows in changed],
                context.settings.app_id,
                {(context.raw.name, self._partition): position.next_offset},
                [*epoch.put_off, *epoch.dead_letters],
            )
            if context.clock.monotonic() - started > SLOW_TRANSACTION_S:
                await context.settling.check(self._producer, self._places)
        # 3 Only now the stores, in the tasks' thread: nothing is worked, or closed, meanwhile.
        await failpoint_in_loop("checkpoint.committed")
        for (table, _), end in zip(changed, changelog_ends, strict=True):
            await loop.run_in_executor(context.pool, table.write, end)
        await failpoint_in_loop("checkpoint.written")
        # 4 Metrics count what was committed.
        context.metrics.checkpoint_seconds.observe(context.clock.monotonic() - started)
        context.metrics.count(epoch)
        self._count_ids(ids)

    def _outputs(self, epoch: Epoch, position: Position) -> list[Output]:
        """The epoch as records.

        Raises:
            ProcessingError: something in it cannot be encoded.
        """
        try:
            return epoch.outputs(
                self._partition,
                position.accepted_time_us,
                events_so_far=position.events,
                dead_letters_so_far=position.dead_letters or 0,
                held=position.held,
            )
        except MemoryError:
            raise
        except Exception as error:
            raise self._failed(error, epoch) from error

    def _failed(self, error: Exception, epoch: Epoch) -> ProcessingError:
        """What cannot be encoded came from one of the epoch's records: count that as a failure."""
        raw, offsets = self._context.raw.name, (epoch.start, max(epoch.position - 1, epoch.start))
        found = ProcessingError.of(error, raw, self._partition, offsets, None)
        failures = self._context.failures[self._partition]
        failures.failed(raw, found.start, found.end, None, found.error)
        return found

    def _count_ids(self, counts: IdCounts) -> None:
        metrics, partition = self._context.metrics, str(self._partition)
        for outcome, count in msgspec.structs.asdict(counts).items():
            metrics.dedup_ids.labels(outcome).inc(count)
        metrics.dedup_held.labels(partition).set(self._ids.ids)
        metrics.dedup_filter_bytes.labels(partition).set(self._ids.filter_bytes)
        metrics.dedup_expected_rate.labels(partition).set(self._ids.expected_rate)

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
        """Give the transaction in flight up: its outcome is unknown."""
        commit, self._commit = self._commit, None
        if commit is not None:
            await commit.close()
