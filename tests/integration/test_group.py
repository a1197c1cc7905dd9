"""A consumer whose group had an error that its client does not mend by itself."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance
from aiokafka.errors import KafkaError, UnknownError

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.topics import TopicSpec, ensure_topics
from k2_streams.runtime.faust_driver.transport import hear_group_error

pytestmark = pytest.mark.integration

JOINED_WITHIN_S = 30.0


async def test_a_group_that_failed_is_joined_again_without_a_poll(
    broker: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a coordinator starts and cannot write what its members are given."""
    await ensure_topics(KafkaConfig(broker), [TopicSpec(topic_prefix, 1, {})])
    failed: list[str] = []
    for join in ("_on_join_follower", "_on_join_leader"):
        original = getattr(CoordinatorGroupRebalance, join)

        async def failing(self: Any, *arguments: Any, original: Any = original) -> Any:
            if not failed:
                failed.append("SyncGroup")
                raise KafkaError(repr(UnknownError()))
            return await original(self, *arguments)

        monkeypatch.setattr(CoordinatorGroupRebalance, join, failing)
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, group_id=topic_prefix)
    consumer.subscribe([topic_prefix])
    starting = asyncio.create_task(consumer.start())
    try:
        async with asyncio.timeout(JOINED_WITHIN_S):
            while not consumer.assignment():
                await asyncio.sleep(0.1)
                if failed and consumer._coordinator is not None:
                    hear_group_error(consumer._coordinator)
    finally:
        await asyncio.gather(starting, return_exceptions=True)  # it was told of the error, too
        await consumer.stop()
    assert failed
