"""Where a task reads its source, and what it put off, on from, and when it must not."""

from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.transactions import FencedError
from k2_streams.runtime.task.context import TaskContext
from k2_streams.state.codec import Position
from k2_streams.state.rebuild import StateLostError


class PositionError(Exception):
    """The source is not the one the state was made from, or no longer holds what comes next."""


async def checked_offsets(
    context: TaskContext, partition: int, position: Position | None
) -> tuple[int, int]:
    """Where the source, and what waits, are to be read on from: what the state says, if it fits.

    Raises:
        PositionError: a topic was created anew, re-partitioned, or does not hold that offset.
        StateLostError: records were committed, and no position is left.
        FencedError: someone else took the partition over, and commits.
    """
    raw, partitions = context.raw, context.settings.partitions
    names = (raw.name, context.source.stream.log, context.deferred.name, context.changelog.name)
    at, out, late, changelog = ((topic, partition) for topic in names)
    async with LogReader(context.kafka) as reader:
        begins = await reader.begin_offsets([at, late])
        ends = await reader.end_offsets([at, late])
        begin, end = begins[at], ends[at]
        orphaned = position is None and await _holds_records(reader, out)
        # Records that a successor committed since the changelog was read have a position there.
        if orphaned and await _holds_records(reader, changelog):
            raise FencedError(f"{changelog[0]}-{partition}: someone else has begun to commit")
    if position is None:
        if orphaned:
            raise StateLostError(
                f"{out[0]}-{partition} holds committed records, and the changelog no "
                f"position: the state was lost. `k2 changelog sequence --partition "
                f"{partition}` shows what is left; the README says how to start "
                "afresh"
            )
        return begin, ends[late]
    how = (
        "nothing is reset by itself: put the topic back, or start afresh as the README says; "
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
            f"{raw.name}-{partition}: expected offset {position.next_offset} in "
            f"[{begin}, {end}]; {how}"
        )
    if not position.deferred_records:
        return position.next_offset, ends[late]
    if position.deferred_id != context.deferred.id:
        raise PositionError(
            f"{late[0]}: {position.deferred_records} records wait in topic id "
            f"{position.deferred_id}, found {context.deferred.id}: it was created anew; {how}"
        )
    if not begins[late] <= position.deferred_next <= ends[late]:
        raise PositionError(
            f"{late[0]}-{partition}: {position.deferred_records} records wait from offset "
            f"{position.deferred_next}, found [{begins[late]}, {ends[late]}]; {how}"
        )
    return position.next_offset, position.deferred_next


async def dead_letters_so_far(context: TaskContext, partition: int, position: Position) -> int:
    """How many dead letters the partition has: as the state says, once counted if it does not.

    Nobody else writes to it: the task has fenced whoever did. A position of an earlier version
    does not say, so the first take-over after it reads the whole partition.
    """
    if position.dead_letters is not None:
        return position.dead_letters
    at = (context.source.dead_letter, partition)
    async with LogReader(context.kafka) as reader:
        begin, end = (await reader.begin_offsets([at]))[at], (await reader.end_offsets([at]))[at]
        reader.assign({at: begin})
        count = 0
        while reader.position(*at) < end:
            for chunk in await reader.poll():
                count += len(chunk.records)
    return count


async def _holds_records(reader: LogReader, at: tuple[str, int]) -> bool:
    """Whether a partition holds a committed record; an aborted one takes offsets too."""
    begin, end = (await reader.begin_offsets([at]))[at], (await reader.end_offsets([at]))[at]
    reader.assign({at: begin})
    while reader.position(*at) < end:
        if any(chunk.records for chunk in await reader.poll(max_records=1)):
            return True
    return False
