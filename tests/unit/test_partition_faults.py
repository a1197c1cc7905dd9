"""What is read of partitions of which one is broken: the others, and nothing is skipped."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest
from aiokafka.consumer.fetcher import Fetcher, FetchError, FetchResult
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from k2_streams.kafka.partition_faults import (
    RETRY_S_MAX,
    FetchAnswers,
    PartitionFaults,
    drain,
    producer_timed,
)

TPS = [TopicPartition("k2.trades.raw", p) for p in range(4)]
SUBSCRIPTIONS = SimpleNamespace(reassignment_in_progress=False, is_assigned=lambda _: True)


class HandClock:
    now_s = 100.0

    def monotonic(self):
        return self.now_s

    def time_ns(self):
        return 0


def result(tp, records):
    """Fetched records; an exception among them is raised in its place, as a broken batch does."""

    def unpack():
        for record in records:
            if isinstance(record, Exception):
                raise record
            yield record

    found = FetchResult(tp, assignment=None, partition_records=unpack(), backoff=0)
    found.check_assignment = lambda _: True
    found._update_position = lambda: None
    return found


def fetcher(held):
    made = Fetcher.__new__(Fetcher)
    made._subscriptions = SUBSCRIPTIONS
    made._records = OrderedDict(held)
    made._wait_consume_future = None
    return made


@pytest.mark.parametrize(
    "broken",
    [
        lambda tp: result(tp, ["lost?", CorruptRecordException("Invalid CRC")]),
        lambda tp: result(tp, [ValueError("not a known codec")]),
        lambda tp: FetchError(error=OffsetOutOfRangeError({tp: 7}), backoff=0),
    ],
)
@pytest.mark.parametrize("place", range(4))
async def test_the_other_partitions_give_all_their_records_whatever_breaks_one(broken, place):
    held = {tp: result(tp, [f"{tp.partition}-{n}" for n in range(3)]) for tp in TPS}
    held[TPS[place]] = broken(TPS[place])
    found, errors = await drain(fetcher(held), set(TPS), 0.0, None)
    assert set(errors) == {TPS[place]}
    assert found == {
        tp: [f"{tp.partition}-{n}" for n in range(3)] for tp in TPS if tp != TPS[place]
    }


async def test_an_error_of_the_group_is_no_partitions():
    made = fetcher({TPS[0]: result(TPS[0], ["one"])})

    async def wait_for_assignment():
        raise KafkaError("the coordinator could not write what it was sent")

    made._subscriptions = SimpleNamespace(
        reassignment_in_progress=True, wait_for_assignment=wait_for_assignment
    )
    with pytest.raises(KafkaError):
        await drain(made, set(TPS), 0.0, None)


async def test_what_a_rebalance_drops_while_it_is_taken_is_no_fault():
    made = fetcher({tp: result(tp, ["one"]) for tp in TPS})
    revoked = iter([False, False, True, False])

    async def wait_for_assignment():
        made._records.clear()

    class Subscriptions:
        is_assigned = staticmethod(lambda _: True)

        @property
        def reassignment_in_progress(self):
            return next(revoked, False)

    made._subscriptions = Subscriptions()
    made._subscriptions.wait_for_assignment = wait_for_assignment
    assert await drain(made, set(TPS), 0.0, None) == ({TPS[0]: ["one"]}, {})


async def test_no_more_records_are_taken_than_asked_for():
    held = {tp: result(tp, list(range(5))) for tp in TPS}
    found, _ = await drain(fetcher(held), set(TPS), 0.0, 7)
    assert [len(records) for records in found.values()] == [5, 2]


def test_a_broken_partition_is_left_out_and_tried_again_once_per_backoff():
    clock = HandClock()
    faults = PartitionFaults(clock)
    waits = []
    for _ in range(8):
        faults.add("k2.trades.raw", 1, 42, CorruptRecordException("Invalid CRC"))
        readable, again = faults.split(TPS)
        assert readable == {TPS[0], TPS[2], TPS[3]}
        assert again == {}
        (fault,) = faults.now
        waits.append(fault.retry_at_s - clock.now_s)
        clock.now_s = fault.retry_at_s
        readable, again = faults.split(TPS)
        assert readable == set(TPS)
        assert again == {TPS[1]: 42}
        assert faults.split(TPS)[1] == {}, "it is sought once, or a slow fetch never arrives"
    assert waits == sorted(waits)
    assert waits[-1] <= RETRY_S_MAX
    assert fault.attempts == 8
    assert (fault.topic, fault.partition, fault.offset) == ("k2.trades.raw", 1, 42)
    assert faults.clear("k2.trades.raw", 1)
    assert not faults
    assert faults.split(TPS) == (set(TPS), {})


def fetch_at(offset):
    return SimpleNamespace(topics=[("k2.trades.raw", [(3, offset, 1_048_576)])])


@pytest.mark.parametrize(
    ("offset", "stable", "is_end"),
    [
        pytest.param(42, 100, False, id="no room in the answer"),
        pytest.param(90, 90, True, id="in front of an open transaction"),
        pytest.param(100, 100, True, id="the end"),
        pytest.param(90, -1, False, id="of a reader of what is not committed"),
        pytest.param(100, -1, True, id="the end of what is not committed"),
    ],
)
async def test_an_answer_without_records_is_the_end_only_where_there_are_none(
    offset, stable, is_end
):
    """Once an answer has as many bytes as it may, the other partitions come in it without any."""

    async def send(_node, _request, **_):
        answer = [("k2.trades.raw", [(3, 0, 100, stable, [], b"")])]
        return SimpleNamespace(API_KEY=1, topics=answer)

    client = SimpleNamespace(send=send)
    answers = FetchAnswers(client)
    await client.send(0, fetch_at(offset))
    assert answers.take_empty() == ({TPS[3]} if is_end else set())


async def test_a_batch_that_the_broker_cannot_read_names_its_partition():
    """aiokafka logs the error without the partition, and asks again for ever."""
    codes = iter([0, 2, 6])

    async def send(_node, _request, **_):
        answer = [("k2.trades.raw", [(3, next(codes), 100, b"")])]
        return SimpleNamespace(API_KEY=1, topics=answer)

    client = SimpleNamespace(send=send)
    answers = FetchAnswers(client)
    await client.send(0, fetch_at(100))
    assert answers.take() == {}
    await client.send(0, fetch_at(100))
    (tp, error), *more = answers.take().items()
    assert (tp, more) == (TPS[3], [])
    assert "CORRUPT_MESSAGE" in str(error)
    await client.send(0, fetch_at(100))
    assert answers.take() == {}, "a leader that moved is no fault"
    assert answers.take_empty() == {TPS[3]}, "by the first answer"
    assert answers.take_empty() == set()


async def test_a_partition_in_which_nothing_comes_is_read_once_the_broker_answers_for_it():
    """A fault of a moment would else last until the next record, and the worker be not ready."""
    clock = HandClock()
    faults = PartitionFaults(clock)
    faults.add("k2.trades.raw", 3, 42, KafkaError("the broker answers KAFKA_STORAGE_ERROR"))
    faults.answered("k2.trades.raw", 3)
    assert faults.now, "an answer from before: it is not tried again yet"
    clock.now_s = faults.now[0].retry_at_s
    assert faults.split(TPS) == (set(TPS), {TPS[3]: 42})
    faults.answered("k2.trades.raw", 2)
    assert faults.now
    faults.answered("k2.trades.raw", 3)
    assert not faults


@pytest.mark.parametrize(("kind", "first"), [(1, None), (0, 1), (None, 1)])
def test_a_time_that_the_broker_did_not_give_is_noticed(kind, first):
    """Batches of magic 0, of a log from before Kafka 0.10, have no time at all."""
    by_broker = SimpleNamespace(timestamp_type=1)
    assert producer_timed([by_broker, SimpleNamespace(timestamp_type=kind)]) == first
