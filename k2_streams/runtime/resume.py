"""Where a task reads its source on from, and when it must not."""

from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import RAW, TRADES
from k2_streams.runtime.context import TaskContext
from k2_streams.state.codec import Position
from k2_streams.state.recovery import StateLostError


class PositionError(Exception):
    """The source is not the one the state was made from, or no longer holds what comes next."""


async def checked_offset(context: TaskContext, partition: int, position: Position | None) -> int:
    """Where the source is to be read on from: what the state says, if the source still fits it.

    Raises:
        PositionError: the source was created anew, re-partitioned, or does not hold that offset.
        StateLostError: records were committed, and no position is left.
    """
    raw, partitions = context.raw, context.settings.partitions
    at, out = (RAW, partition), (TRADES, partition)
    async with LogReader(context.kafka) as reader:
        begin = (await reader.begin_offsets([at]))[at]
        end = (await reader.end_offsets([at]))[at]
        orphaned = position is None and await _holds_records(reader, out)
    if position is None:
        if orphaned:
            raise StateLostError(
                f"{TRADES}-{partition} holds committed records, and the changelog no "
                f"position: the state was lost. `k2 changelog sequence --partition "
                f"{partition}` shows what is left; the README says how to start "
                "afresh"
            )
        return begin
    how = (
        "nothing is reset by itself: put the topic back, or start afresh as the README says; "
        f"`k2 changelog sequence --partition {partition}` shows the position"
    )
    if position.source_id != raw.id:
        raise PositionError(
            f"{RAW}: expected topic id {position.source_id}, found {raw.id}: it was created "
            f"anew; {how}"
        )
    if position.partitions != partitions:
        raise PositionError(
            f"{RAW}: the state was made with {position.partitions} partitions, found "
            f"{partitions}; {how}"
        )
    if not begin <= position.next_offset <= end:
        raise PositionError(
            f"{RAW}-{partition}: expected offset {position.next_offset} in [{begin}, {end}]; {how}"
        )
    return position.next_offset


async def _holds_records(reader: LogReader, at: tuple[str, int]) -> bool:
    """Whether a partition holds a committed record; an aborted one takes offsets too."""
    begin, end = (await reader.begin_offsets([at]))[at], (await reader.end_offsets([at]))[at]
    reader.assign({at: begin})
    while reader.position(*at) < end:
        if any(chunk.records for chunk in await reader.poll(max_records=1)):
            return True
    return False
