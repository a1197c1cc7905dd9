"""What a fetch gave is delivered, or fetched again: nothing in between."""

import contextlib
import importlib
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP
from fetched_bytes import FetchedBytes
from record_batches import TRANSACTIONAL, batch, marker, record

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.partition_faults import PartitionFaults
from k2_streams.kafka.topics import TRADES
from k2_streams.runtime.faust_driver.transport import BatchConsumer, BatchConsumerThread
from k2_streams.runtime.fetched import Fetched

AT, OTHER = TopicPartition(TRADES, 2), TopicPartition(TRADES, 3)
RECORD = SimpleNamespace(offset=8, timestamp=0, timestamp_type=1)


class Thread(BatchConsumerThread):
    """The consumer's thread as far as seeks and chains go."""

    def __init__(self, consumer: Any) -> None:
        self._chain = {AT: 10, OTHER: 40}
        self.faults = PartitionFaults()
        self.sought: list[tuple[TopicPartition, int]] = []
        self._group = consumer
        self.batches = [Fetched(AT, 8, 10, [RECORD], 10), Fetched(OTHER, 30, 40, [RECORD], 40)]

    async def call_thread(self, work: Any, *arguments: Any) -> Any:
        return await work(*arguments)

    def assignment(self) -> set[TopicPartition]:
        return {AT, OTHER}

    def _ensure_consumer(self) -> Any:
        return SimpleNamespace(seek=lambda tp, offset: self.sought.append((tp, offset)))

    async def fetch(self, active: set[TopicPartition], wait_s: float) -> list[Fetched]:
        self._group.during_the_fetch()
        return self.batches


def consumer(during_the_fetch: Any) -> Any:
    made = SimpleNamespace(
        flow_active=True,
        should_stop=False,
        app=SimpleNamespace(consumer_generation_id=4),
        not_waiting_next_records=SimpleNamespace(clear=lambda: None, set=lambda: None),
        _get_active_partitions=lambda: {AT, OTHER},
        _read_offset={},
    )
    made.during_the_fetch = lambda: during_the_fetch(made)
    made._thread = Thread(made)
    return made


async def delivered(made: Any) -> list[TopicPartition]:
    return [tp async for tp, _ in BatchConsumer.getmany(made, 1.0)]


async def test_batches_are_delivered() -> None:
    """One message a partition, and nothing is sought."""
    made = consumer(lambda _: None)
    assert await delivered(made) == [AT, OTHER]
    assert made._thread.sought == []


async def test_a_fetch_that_a_rebalance_overtook_is_fetched_again() -> None:
    """It may be the last for hours: without a next batch nobody would see the break."""

    def rebalance(made: Any) -> None:
        made.app.consumer_generation_id = 5

    made = consumer(rebalance)
    assert await delivered(made) == []
    assert made._thread.sought == [(AT, 8), (OTHER, 30)]
    assert made._thread._chain == {AT: 8, OTHER: 30}


async def test_a_partition_that_was_sought_since_is_left_alone() -> None:
    """The seek knows better where its owner is."""

    def rebalance(made: Any) -> None:
        made.app.consumer_generation_id = 5
        made._thread._chain[AT] = 4

    made = consumer(rebalance)
    assert await delivered(made) == []
    assert made._thread.sought == [(OTHER, 30)]


def test_pausing_and_resuming_keep_fausts_own_type_in_its_sets() -> None:
    """Faust asserts it with the next fetch, and a worker without it ends."""
    made = object.__new__(BatchConsumer)
    made._active_partitions, made._paused_partitions = {TP(*AT)}, set()
    made.pause_partitions([AT])
    assert made._get_active_partitions() == set()
    made.resume_partitions(tp for tp in [AT, OTHER])
    assert made._get_active_partitions() == {AT, OTHER}, "and Faust asserts their type"


def test_a_consumer_that_has_not_started_has_no_faults() -> None:
    """The web answers before: Faust would raise for the assignment of such a consumer."""

    def assignment() -> set[TopicPartition]:
        raise ConsumerNotStarted

    made: Any = SimpleNamespace(
        assignment=assignment, _thread=SimpleNamespace(faults=PartitionFaults())
    )
    assert BatchConsumer.faults.fget(made) == []


