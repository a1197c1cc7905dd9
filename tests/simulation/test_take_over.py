"""Take-overs that overlap, as the simulation found them: each case alone, on the simulated log."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from msgspec.msgpack import Decoder

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.dedup.ids import Memory, Window, hashes_of
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.topics import RAW, TRADES
from k2_streams.kafka.transactions import FencedError, OutputRecord, TransactionalProducer
from k2_streams.lake.breaker import Guard
from k2_streams.runtime.assignment import Ownership
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.flow import PartitionFlow
from k2_streams.runtime.limits import DEFAULT_LIMITS
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.task import take_over as take_over_module
from k2_streams.runtime.task.resume import checked_offsets
from k2_streams.runtime.task.take_over import FencedEnds, TakeOver
from k2_streams.state.checked_store import META_KEY, decode_meta
from k2_streams.state.codec import POSITION_KEY, row_hash
from k2_streams.state.dedup_table import DedupTable
from k2_streams.state.ids_codec import encode_ids
from k2_streams.state.ids_store import IdStore
from k2_streams.state.position import Position, RowSum, encode_position
from k2_streams.state.rebuild import StateLostError
from k2_streams.state.restore import Span, restore
from k2_streams.state.row_tables import RowTables
from k2_streams.state.store import PartitionStore, StoreMeta
from k2_streams.testing.memory.cluster import BEGIN_MS, MemoryCluster, TransactionShare
from k2_streams.testing.memory.disk import MemoryDisk
from simulation.checks import CHANGELOG, IDS_CHANGELOG
from simulation.place import CountedKafka, Place

ROW = (b"X:A", b"one")


def position(rows: int, checksum: int, source: str = "raw", next_offset: int = 5) -> Position:
    tables = {"sequence": RowSum(rows, checksum)}
    return Position(
        source_id=source, partitions=1, next_offset=next_offset, checkpoint=1, tables=tables
    )


@pytest.fixture
def place():
    return Place()


def commit_rows(
    cluster: MemoryCluster,
    rows: list[tuple[bytes, bytes]],
    ids: Sequence[tuple[bytes, bytes]] = (),
    **where: Any,
) -> None:
    """Rows and their position, and ids, as one transaction of somebody's."""
    epoch = cluster.start_producer("other", 15.0)
    checksum = sum(row_hash(*row) for row in dict(rows).items()) % 2**64
    last = (POSITION_KEY, encode_position(position(len(dict(rows)), checksum, **where)))
    for key, value in [*rows, last]:
        cluster.produce("other", epoch, (CHANGELOG, 0), [(key, value, ())])
    for key, value in ids:
        cluster.produce("other", epoch, (IDS_CHANGELOG, 0), [(key, value, ())])
    cluster.commit("other", epoch)


def sequence_of(cluster: MemoryCluster, disk: MemoryDisk) -> RowTables:
    store = PartitionStore(Path("/s/0"), disk)
    return RowTables("sequence", store, cluster.topics[CHANGELOG], 0, has_position=True)


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_a_recovery_applies_nothing_beyond_the_end_it_saw(place, monkeypatch, at_once):
    """A successor commits between the look at the end and the read; half of it may be read."""
    cluster = place.cluster
    commit_rows(cluster, [ROW])
    end = cluster.partitions[CHANGELOG, 0].stable
    monkeypatch.setattr(RowTables, "poll_records", at_once)
    table = sequence_of(cluster, MemoryDisk())

    async def main():
        async with LogReader(place.kafka) as reader:
            ends = await reader.end_offsets([table.changelog])
            commit_rows(cluster, [(b"X:A", b"two"), (b"X:B", b"three")])
            span = Span(0, ends[table.changelog])
            return await restore(reader, table, span, place.context.pool)

    restored = place.run(main())
    meta = decode_meta(table.store.get(META_KEY), Decoder(StoreMeta))
    assert (meta.changelog_offset, restored.wiped) == (end, False)
    assert list(table.store.items()) == [ROW]


