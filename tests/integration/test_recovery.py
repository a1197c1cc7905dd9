"""From the changelog back to the store: whatever the store has become, the state is right."""

import errno
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition as ClientPartition

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import TopicInfo, TopicSpec, ensure_topics
from k2_streams.kafka.transactions import FencedError, OutputRecord, TransactionalProducer
from k2_streams.state.codec import POSITION_KEY, add_hash, row_hash
from k2_streams.state.position import Position, RowSum, encode_position
from k2_streams.state.rebuild import StateLostError
from k2_streams.state.restore import Span, restore
from k2_streams.state.row_tables import RowTables
from k2_streams.state.store import STATE_VERSION, PartitionStore, StoreMeta

pytestmark = pytest.mark.integration


class Log:
    """A changelog and an output topic of one partition, and what they hold."""

    def __init__(self, config: KafkaConfig, prefix: str, topics: dict[str, TopicInfo]) -> None:
        self.config = config
        self.out = f"{prefix}-out"
        self.changelog = topics[f"{prefix}-changelog"]
        self.id = prefix
        self.rows: dict[bytes, bytes] = {}
        self.epoch = 0

    def position(self) -> Position:
        checksum = 0
        for key, value in self.rows.items():
            checksum = add_hash(checksum, new=row_hash(key, value))
        return Position(
            source_id="source",
            partitions=1,
            next_offset=self.epoch * 10,
            checkpoint=self.epoch,
            tables={"sequence": RowSum(len(self.rows), checksum)},
        )

    def meta(self, offset: int, partition: int = 0, changelog_id: str | None = None) -> StoreMeta:
        position, topic_id = self.position(), changelog_id or self.changelog.id
        sums = {"": position.tables["sequence"]}
        encoded = encode_position(position)
        return StoreMeta(STATE_VERSION, topic_id, offset, partition, encoded, sums)

    async def producer(self) -> TransactionalProducer:
        producer = TransactionalProducer(self.config, self.id, 0)
        await producer.start()
        return producer

    async def checkpoint(
        self,
        producer: TransactionalProducer,
        rows: dict[bytes, bytes],
        store: PartitionStore | None,
    ) -> None:
        self.epoch += 1
        self.rows |= rows
        position = self.position()
        changelog = [*rows.items(), (POSITION_KEY, encode_position(position))]
        committed = await producer.commit(
            [OutputRecord(self.out, None, b"rows")],
            [(self.changelog.name, changelog)],
            self.id,
            {TopicPartition(self.out, 0): self.epoch},
        )
        (offset,) = committed.changelog_ends
        if store is not None:
            store.write(dict(rows), self.meta(offset))

    async def leave_open(self) -> None:
        """A transaction with rows that never ends: what a killed task leaves behind."""
        raw = AIOKafkaProducer(**self.config.options(), transactional_id=self.id)
        await raw.start()
        await raw.begin_transaction()
        await raw.send_and_wait(self.changelog.name, b"never", b"X:0", partition=0)
        raw._closed = True  # as a kill: nothing is sent any more, nothing aborted
        await raw._sender.close()
        await raw.client.close()


@pytest.fixture
async def log(broker: str, topic_prefix: str) -> Log:
    config = KafkaConfig(bootstrap=broker)
    specs = [TopicSpec(f"{topic_prefix}-{name}", 1, {}) for name in ("out", "changelog")]
    return Log(config, topic_prefix, await ensure_topics(config, specs))


def rows(start: int, end: int, text: str = "v") -> dict[bytes, bytes]:
    return {b"X:%d" % number: f"{text}{number}".encode() for number in range(start, end)}


class Found(NamedTuple):
    position: Position | None
    wiped: bool


async def recover(config: KafkaConfig, changelog: TopicInfo, store: PartitionStore) -> Found:
    """As a take-over does."""
    table = RowTables("sequence", store, changelog, 0, has_position=True)
    with ThreadPoolExecutor(1) as pool:
        async with LogReader(config) as reader:
            begins = await reader.begin_offsets([table.changelog])
            ends = (await reader.settled_offsets([table.changelog])).stable
            span = Span(begins[table.changelog], ends[table.changelog])
            restored = await restore(reader, table, span, pool)
    return Found(table.position, restored.wiped)


async def recovered(log: Log, store: PartitionStore) -> tuple[dict[bytes, bytes], Position | None]:
    found = await recover(log.config, log.changelog, store)
    held = dict(store.items())
    store.close()
    return held, found.position


async def test_a_new_partition_has_no_position(log: Log, tmp_path: Path) -> None:
    """Nothing was ever committed: no rows, no position."""
    assert await recovered(log, PartitionStore(tmp_path / "s")) == ({}, None)


async def put_another_partition(log: Log, path: Path) -> None:
    """Files that are whole, and whose changelog happens to end at the same offset."""
    shutil.rmtree(path)
    theirs = Log(log.config, log.id, {f"{log.id}-changelog": log.changelog})
    theirs.rows = rows(900, 950, "theirs")
    async with LogReader(log.config) as reader:
        at = TopicPartition(log.changelog.name, 0)
        end = (await reader.settled_offsets([at])).stable[at]
    store = PartitionStore(path)
    store.open()
    store.write(dict(theirs.rows), theirs.meta(end, partition=1))
    store.close()


