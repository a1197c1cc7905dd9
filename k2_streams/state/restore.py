"""From a changelog back to a store: what a take-over does with each table."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import NamedTuple

from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka.log_reader import LogReader
from k2_streams.state.checked_store import StoreUnusableError
from k2_streams.state.rebuild import rebuilt_once
from k2_streams.state.state_table import StateTable


class Span(NamedTuple):
    """Of a changelog: the first offset that it holds, and the end when the task had fenced all."""

    begin: int
    end: int


class Restored(NamedTuple):
    """How a table was restored."""

    replayed: int  # changelog records applied
    wiped: bool  # the store could not be trusted


async def _nothing() -> None:
    """Nobody else can have committed what does not belong together."""


async def restore(
    reader: LogReader,
    table: StateTable,
    span: Span,
    pool: Executor,
    confirm: Callable[[], Awaitable[None]] = _nothing,
) -> Restored:
    """Bring a store to its changelog's committed end.

    Wipes and rebuilds it, once, where it cannot be trusted: unreadable, of another version, topic
    or partition, ahead of the changelog's end, behind its start, or not of the sums that it should
    have.

    Args:
        reader: of the take-over; what it was assigned before is over.
        table: whose position is known, unless it lies in its own changelog.
        span: of its changelog.
        pool: where stores are read and written.
        confirm: called before the sums are compared; raises if somebody else has committed since
            the position was read, whose rows nobody counted.

    Raises:
        StateLostError: the rebuilt state is not what the position says.
    """
    loop = asyncio.get_running_loop()

    async def once() -> int:
        start = await loop.run_in_executor(pool, table.open, span.begin)
        await failpoint_in_loop("take-over.store-opened")
        if start > span.end:
            raise StoreUnusableError(f"expected a changelog offset up to {span.end}, found {start}")
        replayed = await _replay(reader, table, start, span.end, pool)
        await confirm()
        await failpoint_in_loop("take-over.replayed")
        await loop.run_in_executor(pool, table.finish, span.end)
        return replayed

    replayed, wiped = await rebuilt_once(str(table.changelog), once, table.wipe)
    return Restored(replayed, wiped)


async def _replay(
    reader: LogReader, table: StateTable, start: int, end: int, pool: Executor
) -> int:
    loop = asyncio.get_running_loop()
    replayed = 0
    reader.assign({table.changelog: start})
    # The end is where the reader's own position is, never the last record: a transaction ends with
    # a marker that is not delivered.
    while reader.position(*table.changelog) < end:
        await failpoint_in_loop("take-over.replaying")
        for chunk in await reader.poll(max_records=table.poll_records):
            # Behind the end someone else commits, who took over: half of a transaction would look
            # like damage, and the store would hold more than its offset says.
            records = [record for record in chunk.records if record.offset < end]
            await loop.run_in_executor(pool, table.replay, records)
            replayed += len(records)
    return replayed
