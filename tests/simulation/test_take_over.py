"""Take-overs that overlap, as the simulation found them: each case alone, on the simulated log."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.dedup.ids import hashes_of
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.kafka import hanging_transactions as settling
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.offsets import open_transactions
from k2_streams.kafka.topics import RAW, TRADES
from k2_streams.kafka.transactions import FencedError, TransactionalProducer
from k2_streams.lake.breaker import Guard
from k2_streams.runtime.assignment import Ownership
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.task.ids_checkpoint import take_ids_over
from k2_streams.runtime.task.resume import checked_offsets
from k2_streams.state.codec import POSITION_KEY, Position, encode_position, row_hash
from k2_streams.state.ids_codec import encode_ids
from k2_streams.state.ids_store import IdStore
from k2_streams.state.rebuild import StateLostError
from k2_streams.state.recovery import recover
from k2_streams.state.store import PartitionStore
from simulation.chaos import Chaos, Rates
from simulation.checks import CHANGELOG, IDS_CHANGELOG
from simulation.disk import SimDisk
from simulation.log import BEGIN_MS, Cluster, Network, SimKafka, seeded
from simulation.loop import Loop

ROW = (b"X:A", b"one")


def position(rows: int, checksum: int) -> Position:
    return Position(
        source_id="raw",
        partitions=1,
        next_offset=5,
        epoch=1,
        events=0,
        accepted_time_us=0,
        rows=rows,
        checksum=checksum,
    )


class Place:
    """A cluster of one partition, with nothing going wrong."""

    def __init__(self) -> None:
        self.loop = Loop(seeded(0, "threads"))
        chaos = Chaos(seeded(0, "chaos"))
        chaos.rates = Rates()
        self.cluster = Cluster(
            self.loop,
            dict.fromkeys([RAW, TRADES, TRADES_INPUT.deferred, CHANGELOG, IDS_CHANGELOG], 1),
        )
        self.kafka = SimKafka(self.cluster, Network(self.loop, chaos))
        self.context: Any = SimpleNamespace(
            source=TRADES_INPUT,
            kafka=self.kafka,
            raw=self.cluster.topics[RAW],
            deferred=self.cluster.topics[TRADES_INPUT.deferred],
            changelog=self.cluster.topics[CHANGELOG],
            ids_changelog=self.cluster.topics[IDS_CHANGELOG],
            pool=ThreadPoolExecutor(1),
            settings=SimpleNamespace(
                partitions=1,
                dedup_ttl_s=86_400,
                dedup_expected_ids=10,
                dedup_false_positive_rate=0.5,
            ),
        )

    def run(self, main: Any) -> Any:
        try:
            return self.loop.run_until_complete(main)
        finally:
            self.loop.abandon()


@pytest.fixture
def place():
    return Place()


def commit_rows(
    cluster: Cluster, rows: list[tuple[bytes, bytes]], ids: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Rows and their position, and ids, as one transaction of somebody's."""
    epoch = cluster.start_producer("other", 15.0)
    checksum = sum(row_hash(*row) for row in dict(rows).items()) % 2**64
    last = (POSITION_KEY, encode_position(position(len(dict(rows)), checksum)))
    for key, value in [*rows, last]:
        cluster.produce("other", epoch, (CHANGELOG, 0), [(key, value, ())])
    for key, value in ids:
        cluster.produce("other", epoch, (IDS_CHANGELOG, 0), [(key, value, ())])
    cluster.commit("other", epoch)


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_a_recovery_applies_nothing_beyond_the_end_it_saw(place, monkeypatch, at_once):
    """A successor commits between the look at the end and the read; half of it may be read."""
    cluster = place.cluster
    commit_rows(cluster, [ROW])
    end = cluster.partitions[CHANGELOG, 0].stable
    asked = LogReader.end_offsets

    async def end_offsets(self, partitions):
        found = await asked(self, partitions)
        commit_rows(cluster, [(b"X:A", b"two"), (b"X:B", b"three")])
        return found

    monkeypatch.setattr(LogReader, "end_offsets", end_offsets)
    monkeypatch.setattr("k2_streams.state.recovery.REBUILD_BATCH_ROWS", at_once)
    store = PartitionStore(Path("/s/0"), SimDisk(lambda path, rows: None))
    recovered = place.run(recover(place.kafka, cluster.topics[CHANGELOG], 0, store))
    assert (recovered.changelog_offset, recovered.wiped) == (end, False)
    assert list(store.items()) == [ROW]


def test_a_position_committed_since_the_recovery_means_fenced_not_lost(place):
    place.cluster.append((TRADES, 0), None, b"rows")
    commit_rows(place.cluster, [ROW])
    with pytest.raises(FencedError):
        place.run(checked_offsets(place.context, 0, None))


def test_ids_committed_since_the_position_was_read_mean_fenced_not_lost(place):
    """Their changelog is another than the position's: read later, it holds what nobody counted."""
    cluster = place.cluster
    commit_rows(cluster, [ROW])
    sequence = PartitionStore(Path("/s/0"), SimDisk(lambda path, rows: None))
    disk = SimDisk(lambda path, rows: None)

    async def take_over():
        recovered = await recover(place.kafka, cluster.topics[CHANGELOG], 0, sequence)
        ids = encode_ids({BEGIN_MS: hashes_of([b"one"])})
        commit_rows(cluster, [ROW], [(b"", record) for record in ids])
        await take_ids_over(place.context, 0, IdStore(Path("/i/0"), disk), recovered, 0)

    with pytest.raises(FencedError):
        place.run(take_over())
    assert disk.databases[Path("/i/0")] == [{}], "nothing is written of what does not fit"


def test_records_without_any_position_are_a_state_that_was_lost(place):
    place.cluster.append((TRADES, 0), None, b"rows")
    with pytest.raises(StateLostError):
        place.run(checked_offsets(place.context, 0, None))


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

    async def resume(starts):
        resumed.append(dict(starts))

    async def is_member(generation):
        return generation == 1

    async def main() -> None:
        supervisor = Supervisor(SYSTEM_CLOCK, Metrics())
        owner = Ownership(TRADES_INPUT, lambda _: None, SinkOfOne(), resume, is_member, supervisor)
        assert await owner.take_over({tp}, 1) == {}
        await asyncio.sleep(60.0)

    place.run(main())
    assert resumed == [{tp: 7}]


def test_a_successors_transaction_means_fenced_not_refused(place, monkeypatch):
    """Seen while it was open; when its coordinator is asked, the next one has started."""
    cluster, at = place.cluster, (CHANGELOG, 0)

    async def look(config, places):
        epoch = cluster.start_producer("t", 15.0)
        cluster.produce("t", epoch, at, [(*ROW, ())])
        found = await open_transactions(config, places)
        cluster.commit("t", epoch)
        cluster.start_producer("t", 15.0)
        return found

    monkeypatch.setattr(settling, "open_transactions", look)
    zombie = TransactionalProducer(place.kafka, "t", 0)
    with pytest.raises(FencedError):
        place.run(Settling(place.kafka).start(zombie, [at]))


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