def checked(place: Place, position: Position | None) -> Any:
    async def main():
        async with LogReader(place.kafka) as reader:
            return await checked_offsets(
                reader, place.context, TopicPartition(CHANGELOG, 0), position
            )

    return place.run(main())


def test_a_position_committed_since_the_recovery_means_fenced_not_lost(place):
    place.cluster.append((TRADES, 0), None, b"rows")
    commit_rows(place.cluster, [ROW])
    with pytest.raises(FencedError):
        checked(place, None)


def test_ids_committed_since_the_position_was_read_mean_fenced_not_lost(place):
    """Their changelog is another than the position's: read later, it holds what nobody counted."""
    cluster, pool = place.cluster, place.context.pool
    commit_rows(cluster, [ROW])
    sequence = sequence_of(cluster, MemoryDisk())
    disk = MemoryDisk()
    store, changelog = IdStore(Path("/i/0"), disk), cluster.topics[IDS_CHANGELOG]
    dedup = DedupTable("dedup", store, changelog, 0, Memory.of(10, 0.5), Window(86_400_000))

    async def take_over():
        async with LogReader(place.kafka) as reader:
            ends = await reader.end_offsets([sequence.changelog, dedup.changelog])
            await restore(reader, sequence, Span(0, ends[sequence.changelog]), pool)
            ids = encode_ids({BEGIN_MS: hashes_of([b"one"])})
            commit_rows(cluster, [ROW], [(b"", record) for record in ids])
            dedup.expect(sequence.position, 0)
            confirm = FencedEnds(reader, ends).confirm
            await restore(reader, dedup, Span(0, ends[dedup.changelog]), pool, confirm)

    with pytest.raises(FencedError):
        place.run(take_over())
    assert disk.databases[Path("/i/0")] == [{}], "nothing is written of what does not fit"


def test_records_without_any_position_are_a_state_that_was_lost(place):
    place.cluster.append((TRADES, 0), None, b"rows")
    with pytest.raises(StateLostError):
        checked(place, None)


def test_a_broker_away_while_the_sink_starts_is_asked_again(place):
    """The task's partitions are read meanwhile, and the sink's as soon as the broker is back."""
    tp, resumed, answers = (
        TopicPartition(TRADES, 0),
        [],
        [KafkaConnectionError(), KafkaConnectionError(), 7],
    )

    class SinkOfOne:
        retrying = error = None
        guard = Guard()

        async def assign(self, partitions):
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return {0: answer}

    class GroupOfOne:
        def assignment(self):
            return {tp}

        def pause_partitions(self, tps): ...

        def resume_partitions(self, tps): ...

        async def seek_to(self, starts):
            resumed.append(dict(starts))

        async def is_member(self, generation):
            return generation == 1

    async def main() -> None:
        supervisor = Supervisor(SYSTEM_CLOCK, Metrics())
        group = GroupOfOne()
        flow = PartitionFlow(group, [], supervisor, DEFAULT_LIMITS, Metrics().source)
        owner = Ownership({}, {TRADES: SinkOfOne()}, flow, group.is_member, supervisor)
        assert await owner.take_over({tp}, 1) == {}
        await asyncio.sleep(60.0)

    place.run(main())
    assert resumed == [{tp: 7}]


def test_a_successors_transaction_means_fenced_not_refused(place, monkeypatch):
    """Seen while it was open; when its coordinator is asked, the next one has started."""
    cluster, at = place.cluster, TopicPartition(CHANGELOG, 0)
    asked = LogReader.stable_offsets

    async def look(reader, partitions):
        epoch = cluster.start_producer("t", 15.0)
        cluster.produce("t", epoch, at, [(*ROW, ())])
        found = await asked(reader, partitions)
        cluster.commit("t", epoch)
        cluster.start_producer("t", 15.0)
        return found

    monkeypatch.setattr(LogReader, "stable_offsets", look)
    zombie = TransactionalProducer(place.kafka, "t", 0)

    async def main():
        async with LogReader(place.kafka) as reader:
            await Settling(place.kafka).start(zombie, [at], reader)

    with pytest.raises(FencedError):
        place.run(main())


