"""The local Kafka: what it promises to clients, through stop, kill and restart."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import aiokafka
import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.broker_errors import BrokerError
from k2_streams.testing.local.installed import java_program

pytestmark = pytest.mark.integration

LOG_APPEND_TIME = 1
TIME_OF_2014_MS = 1_394_400_000_000


async def create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, 2, 1)])
        assert [error[1] for error in answer.topic_errors] == [0]
    finally:
        await admin.close()


async def send(bootstrap: str, topic: str, value: bytes) -> None:
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, partition=0, timestamp_ms=TIME_OF_2014_MS)
    finally:
        await producer.stop()


async def read(bootstrap: str, topic: str, count: int) -> list[aiokafka.ConsumerRecord]:
    """The first `count` committed records of partition 0."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([aiokafka.TopicPartition(topic, 0)])
        return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


async def test_the_brokers_time_counts_not_the_producers(broker, topic_prefix):
    """A record with a producer's time of 2014 carries the broker's."""
    await create(broker, topic_prefix)
    await send(broker, topic_prefix, b"old")
    (record,) = await read(broker, topic_prefix, 1)
    assert record.timestamp_type == LOG_APPEND_TIME
    assert record.timestamp > TIME_OF_2014_MS + 86_400_000


async def test_committed_reader_sees_a_transaction_whole_or_not_at_all(broker, topic_prefix):
    """An aborted transaction is never read, the next committed one is."""
    await create(broker, topic_prefix)
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=broker, transactional_id=topic_prefix, retry_backoff_ms=10
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic_prefix, b"aborted", partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic_prefix, b"committed", partition=0)
    finally:
        await producer.stop()
    (record,) = await read(broker, topic_prefix, 1)
    assert (record.value, record.offset) == (b"committed", 2)  # a record and a marker before it


async def test_a_mistyped_topic_is_not_created(broker, topic_prefix):
    """Asking for an unknown topic's metadata does not make it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        (found,) = await admin.describe_topics([topic_prefix])
        assert found["error_code"] == UnknownTopicOrPartitionError.errno
        assert topic_prefix not in await admin.list_topics()
    finally:
        await admin.close()


async def test_data_survive_a_stop_and_a_kill(tmp_path, kafka_jars, topic_prefix):
    """One directory through its life: start twice, stop, start, kill -9, start, stop twice."""
    local = LocalBroker(tmp_path / "kafka", kafka_jars, java=java_program())
    try:
        bootstrap = local.start()
        first = local.status()
        assert (first.bootstrap, first.ready) == (bootstrap, True)
        assert local.start() == bootstrap
        assert local.status().pid == first.pid, "a second start starts nothing"
        other_port = LocalBroker(tmp_path / "kafka", kafka_jars, port=1)
        with pytest.raises(BrokerError, match="already runs"):
            other_port.start()

        await create(bootstrap, topic_prefix)
        await send(bootstrap, topic_prefix, b"one")
        assert local.stop()
        assert not psutil.pid_exists(first.pid)
        assert not local.status().running
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(address(bootstrap), 1)

        bootstrap = local.start()
        await send(bootstrap, topic_prefix, b"two")
        victim = psutil.Process(local.status().pid)
        victim.kill()
        psutil.wait_procs([victim], timeout=10)  # a dying process still counts as running
        bootstrap = local.start()
        values = [record.value for record in await read(bootstrap, topic_prefix, 2)]
        assert values == [b"one", b"two"]
    finally:
        assert local.stop()
    assert not local.stop()
    assert "Kafka Server started" in local.log_file.read_text(), "its log is kept"


def test_command_line(tmp_path, kafka_jars):
    """`k2 broker`: start prints the address alone, and the broker outlives the command."""
    environment = {**os.environ, "K2_DATA_DIR": str(tmp_path), "K2_KAFKA_JARS": str(kafka_jars)}

    def k2(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "k2_streams.cli.main", "broker", *arguments],
            cwd=Path(__file__).parents[2],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout.strip() + done.stderr.strip()

    assert k2("status") == (3, f"not running in {tmp_path}/broker")
    try:
        code, bootstrap = k2("start", "--port", "0")
        assert code == 0
        socket.create_connection(address(bootstrap), 1).close()
        code, text = k2("status")
        assert code == 0
        assert text.startswith(f"ready at {bootstrap}, process ")
    finally:
        assert k2("stop") == (0, "stopped")
    assert k2("stop") == (0, f"no broker was running in {tmp_path}/broker")


def address(bootstrap: str) -> tuple[str, int]:
    host, _, port = bootstrap.partition(":")
    return host, int(port)
