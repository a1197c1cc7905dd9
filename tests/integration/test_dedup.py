"""Ids across kills and damage: from the changelog back to store and filters, and the whole way."""

import random
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]
from msgspec.structs import replace
from structlog.testing import capture_logs

from k2_streams.core.dedup.ids import Memory, Window, hashes_of, step_batch
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import TopicInfo, TopicSpec, ensure_topics
from k2_streams.kafka.transactions import TransactionalProducer
from k2_streams.state.dedup_table import Buckets, DedupTable, buckets_section
from k2_streams.state.ids import IdTable
from k2_streams.state.ids_codec import BucketSum
from k2_streams.state.ids_store import IDS_VERSION, IdsMeta, IdStore
from k2_streams.state.position import Position
from k2_streams.state.rebuild import StateLostError
from k2_streams.state.restore import Span, restore
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

WINDOW = Window(8 * 1_000)
MEMORY = Memory.of(1_000, 0.01)


class Ids:
    """A changelog of one partition, and what was committed to it."""

    def __init__(self, config: KafkaConfig, changelog: TopicInfo) -> None:
        self.config = config
        self.changelog = changelog
        self.committed: tuple[BucketSum, ...] = ()
        self.now_ms = self.last_ms = 10_000
        self.sent = 0
        self.pool = ThreadPoolExecutor(1)

    async def checkpoints(
        self, table: IdTable, count: int, *, written: bool, step_ms: int = 500
    ) -> None:
        """So many checkpoints of 100 ids each, `step_ms` apart."""
        producer = TransactionalProducer(self.config, self.changelog.name, 0)
        await producer.start()
        for _ in range(count):
            hashes = hashes_of([b"%d" % number for number in range(self.sent, self.sent + 100)])
            assert not step_batch(table, WINDOW, hashes, np.full(100, self.now_ms)).any()
            self.sent += 100
            self.last_ms, self.now_ms = self.now_ms, self.now_ms + step_ms
            sealed = table.seal()
            rows = [(b"", value) for value in sealed.records()]
            at = {TopicPartition(self.changelog.name, 0): self.sent}
            committed = await producer.commit([], [(self.changelog.name, rows)], "ids", at)
            (end,) = committed.changelog_ends
            if written:
                table.write(sealed, IdsMeta(IDS_VERSION, self.changelog.id, end, 0, sealed.buckets))
            self.committed = sealed.buckets
        await producer.stop()

    async def recover(self, store: IdStore, changelog: TopicInfo | None = None) -> IdTable:
        table = DedupTable("dedup", store, changelog or self.changelog, 0, MEMORY, WINDOW)
        sections = {"dedup": buckets_section("dedup").write(Buckets(self.committed))}
        table.expect(Position(source_id="", partitions=1, next_offset=0, sections=sections), 0)
        async with LogReader(self.config) as reader:
            begins = await reader.begin_offsets([table.changelog])
            ends = (await reader.settled_offsets([table.changelog])).stable
            span = Span(begins[table.changelog], ends[table.changelog])
            await restore(reader, table, span, self.pool)
        return table.ids

    def check(self, table: IdTable) -> None:
        """Every live id is a repeat, every other one is new."""
        assert table.sums() == self.committed
        live = sum(bucket.ids for bucket in self.committed)
        numbers = range(self.sent - live, self.sent)
        now = np.full(live, self.last_ms)
        assert step_batch(table, WINDOW, hashes_of([b"%d" % n for n in numbers]), now).all()
        fresh = hashes_of([b"new-%d" % number for number in range(500)])
        assert not step_batch(table, WINDOW, fresh, np.full(500, self.last_ms)).any()


@pytest.fixture
async def ids(broker: str, topic_prefix: str) -> AsyncIterator[Ids]:
    config = KafkaConfig(bootstrap=broker)
    name = f"{topic_prefix}-ids"
    made = Ids(config, (await ensure_topics(config, [TopicSpec(name, 1, {})]))[name])
    yield made
    made.pool.shutdown()