async def spoil(log: Log, path: Path, damage: str) -> None:
    """Make the store what the damage says; `path`'s first state is beside it, in `old`."""
    if damage == "gone":
        shutil.rmtree(path)
    elif damage == "old copy":
        shutil.rmtree(path)
        shutil.copytree(path.with_name("old"), path)
    elif damage == "corrupt":
        turn_round(path)
    elif damage == "another topic's":
        store = PartitionStore(path)
        store.open()
        store.write({}, log.meta(1, changelog_id="another topic"))
        store.close()
    elif damage == "another partition's":
        await put_another_partition(log, path)
    elif damage in {"CURRENT", "MANIFEST"}:
        lose(path, damage)


def turn_round(path: Path) -> None:
    for file in path.iterdir():
        if file.suffix in {".sst", ".log"}:
            file.write_bytes(file.read_bytes()[::-1])


def lose(path: Path, name: str) -> None:
    for file in path.glob(f"{name}*"):
        file.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        "none", "gone", "old copy", "corrupt", "another topic's", "another partition's", "CURRENT",
        "MANIFEST",
    ],
)  # fmt: skip
async def test_whatever_became_of_the_store_the_state_is_right(
    log: Log, tmp_path: Path, damage: str
) -> None:
    """Missing, older, damaged or somebody else's files: replayed or rebuilt, never believed."""
    path = tmp_path / "s"
    store = PartitionStore(path)
    store.open()
    producer = await log.producer()
    await log.checkpoint(producer, rows(0, 300), store)
    store.close()
    shutil.copytree(path, tmp_path / "old")
    store.open()
    await log.checkpoint(producer, rows(200, 400, "w"), store)
    store.close()
    await producer.stop()
    await spoil(log, path, damage)
    held, position = await recovered(log, PartitionStore(path))
    assert held == log.rows
    assert position == log.position()


async def test_a_changelog_that_ends_in_an_open_transaction_is_read_to_its_end(
    log: Log, tmp_path: Path
) -> None:
    """The successor's producer aborts it; the reader's own position, not a record, is the end."""
    producer = await log.producer()
    await log.checkpoint(producer, rows(0, 50), None)
    await producer.stop()
    await log.leave_open()
    successor = await log.producer()
    held, position = await recovered(log, PartitionStore(tmp_path / "s"))
    await successor.stop()
    assert held == log.rows
    assert position == log.position()


async def test_a_successor_fences_the_predecessor(log: Log) -> None:
    """What the first sends after the second has started is never committed."""
    first = await log.producer()
    await log.checkpoint(first, rows(0, 5), None)
    second = await log.producer()
    with pytest.raises(FencedError):
        await log.checkpoint(first, rows(5, 10), None)
    await first.stop()
    await second.stop()


async def test_a_garbage_record_is_not_passed_over(log: Log, tmp_path: Path) -> None:
    """A row that nobody's checkpoint counted: refused after a rebuild, for a person to decide."""
    producer = await log.producer()
    await log.checkpoint(producer, rows(0, 20), None)
    await producer.stop()
    stranger = AIOKafkaProducer(**log.config.options())
    await stranger.start()
    await stranger.send_and_wait(log.changelog.name, b"garbage", b"X:3", partition=0)
    await stranger.stop()
    with pytest.raises(StateLostError):
        await recover(log.config, log.changelog, PartitionStore(tmp_path / "s"))


async def test_a_changelog_that_lost_its_beginning_is_not_taken_for_the_state(
    log: Log, tmp_path: Path
) -> None:
    """Records were removed before a store held them: refused; a store that holds them is enough."""
    store = PartitionStore(tmp_path / "kept")
    store.open()
    producer = await log.producer()
    await log.checkpoint(producer, rows(0, 20), store)
    cut_at = 21  # behind the first transaction's rows and its position
    await log.checkpoint(producer, rows(20, 40), store)
    await producer.stop()
    store.close()
    admin = AIOKafkaAdminClient(**log.config.options())
    await admin.start()
    await admin.delete_records({ClientPartition(log.changelog.name, 0): RecordsToDelete(cut_at)})
    await admin.close()
    assert (await recovered(log, store))[0] == log.rows
    with pytest.raises(StateLostError):
        await recover(log.config, log.changelog, PartitionStore(tmp_path / "new"))


async def test_a_store_that_cannot_be_opened_is_the_error_that_is_seen(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader that was just started for it must not answer with its own end instead."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = PartitionStore(tmp_path / "s")
    monkeypatch.setattr(store, "open", full)
    with pytest.raises(OSError, match="No space left"):
        await recover(log.config, log.changelog, store)


async def test_a_changelog_created_anew_does_not_fit_an_old_store(log: Log, tmp_path: Path) -> None:
    """Another topic id: the store is wiped, not believed."""
    store = PartitionStore(tmp_path / "s")
    store.open()
    producer = await log.producer()
    await log.checkpoint(producer, rows(0, 20), store)
    await producer.stop()
    store.close()
    anew = TopicInfo(log.changelog.name, "00000000-0000-0000-0000-00000000beef", 1)
    found = await recover(log.config, anew, store)
    assert found.wiped
    store.close()