def test_a_fenced_producer_commits_nothing_and_says_so(place):
    """Of two producers of one name only the one that started last can commit."""

    async def main() -> None:
        zombie, owner = (TransactionalProducer(place.kafka, "t", 0) for _ in range(2))
        await zombie.start()
        await owner.start()
        with pytest.raises(FencedError):
            await zombie.commit([], [(CHANGELOG, [ROW])], "k2", {})
        await owner.commit([], [(CHANGELOG, [ROW])], "k2", {})

    place.run(main())
    assert len(place.cluster.partitions[CHANGELOG, 0].committed()) == 1


def test_a_take_over_by_another_worker_fences_the_task_before(place, tmp_path):
    """Whatever the workers are called: the name of the producer is the partition's."""

    def of(member_id: str) -> TakeOver:
        place.context.settings.member_id = member_id
        place.use(tmp_path / member_id)
        return TakeOver(place.context, 0)

    async def main() -> None:
        before, after = of("k2-0"), of("k2-1")
        zombie = (await before.run()).producer
        owner = (await after.run()).producer
        with pytest.raises(FencedError):
            await zombie.commit([], [(CHANGELOG, [ROW])], "k2", {})
        await owner.commit([], [(CHANGELOG, [ROW])], "k2", {})
        for take_over in (before, after):
            take_over.tables.close()

    place.run(main())
    assert len(place.cluster.partitions[CHANGELOG, 0].committed()) == 1


@pytest.mark.parametrize("tables", ["new", "to be rebuilt"])
def test_a_take_over_opens_three_connections(place, tmp_path, tables):
    """The question to the coordinator, the producer, and one reader for all else."""
    place.use(tmp_path)
    if tables == "to be rebuilt":
        place.cluster.append((RAW, 0), b"X:A", b"{}")
        commit_rows(place.cluster, [ROW], source=place.context.source.id, next_offset=1)
    kafka = place.context.kafka
    assert isinstance(kafka, CountedKafka)
    take_over = TakeOver(place.context, 0)
    taken = place.run(take_over.run())
    take_over.tables.close()
    assert taken.position.next_offset == (0 if tables == "new" else 1)
    assert kafka.opened == {"producer": 1, "consumer": 1, "coordinator": 1}


def test_what_was_written_since_the_fence_means_fenced(place, tmp_path, monkeypatch):
    """A successor commits when the tables are restored, in a partition that is not read again."""
    place.use(tmp_path)
    records_in = take_over_module.records_in

    async def counted_then_written(*arguments):
        found = await records_in(*arguments)
        place.cluster.append((TRADES, 0), None, b"rows")
        return found

    monkeypatch.setattr(take_over_module, "records_in", counted_then_written)
    take_over = TakeOver(place.context, 0)
    with pytest.raises(FencedError, match="someone else"):
        place.run(take_over.run())
    take_over.tables.close()


@pytest.mark.parametrize("late_s", [1.0, None], ids=["late", "never"])
def test_a_marker_is_written_again_only_if_it_does_not_come(place, late_s):
    """A coordinator answers before it writes them: under load a second or so before."""
    cluster, at = place.cluster, TopicPartition(TRADES, 0)
    log, share = cluster.partitions[at], TransactionShare()

    def write() -> None:
        del log.open[share]
        cluster.marker(at)

    async def main():
        producer = TransactionalProducer(place.kafka, "k2-0", 0)
        await producer.start()
        await producer.commit([OutputRecord(TRADES, None, b"rows")], [], "k2", {})
        del log.entries[-1]  # its marker
        log.open[share] = 0
        if late_s is not None:
            place.loop.later(late_s, write)
        await Settling(place.kafka).check(producer, [at])
        await asyncio.sleep(late_s or 0.0)

    place.run(main())
    assert [entry.record is None for entry in log.entries] == [False, True]