@pytest.mark.parametrize(
    "damage",
    [
        "none",
        "unwritten",
        "no store",
        "old copy",
        "corrupt",
        "CURRENT",
        "another's",
        "another partition's",
    ],
)
async def test_whatever_the_store_has_become_the_ids_are_right(
    ids: Ids, tmp_path: Path, damage: str
) -> None:
    """Over buckets that were dropped meanwhile, and repeatedly."""
    path = tmp_path / "ids"
    store = IdStore(path)
    table = await ids.recover(store)
    await ids.checkpoints(table, 12, written=True)
    store.close()
    shutil.copytree(path, tmp_path / "old")
    table = await ids.recover(store)
    await ids.checkpoints(table, 12, written=damage != "unwritten")
    store.close()
    if damage == "no store":
        shutil.rmtree(path)
    elif damage == "old copy":
        shutil.rmtree(path)
        shutil.copytree(tmp_path / "old", path)
    elif damage == "corrupt":
        for file in path.iterdir():
            if file.suffix in {".sst", ".log"}:
                file.write_bytes(file.read_bytes()[::-1])
    elif damage == "CURRENT":
        (path / "CURRENT").unlink()
    elif damage == "another partition's":
        # Whole, and of the same sums: what it says of itself tells it apart.
        meta = store.open(lambda _bucket, _ids: None)
        assert meta is not None
        store.write({}, (), replace(meta, partition=1))
        store.close()
    elif damage == "another's":
        shutil.rmtree(path)
        store.open(lambda _bucket, _ids: None)
        store.write({}, (), IdsMeta(IDS_VERSION, "another topic", 1, 0, ()))
        store.close()
    again = IdStore(path)
    with capture_logs() as logs:
        ids.check(await ids.recover(again))
    again.close()
    rebuilt = any(entry["event"] == "store unusable, rebuilding" for entry in logs)
    assert rebuilt == (damage not in {"none", "unwritten", "no store", "old copy"})


async def test_ids_that_nobody_counted_are_refused(ids: Ids, tmp_path: Path) -> None:
    """After a rebuild from the changelog it is for a person to decide."""
    store = IdStore(tmp_path / "ids")
    await ids.checkpoints(await ids.recover(store), 3, written=True)
    store.close()
    first, *rest = ids.committed
    ids.committed = (BucketSum(first.end_ms, first.ids + 1, first.checksum), *rest)
    with pytest.raises(StateLostError):
        await ids.recover(IdStore(tmp_path / "ids"))


@pytest.mark.parametrize(
    ("kills", "messages"), [(2, 20_000), pytest.param(4, 60_000, marks=pytest.mark.long)]
)
def test_ids_are_rows_once_through_kills(k2: Cluster, kills: int, messages: int) -> None:
    """kill -9 while repeats arrive at any distance; then every id and count."""
    worker = k2.worker().start().wait_ready()
    truth = k2.directory / "ids.jsonl"
    producer = k2.spawn(
        "produce", "--ids", "--messages", str(messages), "--rate", "4000", "--duplicates", "2%",
        "--symbols", "50", "--seed", "11", "--truth", str(truth),
    )  # fmt: skip
    rng = random.Random(5)
    for goal in sorted(rng.sample(range(messages // 20, messages // 2), kills)):
        eventually(lambda goal=goal: _ids(worker) >= goal, within_s=240, what="ids")
        worker.kill()
        worker.start().wait_ready()
    out, _ = producer.communicate(timeout=300)
    assert producer.returncode == 0, out
    k2.verify(worker, truth)
    assert _ids(worker) == messages
    worker.stop()
    # A worker without its disk builds the ids from the changelog: all of it again is repeats.
    shutil.rmtree(k2.directory / "worker-0")
    worker.start().wait_ready()
    more = k2.directory / "again.jsonl"
    done = k2.k2(
        "produce", "--ids", "--messages", str(messages), "--symbols", "50", "--seed", "11",
        "--truth", str(more),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    eventually(lambda: _repeated(worker.url) >= messages, within_s=240, what="all of it")
    assert _ids(worker) == messages
    worker.stop()


def _ids(worker: LocalWorker) -> int:
    return sum(part["ids"] for part in worker.get("/v1/status")["partitions"].values())


def _repeated(url: str) -> float:
    import urllib.request  # noqa: PLC0415 - used here alone

    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - loopback
        lines = answer.read().decode().splitlines()
    name = 'k2_dedup_ids_total{outcome="duplicate"}'
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