class Failing(Thread):
    """A thread whose every fetch fails."""

    def __init__(self, assignment: set[TopicPartition]) -> None:
        async def wait_for_assignment() -> None:
            raise KafkaError("GroupLoadInProgress")

        subscriptions = SimpleNamespace(
            fetch_context=contextlib.nullcontext,
            reassignment_in_progress=True,
            wait_for_assignment=wait_for_assignment,
        )
        fetcher = SimpleNamespace(_closed=False, _subscriptions=subscriptions)
        self.faults = PartitionFaults()
        self.app = SimpleNamespace(worker=SimpleNamespace(native=None))
        self.consumer = SimpleNamespace(flow_active=True)
        self._group = SimpleNamespace(
            _fetcher=fetcher, _closed=False, _max_poll_records=1, assignment=lambda: assignment
        )

    def _ensure_consumer(self) -> Any:
        return self._group


async def test_a_fetch_ends_no_worker_for_an_error_of_its_group() -> None:
    """Without an assignment nothing is fetched, and the error is the group's."""
    assert await Failing(set())._fetch({AT}, 0.0) == []


async def test_an_error_of_a_fetch_is_raised() -> None:
    with pytest.raises(KafkaError):
        await Failing({AT})._fetch({AT}, 0.0)


class Fetching(Thread):
    """A thread whose client has fetched these bytes, which begin at offset 10."""

    def __init__(self, data: bytes, aborted: Any = ()) -> None:
        fetched = FetchedBytes(AT, data, 10, aborted)

        async def position(_tp: Any) -> int:
            return fetched.state.position

        self.faults, self._answers, self._chain = PartitionFaults(), None, {AT: 10}
        topics = SimpleNamespace(append_time_seen_s={})
        self.app = SimpleNamespace(worker=SimpleNamespace(native=None, topics=topics))
        self.consumer = SimpleNamespace(flow_active=True)
        self._group = SimpleNamespace(
            _fetcher=fetched.fetcher,
            _closed=False,
            _max_poll_records=100,
            position=position,
            highwater=lambda _: None,
        )

    def _ensure_consumer(self) -> Any:
        return self._group

    async def fetch(self, active: set[TopicPartition], wait_s: float) -> list[Fetched]:
        return await self._fetch(active, wait_s)


@pytest.mark.parametrize(
    ("data", "aborted", "records", "end"),
    [
        (batch(record(0), base=10) + marker(11), (), 1, 12),
        (marker(10), (), 0, 11),
        (batch(record(0), base=10, attributes=TRANSACTIONAL), [(-1, 10)], 0, 11),
    ],
    ids=["a transaction", "a marker", "aborted records"],
)
async def test_the_end_of_a_log_is_reached_whatever_its_last_batch_is(
    data: bytes, aborted: Any, records: int, end: int
) -> None:
    """A sink waits for the end of its log, and a lag is counted to it."""
    made = consumer(lambda _: None)
    made._thread = Fetching(data, aborted)
    (message,) = [message async for _, message in BatchConsumer.getmany(made, 1.0)]
    batch_of = message.value
    assert (batch_of.start, batch_of.end, len(batch_of.records)) == (10, end, records)
    assert message.offset == made._read_offset[AT] == end - 1
    assert not made._thread._group._fetcher._records, "the next ones can be fetched"


@pytest.mark.parametrize("name", ["trades", "quotes"])
def test_faust_writes_down_no_offsets(name, tmp_path, monkeypatch):
    """It would keep those that were acknowledged until it commits, which K2 does without it."""
    monkeypatch.setenv("K2_DATA_DIR", str(tmp_path))
    app = importlib.import_module(f"topologies.{name}").app
    agents = list(app.agents.values())
    assert len(agents) >= 2  # of the source, and of each log that has a sink
    for agent in agents:
        assert not agent.channel.acks


def coordinator(*, heartbeat: Any, member_id: str = "k2-0-1", rejoins: bool = False) -> Any:
    future = SimpleNamespace(done=lambda: rejoins)
    return SimpleNamespace(
        _heartbeat_task=heartbeat, member_id=member_id, _rejoin_needed_fut=future
    )


@pytest.mark.parametrize(
    ("lost", "error", "given"),
    [
        (True, None, {}),  # a cancelled heartbeat returns
        (False, None, {"member_id": ""}),  # the group has another member in its place
        (False, None, {"rejoins": True}),
        (False, KafkaError("no permission"), {}),
    ],
)
def test_heartbeats_are_lost_only_if_nobody_ended_them(lost, error, given) -> None:
    thread = Thread(None)
    ended = SimpleNamespace(done=lambda: True, cancelled=lambda: False, exception=lambda: error)
    made = coordinator(heartbeat=ended, **given)
    thread._consumer = SimpleNamespace(_coordinator=made)
    assert thread.is_heartbeat_lost == lost
    made._heartbeat_task = None  # ended before it joins again
    assert not thread.is_heartbeat_lost
