"""From their changelog back to the store and the filters: the ids' part of a take-over."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

import numpy as np

from k2_streams.core.dedup.bloom import Hashes
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import TopicInfo
from k2_streams.state.checked_store import StoreUnusableError
from k2_streams.state.codec import BucketSum, StateFormatError
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_codec import decode_ids
from k2_streams.state.ids_store import IDS_VERSION, IdsMeta, IdStore
from k2_streams.state.rebuild import rebuilt_once

#: Records of up to 4 MiB read at once.
_POLL_RECORDS = 16


async def recover_ids(
    config: KafkaConfig,
    changelog: TopicInfo,
    partition: int,
    store: IdStore,
    table: IdTable,
    expected: tuple[BucketSum, ...],
    pool: Executor,
    confirm: Callable[[], Awaitable[None]],
) -> int:
    """Bring store and filters to the changelog's committed end; how many records were replayed.

    Args:
        config: of the cluster.
        changelog: the ids' own.
        partition: the task's.
        store: not open.
        table: over the store, empty.
        expected: the live buckets, as the newest committed position has them.
        pool: where the store is read and written.
        confirm: called between the look at the changelog and the use of it; raises if a position
            newer than that of `expected` may have been committed.

    The store is wiped and rebuilt, once, where it cannot be trusted: unreadable, of another
    version, topic or partition, ahead of the changelog's end, or not with the sums it should have.
    What the changelog no longer holds is of no use: its retention is longer than any id is looked
    for.

    Raises:
        StateLostError: the rebuilt ids are not those that the position counts.
    """
    loop = asyncio.get_running_loop()

    def wipe() -> None:
        store.wipe()
        table.forget()

    async with LogReader(config) as reader:

        async def recovered() -> int:
            meta = await loop.run_in_executor(pool, store.open, table.load)
            if meta is not None:
                meta.of(changelog.id, partition)
            start, end = await _span(reader, changelog, partition, meta)
            ids, replayed = await _replay(reader, changelog, partition, start, end, expected)
            await confirm()
            for bucket, hashes in ids.items():
                table.load(bucket, hashes)
            gone = table.keep(expected)
            _check(table.sums(), expected)
            made = IdsMeta(IDS_VERSION, changelog.id, end, partition, expected)
            await loop.run_in_executor(pool, store.write, ids, gone, made)
            return replayed

        replayed, _ = await rebuilt_once(f"{changelog.name}-{partition}", recovered, wipe)
    return replayed


def _check(found: tuple[BucketSum, ...], expected: tuple[BucketSum, ...]) -> None:
    if found != expected:
        raise StoreUnusableError(f"expected ids {expected}, found {found}")


async def _span(
    reader: LogReader, changelog: TopicInfo, partition: int, meta: IdsMeta | None
) -> tuple[int, int]:
    """From where to where the changelog is to be replayed."""
    at = (changelog.name, partition)
    begin = (await reader.begin_offsets([at]))[at]
    end = (await reader.end_offsets([at]))[at]
    start = begin if meta is None else max(begin, meta.changelog_offset)
    if start > end:
        raise StoreUnusableError(f"expected a changelog offset up to {end}, found {start}")
    return start, end


async def _replay(
    reader: LogReader,
    changelog: TopicInfo,
    partition: int,
    start: int,
    end: int,
    expected: tuple[BucketSum, ...],
) -> tuple[dict[int, Hashes], int]:
    """The ids of live buckets in the changelog from `start` to `end`, and how many records."""
    live = {bucket.end_ms for bucket in expected}
    found: dict[int, list[Hashes]] = {}
    replayed = 0
    reader.assign({(changelog.name, partition): start})
    # The end is where the reader's own position is: a transaction ends with a marker.
    while reader.position(changelog.name, partition) < end:
        for chunk in await reader.poll(max_records=_POLL_RECORDS):
            for record in chunk.records:
                if record.offset >= end:
                    break  # someone else took over and commits; `confirm` says so
                replayed += 1
                try:
                    for bucket, hashes in decode_ids(record.value or b""):
                        if bucket in live:
                            found.setdefault(bucket, []).append(hashes)
                except StateFormatError as error:
                    raise StoreUnusableError(
                        f"changelog record {record.offset}: {error}"
                    ) from error
    return {bucket: np.concatenate(parts) for bucket, parts in found.items()}, replayed
