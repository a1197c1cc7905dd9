"""The connection of what asks brokers about topics and groups."""

from typing import Self

from aiokafka.errors import KafkaConnectionError

from k2_streams.kafka.client import KafkaConfig

REQUEST_TIMEOUT_MS = 10_000


class AdminConnection:
    """aiokafka's admin client, connected. Use as an async context manager."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._admin = config.admin(request_timeout_ms=REQUEST_TIMEOUT_MS)

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            KafkaConnectionError: no broker answers.
        """
        try:
            await self._admin.start()
            # aiokafka takes a broker for there that let it in, refused its token and closed.
            if not self._admin._client.cluster.brokers():  # noqa: SLF001 - nothing public says it
                raise KafkaConnectionError(f"{self._config.bootstrap} names no broker")  # noqa: TRY301 - closed below
        except BaseException:
            await self._admin.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._admin.close()
