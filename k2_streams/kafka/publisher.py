"""Publishes now and then a record that is part of no transaction: what a worker says of itself."""

import asyncio

from aiokafka.errors import KafkaError

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.producer import Producer

#: A broker that is away is no reason to wait: whoever publishes tries again.
PUBLISHED_WITHIN_S = 5.0


class NotPublishedError(Exception):
    """The broker did not say that it has the record."""


class Publisher:
    """Connects with the first record. For one event loop, one call at a time."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._producer: Producer | None = None

    async def publish(self, topic: str, key: bytes, value: bytes) -> None:
        """Send a record and wait for the broker's word.

        Raises:
            NotPublishedError: none came; the record may be there all the same.
        """
        try:
            async with asyncio.timeout(PUBLISHED_WITHIN_S):
                if self._producer is None:
                    producer = self._config.producer(acks="all")
                    try:
                        await producer.start()
                    except BaseException:
                        await producer.stop()
                        raise
                    self._producer = producer
                await self._producer.send_and_wait(topic, value, key)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()  # a producer whose tasks have ended never sends again
            raise NotPublishedError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()
