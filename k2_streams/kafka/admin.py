"""The connection of what asks brokers about topics and groups."""

from typing import Self

from aiokafka.admin import AIOKafkaAdminClient

from k2_streams.kafka.client import KafkaConfig

REQUEST_TIMEOUT_MS = 10_000


class AdminConnection:
    """aiokafka's admin client, connected. Use as an async context manager."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._admin = AIOKafkaAdminClient(**config.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            KafkaConnectionError: no broker answers.
        """
        try:
            await self._admin.start()
        except BaseException:
            await self._admin.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._admin.close()
