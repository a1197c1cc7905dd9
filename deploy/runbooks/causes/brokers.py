"""A broker that is gone, a topic that is altered, and strangers with transactions."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.runbooks.causes.feeds import load
from deploy.runbooks.scene import Scene
from k2_streams.core.records.stream import TRADES
from k2_streams.kafka.topics import RAW

_PARTITION = 0


@contextmanager
def broker_away(scene: Scene) -> Iterator[None]:
    """Kill -9 of the only one."""
    scene.stage.brokers.kill()
    yield
    scene.stage.brokers.start()


@contextmanager
def topic_altered(scene: Scene) -> Iterator[None]:
    """Someone sets the raw topic's timestamps to those of the producers."""

    async def alter() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=scene.stage.bootstrap)
        await admin.start()
        try:
            changed = {"message.timestamp.type": "CreateTime"}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, RAW, changed)])
        finally:
            await admin.close()

    asyncio.run(alter())
    yield


@contextmanager
def transaction_open(scene: Scene) -> Iterator[None]:
    """A stranger writes into the log of trades, and does not end its transaction."""

    async def begin() -> AIOKafkaProducer:
        stranger = _transactional(scene, "stranger")
        await stranger.start()
        await stranger.begin_transaction()
        await stranger.send_and_wait(TRADES.log, b"never committed", partition=_PARTITION)
        return stranger

    async def end(stranger: AIOKafkaProducer) -> None:
        await stranger.abort_transaction()
        await stranger.stop()

    with asyncio.Runner() as runner:
        stranger = runner.run(begin())
        try:
            load(scene)
            yield
        finally:
            runner.run(end(stranger))


@contextmanager
def second_deployment(scene: Scene) -> Iterator[None]:
    """Another deployment of the same `K2_APP_ID` takes all transactional ids over.

    The worker that is fenced ends after a minute, and is started again.
    """
    settings = scene.settings()

    async def fence() -> None:
        for partition in range(settings.partitions):
            other = _transactional(scene, f"{settings.app_id}-{RAW}-{partition}")
            await other.start()
            await other.stop()

    asyncio.run(fence())
    load(scene)
    yield
    scene.worker.kill()
    scene.stage.start(0).wait_ready()


def _transactional(scene: Scene, transactional_id: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=scene.stage.bootstrap, transactional_id=transactional_id
    )
