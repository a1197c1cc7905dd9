"""A producer that is told to stop ends, whatever its broker does, and leaves nothing behind."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from conftest import eventually  # type: ignore[import-not-found]

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.producer import Producer
from k2_streams.kafka.topics import TopicSpec, ensure_topics
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.installed import java_program

pytestmark = pytest.mark.integration

TOPIC = "records"
#: Its last steps are a few answers that do not come, not a request's time-out of 40 s.
ENDS_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[LocalBroker]:
    """A broker of these tests, started or not."""
    broker = LocalBroker(tmp_path_factory.mktemp("own"), kafka_jars, java=java_program())
    yield broker
    broker.stop()


@pytest.fixture
async def own(directory: LocalBroker) -> LocalBroker:
    """A broker that a test may stop and kill: started again, if one before did."""
    await ensure_topics(KafkaConfig(directory.start()), [TopicSpec(TOPIC, 1, {})])
    return directory


def threads_at_work(pid: int) -> list[int]:
    """A signal is there at once, and a thread stops when it next looks: on a busy machine later."""
    found = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if stat.read_text().rpartition(")")[2].split()[0] not in "TZX":
                found.append(int(stat.parent.name))
    return found


async def waits_for_its_batch(producer: Producer) -> None:
    await producer.send(TOPIC, b"unsent", partition=0)


async def waits_for_its_commit(producer: Producer) -> None:
    await producer.send(TOPIC, b"unsent", partition=0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await producer.commit_transaction()


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("begin", [waits_for_its_batch, waits_for_its_commit])
async def test_nothing_is_left_of_a_producer_whose_broker_is_away(
    own: LocalBroker,
    topic_prefix: str,
    fault: signal.Signals,
    begin: Callable[[Producer], Awaitable[None]],
) -> None:
    status = own.status()
    assert status.pid is not None
    before = asyncio.all_tasks()
    producer = KafkaConfig(status.bootstrap).producer(
        transactional_id=topic_prefix, retry_backoff_ms=10
    )
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(TOPIC, b"sent", partition=0)
    os.kill(status.pid, fault)
    try:
        eventually(lambda: not threads_at_work(status.pid), ENDS_WITHIN_S)
        await begin(producer)
        async with asyncio.timeout(ENDS_WITHIN_S):
            await producer.stop()
            while left := asyncio.all_tasks() - before:  # what reads its connections
                await asyncio.wait(left)
        assert not [one for one in producer.client._conns.values() if one.connected()]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(status.pid, signal.SIGCONT)
