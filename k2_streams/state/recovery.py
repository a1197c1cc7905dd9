"""From the changelog back to the store: the middle of a take-over."""

from dataclasses import dataclass, replace

from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import TopicInfo
from k2_streams.state.checked_store import StoreUnusableError
from k2_streams.state.codec import (
    POSITION_KEY,
    Position,
    add_hash,
    decode_position,
    row_hash,
)
from k2_streams.state.rebuild import rebuilt_once
from k2_streams.state.store import STATE_VERSION, PartitionStore, StoreMeta

#: Rows applied to the store in one batch while it is rebuilt.
REBUILD_BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery found."""

    position: Position | None  # None: nothing was ever committed for this partition
    changelog_offset: int
    replayed: int  # changelog records applied
    wiped: bool = False


async def recover(
    config: KafkaConfig, changelog: TopicInfo, partition: int, store: PartitionStore
) -> Recovered:
    """Bring the store to the changelog's committed end.

    Wipes and rebuilds it, once, where it cannot be trusted: unreadable, of another version or
    topic, ahead of the changelog's end, behind its start, or not of the checksum it should have.

    Raises:
        StateLostError: the rebuilt state does not have the newest position record's checksum.
    """
    at = (changelog.name, partition)
    async with LogReader(config) as reader:

        async def replayed() -> Recovered:
            meta = _open(store, changelog.id, partition)
            await failpoint_in_loop("take-over.store-opened")
            start, end = await _span(reader, at, meta)
            return await _replay(reader, changelog, partition, store, meta, start, end)

        found, wiped = await rebuilt_once(f"{changelog.name}-{partition}", replayed, store.wipe)
    return replace(found, wiped=wiped)


def _open(store: PartitionStore, changelog_id: str, partition: int) -> StoreMeta | None:
    meta = store.open()
    return meta and meta.of(changelog_id, partition)


async def _span(reader: LogReader, at: tuple[str, int], meta: StoreMeta | None) -> tuple[int, int]:
    """From where to where the changelog is to be replayed."""
    begin = (await reader.begin_offsets([at]))[at]
    end = (await reader.end_offsets([at]))[at]
    start = begin if meta is None else meta.changelog_offset
    if not begin <= start <= end:
        raise StoreUnusableError(f"expected a changelog offset in [{begin}, {end}], found {start}")
    return start, end


async def _replay(
    reader: LogReader,
    changelog: TopicInfo,
    partition: int,
    store: PartitionStore,
    meta: StoreMeta | None,
    start: int,
    end: int,
) -> Recovered:
    position = meta.position if meta else None
    rows, checksum = (position.rows, position.checksum) if position else (0, 0)
    pending: dict[bytes, bytes | None] = {}
    replayed = 0
    reader.assign({(changelog.name, partition): start})
    # The end is where the reader's own position is, never the last record: a transaction ends with
    # a marker that is not delivered.
    while reader.position(changelog.name, partition) < end:
        await failpoint_in_loop("take-over.replaying")
        for chunk in await reader.poll(max_records=REBUILD_BATCH_ROWS):
            for record in chunk.records:
                if record.offset >= end:
                    # Someone else took over and commits: half of a transaction would look like
                    # damage, and the store would hold more than its offset says.
                    break
                replayed += 1
                if record.key is None:
                    raise StoreUnusableError(f"changelog record {record.offset} has no key")
                if record.key == POSITION_KEY:
                    position = decode_position(record.value or b"")
                    continue
                old = pending[record.key] if record.key in pending else store.get(record.key)
                rows += (record.value is not None) - (old is not None)
                checksum = add_hash(
                    checksum,
                    new=row_hash(record.key, record.value) if record.value is not None else 0,
                    old=row_hash(record.key, old) if old is not None else 0,
                )
                pending[record.key] = record.value
    if position is None:
        if replayed:
            raise StoreUnusableError(f"{replayed} changelog records and no position among them")
        return Recovered(None, end, 0)
    if (rows, checksum) != (position.rows, position.checksum):
        raise StoreUnusableError(
            f"expected {position.rows} rows with checksum {position.checksum:016x}, "
            f"found {rows} with {checksum:016x}"
        )
    await failpoint_in_loop("take-over.replayed")
    store.write(pending, StoreMeta(STATE_VERSION, changelog.id, end, partition, position))
    return Recovered(position, end, replayed)
