"""What a person may do to topics, and every worker must notice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import TopicPartition

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.topics import ensure_topics, stream_topics


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def recreate(bootstrap: str, topic: str, partitions: int) -> None:
    """Delete a topic of the trades, and create it as K2 does: with another id."""
    async with _admin(bootstrap) as admin:
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.1)
    specs = stream_topics(TRADES_INPUT, TRADES_INPUT.app_id, partitions)
    await ensure_topics(KafkaConfig(bootstrap=bootstrap), specs)


async def truncate(bootstrap: str, topic: str, partitions: int, *, compacted: bool = False) -> None:
    """Delete all records of a topic; its offsets go on."""
    async with _admin(bootstrap) as admin:
        if compacted:  # no broker deletes records of a topic that is only compacted
            await _clean_by(admin, topic, "delete")
        everything = RecordsToDelete(before_offset=-1)
        every = [TopicPartition(topic, partition) for partition in range(partitions)]
        await admin.delete_records(dict.fromkeys(every, everything))
        if compacted:
            await _clean_by(admin, topic, "compact")


async def _clean_by(admin: AIOKafkaAdminClient, topic: str, policy: str) -> None:
    configs = {"cleanup.policy": policy}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
