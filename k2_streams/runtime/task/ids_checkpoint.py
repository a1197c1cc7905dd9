"""The ids' side of a checkpoint, and of a take-over."""

from dataclasses import dataclass

from k2_streams.core.dedup.ids import Memory, Window
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.offsets import end_offsets
from k2_streams.kafka.topics import DAY_MS, TopicInfo
from k2_streams.kafka.transactions import ChangelogRows, FencedError
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.context import TaskContext
from k2_streams.state.codec import BucketSum, Position
from k2_streams.state.ids import IdTable, SealedIds
from k2_streams.state.ids_recovery import recover_ids
from k2_streams.state.ids_store import IDS_VERSION, IdsMeta, IdStore
from k2_streams.state.recovery import Recovered


def window_of(settings: Settings) -> Window:
    """How long ids are remembered."""
    return Window(settings.dedup_ttl_s * 1000)


def memory_of(settings: Settings) -> Memory:
    """What one partition's filters take: each gets an equal share of the ids expected."""
    return Memory.of(
        -(-settings.dedup_expected_ids // settings.partitions), settings.dedup_false_positive_rate
    )


@dataclass(frozen=True, slots=True)
class SealedIdRecords:
    """A `SealedTable` of packed changelog records."""

    partition: int
    table: IdTable
    topic: TopicInfo
    sealed: SealedIds
    position: Position

    @property
    def changelog(self) -> str:
        """The topic the records go to."""
        return self.topic.name

    @property
    def rows(self) -> ChangelogRows:
        """One record of all new ids; none if there are none."""
        return [(b"", value) for value in self.sealed.records()]

    def write(self, changelog_offset: int) -> None:
        """New ids, dropped buckets and changelog offset, in one write batch."""
        meta = IdsMeta(
            IDS_VERSION, self.topic.id, changelog_offset, self.partition, self.sealed.buckets
        )
        self.table.write(self.sealed, meta)


async def take_ids_over(
    context: TaskContext, partition: int, store: IdStore, recovered: Recovered, offset: int
) -> IdTable:
    """The partition's ids, as they were at its last checkpoint.

    Position and ids stand in two changelogs: they belong together only if nobody has written since
    the position was read.

    Buckets that the next record of the source is too late for are not asked for any more: the
    changelog does not hold the ids of a partition that was silent for weeks.

    Raises:
        StateLostError: they are not those that the position counts.
        FencedError: someone else took the partition over, and commits.
    """
    position = recovered.position
    table = IdTable(store, memory_of(context.settings), window_of(context.settings))
    expected: tuple[BucketSum, ...] = ()
    if position is not None and position.ids:
        next_ms = 0  # what was put off may come before the source's next
        if not position.deferred_records:
            next_ms = await _next_append_time_ms(context, partition, offset)
        bucket = table.window.bucket(max(position.append_time_ms, next_ms))
        expected = tuple(b for b in position.ids if table.window.is_live(b.end_ms, bucket))
    at = (context.changelog.name, partition)

    async def confirm() -> None:
        end = (await end_offsets(context.kafka, [at]))[at]
        if end > recovered.changelog_offset:
            raise FencedError(f"{at[0]}-{partition}: someone else has begun to commit")

    await recover_ids(
        context.kafka,
        context.ids_changelog,
        partition,
        store,
        table,
        expected,
        context.pool,
        confirm,
    )
    return table


async def _next_append_time_ms(context: TaskContext, partition: int, offset: int) -> int:
    """No record from this offset on was appended before; a day's grace for one still to come."""
    at = (context.raw.name, partition)
    async with LogReader(context.kafka) as reader:
        end = (await reader.end_offsets([at]))[at]
        reader.assign({at: offset})
        while reader.position(*at) < end:
            for chunk in await reader.poll(max_records=1):
                for record in chunk.records:
                    return record.timestamp_ms
    return context.clock.time_ns() // 1_000_000 - DAY_MS
