"""Where a task reads its source, and its backlog, on from, and when it must not."""

from collections.abc import Mapping
from typing import NamedTuple

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.log_reader import LogReader, holds_records
from k2_streams.kafka.topics import START_AFRESH
from k2_streams.kafka.transactions import FencedError
from k2_streams.runtime.deferral.backlog import DEFERRAL, DeferralState
from k2_streams.runtime.task.context import TaskContext
from k2_streams.state.position import Position
from k2_streams.state.rebuild import StateLostError


class PositionError(Exception):
    """The state does not fit: to the source, to what it holds, or to the tables declared."""


class Starts(NamedTuple):
    """The next offsets of a task."""

    source: int
    deferred: int  # of the deferred topic; 0: there is none


async def checked_offsets(
    reader: LogReader, context: TaskContext, changelog: TopicPartition, position: Position | None
) -> Starts:
    """Where source and backlog are to be read on from: what the state says, if it fits.

    Args:
        reader: of the take-over.
        context: of the source.
        changelog: that has the position.
        position: the newest one; None: there is none.

    Raises:
        PositionError: a topic was created anew, re-partitioned, or does not hold that offset; a
            table is declared in another version.
        StateLostError: records were committed, and no position is left.
        FencedError: someone else took the partition over, and commits.
    """
    source, program, partition = context.source, context.program, changelog.partition
    partitions = context.settings.partitions
    at = TopicPartition(source.name, partition)
    late = None if program.deferred is None else TopicPartition(program.deferred.name, partition)
    asked = [at] if late is None else [at, late]
    begins = await reader.begin_offsets(asked)
    ends = await reader.end_offsets(asked)
    # What the topic has lost the lake has.
    begin, end = 0 if program.starts_in_lake else begins[at], ends[at]
    if position is None:
        await _require_untouched(reader, context, changelog)
        return Starts(begin, 0 if late is None else ends[late])
    shown = _shown(context.settings.app_id, changelog)
    how = f"nothing is reset by itself: put the topic back, or {START_AFRESH}; {shown}"
    if position.source_id != source.id:
        raise PositionError(
            f"{source.name}: expected topic id {position.source_id}, found {source.id}: it was "
            f"created anew; {how}"
        )
    if position.partitions != partitions:
        raise PositionError(
            f"{source.name}: the state was made with {position.partitions} partitions, found "
            f"{partitions}; {how}"
        )
    if not begin <= position.next_offset <= end:
        raise PositionError(
            f"{at}: expected offset {position.next_offset} in [{begin}, {end}]; {how}"
        )
    _require_versions(program.versions, position)
    if late is None or program.deferred is None:
        return Starts(position.next_offset, 0)
    backlog = DEFERRAL.read(position.sections) or DeferralState()
    if not backlog.records:
        return Starts(position.next_offset, ends[late])
    if backlog.topic_id != program.deferred.id:
        raise PositionError(
            f"{late.topic}: {backlog.records} records are deferred in topic id "
            f"{backlog.topic_id}, found {program.deferred.id}: it was created anew; {how}"
        )
    if not begins[late] <= backlog.next_offset <= ends[late]:
        raise PositionError(
            f"{late}: {backlog.records} records are deferred from offset {backlog.next_offset}, "
            f"found [{begins[late]}, {ends[late]}]; {how}"
        )
    return Starts(position.next_offset, backlog.next_offset)


async def _require_untouched(
    reader: LogReader, context: TaskContext, changelog: TopicPartition
) -> None:
    """Without a position nothing may have been committed.

    Raises:
        StateLostError: records were.
        FencedError: someone else took the partition over, and commits.
    """
    for stream in context.program.outputs.streams:
        out = TopicPartition(stream.log, changelog.partition)
        if not await holds_records(reader, out):
            continue
        # Records that a successor committed since the changelog was read have a position there.
        if await holds_records(reader, changelog):
            raise FencedError(f"{changelog}: someone else has begun to commit")
        raise StateLostError(
            f"{out} holds committed records, and the changelog no position: the state was lost. "
            f"{_shown(context.settings.app_id, changelog, 'what is left')}; {START_AFRESH}"
        )


def _require_versions(declared: Mapping[str, int], position: Position) -> None:
    """The tables are declared as they were when the state was made.

    Raises:
        PositionError: a table has another version.
    """
    for name, version in declared.items():
        found = position.versions.get(name, version)
        if found != version:
            raise PositionError(
                f"table {name}: declared with version {version}, and its state has version "
                f"{found}: run the code that made it, or start the app anew with `k2 app reset`"
            )


def _shown(app_id: str, changelog: TopicPartition, what: str = "the position") -> str:
    table = changelog.topic.removesuffix("-changelog").removeprefix(f"{app_id}-")
    of = f" --app {app_id}" if table.startswith("position-") else ""
    return f"`k2 changelog {table}{of} --partition {changelog.partition}` shows {what}"


async def records_in(reader: LogReader, at: TopicPartition) -> int:
    """How many committed records are in a partition: it is read as a whole.

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
