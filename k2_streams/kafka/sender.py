"""Sends records at full speed and knows of each whether it arrived.

Records are packed into batches a partition here, not one by one in the client, and the producer is
idempotent: what it sends again, because an answer was lost, the broker keeps once.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.partitioner import murmur2

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.topics import TopicAdmin, TopicSpec

#: A batch: half of a topic's default limit, and room for the largest raw record twice over.
BATCH_BYTES = 512 * 1024
#: Batches of one partition handed to the client and not acknowledged: one on its way, one behind.
MAX_WAITING = 2
#: A batch that is not acknowledged by then is an error: the broker is gone, or refuses it.
ACKNOWLEDGED_WITHIN_S = 60.0
#: Also how long a batch waits for a broker that is away; it is sent again until then.
REQUEST_TIMEOUT_MS = 40_000
RETRY_BACKOFF_MS = 50

#: What any client raises when no broker answers.
UNREACHABLE = (KafkaConnectionError, OSError)

#: Key, value and headers, as aiokafka takes them: the headers in a list.
Headers = list[tuple[str, bytes]] | list[tuple[str, bytes | None]]
Record = tuple[bytes | None, bytes | None, Headers]


class NotAcknowledgedError(Exception):
    """Records were handed over and the broker did not say that it has them; some may be there."""

    def __init__(self, topic: str, partition: int, records: int, cause: str) -> None:
        super().__init__(
            f"{topic}-{partition}: {records} records were sent and not acknowledged: {cause}"
        )
        self.topic = topic
        self.partition = partition
        self.records = records


@dataclass(slots=True)
class Sent:
    """Of one partition: the first offset, the next after the last, and the records between."""

    first: int
    next: int
    count: int


async def prepare_topic(config: KafkaConfig, spec: TopicSpec, replication: int = 1) -> int:
    """Create the topic if it is missing, check it if it is not; the number of its partitions.

    A topic that is there keeps its number of partitions, whatever `spec` says.

    Raises:
        KafkaConnectionError: no broker answers.
        TopicConfigurationError: the topic is not what K2 can work with.
    """
    async with TopicAdmin(config, replication) as admin:
        there = (await admin.describe([spec.name])).get(spec.name)
        partitions = there.partitions if there else spec.partitions
        await admin.ensure([TopicSpec(spec.name, partitions, spec.config)])
        return partitions


async def partitions_of(config: KafkaConfig, topic: str) -> int:
    """How many a topic has that exists.

    Raises:
        KafkaConnectionError: no broker answers.
        KeyError: it does not exist.
    """
    async with TopicAdmin(config) as admin:
        return (await admin.describe([topic]))[topic].partitions


class Sender:
    """Sends to one topic. Use as an async context manager; not for several tasks at once."""

    def __init__(
        self, config: KafkaConfig, topic: str, partitions: int, compression: str | None = None
    ) -> None:
        self.topic = topic
        self.partitions = partitions
        self.acknowledged = 0  # records
        self.sent: dict[int, Sent] = {}  # by partition, of what is acknowledged
        self._producer = config.patient_producer(
            acks="all",
            enable_idempotence=True,
            compression_type=compression,
            max_batch_size=BATCH_BYTES,
            max_request_size=2 * BATCH_BYTES * partitions,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )
        self._waiting: dict[int, deque[tuple[int, asyncio.Future[object]]]] = {
            partition: deque() for partition in range(partitions)
        }

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            KafkaConnectionError: no broker answers.
        """
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect; after an error without waiting for what is still on its way."""
        for waiting in self._waiting.values():
            for _, future in waiting:
                future.cancel()
        stop = asyncio.ensure_future(self._producer.stop())
        # A producer waits for its last batches; with the broker gone that would be for ever.
        await asyncio.wait([stop], timeout=5.0 if error else ACKNOWLEDGED_WITHIN_S)
        stop.cancel()

    def partition_of(self, key: bytes) -> int:
        """Where a key belongs: Kafka's own rule."""
        return int(murmur2(key) & 0x7FFFFFFF) % self.partitions

    async def send(self, partition: int, records: Sequence[Record], timestamp_ms: int) -> None:
        """Hand records over in their order. Waits while too many are not acknowledged.

        Raises:
            NotAcknowledgedError: of these or of earlier records.
        """
        batch = self._producer.create_batch()
        append = batch.append
        for key, value, headers in records:
            if append(timestamp=timestamp_ms, key=key, value=value, headers=headers) is None:
                await self._hand_over(partition, batch)
                batch = self._producer.create_batch()
                append = batch.append
                # The first of a batch is taken whatever its size; the broker says what is too much.
                append(timestamp=timestamp_ms, key=key, value=value, headers=headers)
        if batch.record_count():
            await self._hand_over(partition, batch)

    async def finish(self) -> dict[int, Sent]:
        """Wait until everything is acknowledged; where it lies.

        Raises:
            NotAcknowledgedError: something is not.
        """
        for partition in self._waiting:
            await self._settle(partition, 0)
        return self.sent

    async def _hand_over(self, partition: int, batch: Any) -> None:
        await self._settle(partition, MAX_WAITING - 1)
        records = batch.record_count()
        batch.close()
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                future = await self._producer.send_batch(batch, self.topic, partition=partition)
        except (KafkaError, TimeoutError) as error:
            raise self._failed(partition, records, error) from error
        self._waiting[partition].append((records, future))

    async def _settle(self, partition: int, may_wait: int) -> None:
        """Take acknowledgements until at most so many batches of the partition wait for theirs."""
        waiting = self._waiting[partition]
        while waiting and (len(waiting) > may_wait or waiting[0][1].done()):
            records, future = waiting[0]
            try:
                async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                    answer = await future
            except (KafkaError, TimeoutError) as error:
                raise self._failed(partition, 0, error) from error
            waiting.popleft()
            self._acknowledge(partition, records, answer.offset)  # type: ignore[attr-defined] # aiokafka has no types

    def _acknowledge(self, partition: int, records: int, offset: int) -> None:
        """Count a batch. Its offset is -1 where the broker only knows that it has it already."""
        self.acknowledged += records
        sent = self.sent.get(partition)
        if offset < 0:
            if sent is None:
                raise NotAcknowledgedError(
                    self.topic, partition, records, "the broker has them and does not say where"
                )
            offset = sent.next
        if sent is None:
            self.sent[partition] = Sent(offset, offset + records, records)
        else:
            sent.next = offset + records
            sent.count += records

    def _failed(self, partition: int, records: int, error: Exception) -> NotAcknowledgedError:
        open_records = records + sum(count for count, _ in self._waiting[partition])
        text = str(error) or type(error).__name__
        return NotAcknowledgedError(self.topic, partition, open_records, text)
