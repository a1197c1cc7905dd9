"""Where a task reads its source, and its backlog, on from, and when it must not."""

from typing import NamedTuple

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import START_AFRESH
from k2_streams.kafka.transactions import FencedError
from k2_streams.runtime.deferral.backlog import DEFERRAL, DeferralState
from k2_streams.runtime.task.context import TaskContext
from k2_streams.state.position import Position
from k2_streams.state.rebuild import StateLostError


class PositionError(Exception):
    """The source is not the one the state was made from, or no longer holds what comes next."""


class Starts(NamedTuple):
    """The next offsets of a task."""

    source: int
    deferred: int  # of the deferred topic


async def checked_offsets(
    reader: LogReader, context: TaskContext, partition: int, position: Position | None
) -> Starts:
    """Where source and backlog are to be read on from: what the state says, if it fits.

    Raises:
        PositionError: a topic was created anew, re-partitioned, or does not hold that offset.
        StateLostError: records were committed, and no position is left.
        FencedError: someone else took the partition over, and commits.
    """
    raw, partitions = context.raw, context.settings.partitions
    names = (raw.name, context.source.stream.log, context.deferred.name, context.changelog.name)
    at, out, late, changelog = (TopicPartition(topic, partition) for topic in names)
    begins = await reader.begin_offsets([at, late])
    ends = await reader.end_offsets([at, late])
    begin, end = begins[at], ends[at]
    if position is None:
        orphaned = await _holds_records(reader, out)
        # Records that a successor committed since the changelog was read have a position there.
        if orphaned and await _holds_records(reader, changelog):
            raise FencedError(f"{changelog}: someone else has begun to commit")
        if orphaned:
            raise StateLostError(
                f"{out} holds committed records, and the changelog no position: the state was "
                f"lost. `k2 changelog sequence --partition {partition}` shows what is left; "
                f"{START_AFRESH}"
            )
        return Starts(begin, ends[late])
    how = (
        f"nothing is reset by itself: put the topic back, or {START_AFRESH}; "
        f"`k2 changelog sequence --partition {partition}` shows the position"
    )
    if position.source_id != raw.id:
        raise PositionError(
            f"{raw.name}: expected topic id {position.source_id}, found {raw.id}: it was created "
            f"anew; {how}"
        )
    if position.partitions != partitions:
        raise PositionError(
            f"{raw.name}: the state was made with {position.partitions} partitions, found "
            f"{partitions}; {how}"
        )
    if not begin <= position.next_offset <= end:
        raise PositionError(
            f"{at}: expected offset {position.next_offset} in [{begin}, {end}]; {how}"
        )
    backlog = DEFERRAL.read(position.sections) or DeferralState()
    if not backlog.records:
        return Starts(position.next_offset, ends[late])
    if backlog.topic_id != context.deferred.id:
        raise PositionError(
            f"{late.topic}: {backlog.records} records are deferred in topic id "
            f"{backlog.topic_id}, found {context.deferred.id}: it was created anew; {how}"
        )
    if not begins[late] <= backlog.next_offset <= ends[late]:
        raise PositionError(
            f"{late}: {backlog.records} records are deferred from offset {backlog.next_offset}, "
            f"found [{begins[late]}, {ends[late]}]; {how}"
        )
    return Starts(position.next_offset, backlog.next_offset)


async def records_in(reader: LogReader, at: TopicPartition) -> int:
    """How many committed records a partition holds: it is read as a whole.

    Nobody else writes to it meanwhile: the task has fenced whoever did.
    """
    begin, end = (await reader.begin_offsets([at]))[at], (await reader.end_offsets([at]))[at]
    reader.assign({at: begin})
    count = 0
    while reader.position(*at) < end:
        for chunk in await reader.poll():
            count += len(chunk.records)
    return count


async def next_append_time_ms(reader: LogReader, at: TopicPartition, offset: int) -> int | None:
    """When the first record at or behind an offset was appended; None: there is none yet."""
    end = (await reader.end_offsets([at]))[at]
    reader.assign({at: offset})
    while reader.position(*at) < end:
        for chunk in await reader.poll(max_records=1):
            for record in chunk.records:
                return record.timestamp
    return None


async def _holds_records(reader: LogReader, at: TopicPartition) -> bool:
    """Whether a partition holds a committed record; an aborted one takes offsets too."""
    begin, end = (await reader.begin_offsets([at]))[at], (await reader.end_offsets([at]))[at]
    reader.assign({at: begin})
    while reader.position(*at) < end:
        if any(chunk.records for chunk in await reader.poll(max_records=1)):
            return True
    return False
