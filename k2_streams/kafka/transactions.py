"""The producer of a task: one transactional id a source partition, one transaction a checkpoint."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced
from aiokafka.structs import TopicPartition as ClientPartition

from k2_streams.core.types import TopicPartition
from k2_streams.failpoints import failpoint_in_loop
from k2_streams.kafka.client import KafkaConfig

#: Committed readers wait for an open transaction, so a dead task's must end soon.
TRANSACTION_TIMEOUT_MS = 15_000
#: With the default of 100 ms a checkpoint's p99 is four times as long: Kafka 4 answers
#: NOT_ENOUGH_REPLICAS while it still completes the transaction before.
RETRY_BACKOFF_MS = 10
MAX_REQUEST_BYTES = 16 * 1024 * 1024
#: Changelog rows go as whole record batches of this size; a topic's limit is 1 MiB.
BATCH_BYTES = 512 * 1024


#: What a request raises whose outcome is unknown, or that was refused.
REQUEST_FAILED = (KafkaError,)

Header = tuple[str, bytes | None]

#: Key and value of each record for a changelog; a value of None deletes the row.
ChangelogRows = Sequence[tuple[bytes, bytes | None]]


class FencedError(Exception):
    """Another producer with this transactional id has started: someone else owns the partition."""


class OutputRecord(NamedTuple):
    """A record to send."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class CommittedOffsets(NamedTuple):
    """Where a committed transaction's records are, as the broker acknowledged them.

    Attributes:
        offsets: per topic of all outputs, of each record in its order; the broker may not say
            where records are that it was sent twice: then they begin with a negative one.
        changelog_ends: of each changelog the offset after its last row.
    """

    offsets: dict[str, list[int]]
    changelog_ends: list[int]


_Row = tuple[bytes | None, bytes | None, list[Header]]


class _Sent(NamedTuple):
    """A batch on its way to the broker."""

    acknowledged: asyncio.Future[Any]
    rows: int

    def offsets(self) -> range:
        """Of its rows, once it is acknowledged."""
        first = int(self.acknowledged.result().offset)
        return range(first, first + self.rows)

    def end(self) -> int:
        """Behind its last row."""
        return self.offsets().stop


def _by_topic(outputs: Iterable[OutputRecord]) -> dict[str, list[_Row]]:
    by_topic: dict[str, list[_Row]] = {}
    for one in outputs:
        by_topic.setdefault(one.topic, []).append((one.key, one.value, list(one.headers)))
    return by_topic


async def _acknowledged(sent: Iterable[_Sent]) -> None:
    await asyncio.gather(*(one.acknowledged for one in sent))
    await failpoint_in_loop("checkpoint.acknowledged")


class TransactionalProducer:
    """Sends records, and the source's position, as one transaction.

    Starting it fences every other producer with the same id, and aborts what it left open.
    """

    def __init__(self, config: KafkaConfig, transactional_id: str, partition: int) -> None:
        self.id = transactional_id
        self._partition = partition
        self._producer = config.producer(
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            retry_backoff_ms=RETRY_BACKOFF_MS,
            max_request_size=MAX_REQUEST_BYTES,
            max_batch_size=BATCH_BYTES,
            acks="all",
        )

    @property
    def session(self) -> tuple[int, int]:
        """Its id and epoch at the brokers, once it is started."""
        manager = self._producer._txn_manager  # noqa: SLF001 - nothing public says it
        return manager.producer_id, manager.producer_epoch

    async def start(self) -> None:
        """Fence the predecessor."""
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect. A transaction still open is aborted by the successor, or by time."""
        await self._producer.stop()

    async def mark(self, partitions: Sequence[TopicPartition], *, committed: bool) -> None:
        """A transaction of no records: its markers also end hanging transactions there.

        Raises:
            FencedError: someone else has started a producer with this id.
            KafkaError: the outcome is unknown.
        """
        try:
            await self._producer.begin_transaction()
            manager = self._producer._txn_manager  # noqa: SLF001 - its only way is a record
            for tp in partitions:
                manager.maybe_add_partition_to_txn(ClientPartition(*tp))
            if committed:
                await self._producer.commit_transaction()
            else:
                await self._producer.abort_transaction()
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise FencedError(str(error)) from error

    async def commit(
        self,
        outputs: Sequence[OutputRecord],
        changelogs: Sequence[tuple[str, ChangelogRows]],
        group_id: str,
        offsets: Mapping[TopicPartition, int],
        many: Sequence[OutputRecord] = (),
    ) -> CommittedOffsets:
        """One transaction: outputs, each changelog's rows in their order, the source's offsets.

        All records go to this task's partition. It returns only if the commit was acknowledged.
        `many` are outputs of which there may be as many as raw records, sent in whole batches:
        ten times as quick. The order within a topic is kept.

        Raises:
            FencedError: someone else owns the partition; nothing of this will ever be seen.
            KafkaError: the outcome is unknown; the caller takes the partition over again.
        """
        try:
            await self._producer.begin_transaction()
            await failpoint_in_loop("checkpoint.begun")
            sent = [
                await self._producer.send(
                    output.topic,
                    value=output.value,
                    key=output.key,
                    partition=self._partition,
                    headers=list(output.headers),
                )
                for output in outputs
            ]
            placed = [
                (one.topic, _Sent(future, 1)) for one, future in zip(outputs, sent, strict=True)
            ]
            for topic, bulk in _by_topic(many).items():
                placed += [(topic, batch) for batch in await self._send_rows(topic, bulk)]
            tables = [
                await self._send_rows(topic, [(key, value, []) for key, value in rows])
                for topic, rows in changelogs
            ]
            await failpoint_in_loop("checkpoint.sent")
            # Neither answer needs the other one: both are waited for at once.
            await asyncio.gather(
                _acknowledged([*(one for _, one in placed), *chain(*tables)]),
                self._send_offsets(offsets, group_id),
            )
            await self._producer.commit_transaction()
            places: dict[str, list[int]] = {}
            for topic, batch in placed:
                places.setdefault(topic, []).extend(batch.offsets())
            return CommittedOffsets(places, [batches[-1].end() for batches in tables])
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise FencedError(str(error)) from error

    async def send(self, outputs: Sequence[OutputRecord]) -> None:
        """One transaction of these records alone, all to this producer's partition.

        The order within a topic is kept. It returns only if the commit was acknowledged.

        Raises:
            FencedError: someone else has started a producer with this id; nothing of this will ever
                be seen.
            KafkaError: the outcome is unknown. Who starts a producer with this id knows it: what is
                not committed then never will be.
        """
        try:
            await self._producer.begin_transaction()
            sent = [
                await self._send_rows(topic, rows) for topic, rows in _by_topic(outputs).items()
            ]
            await _acknowledged(chain(*sent))
            await failpoint_in_loop("transfer.sent")
            await self._producer.commit_transaction()
            await failpoint_in_loop("transfer.committed")
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise FencedError(str(error)) from error

    async def _send_offsets(self, offsets: Mapping[TopicPartition, int], group_id: str) -> None:
        await self._producer.send_offsets_to_transaction(
            {ClientPartition(*tp): offset for tp, offset in offsets.items()}, group_id
        )
        await failpoint_in_loop("checkpoint.offsets-sent")

    async def _send_rows(self, topic: str, rows: Sequence[_Row]) -> list[_Sent]:
        """Send rows as whole batches."""
        sent = []
        batch, count = self._producer.create_batch(), 0
        for key, value, headers in rows:
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                sent.append(_Sent(await self._send_batch(batch, topic), count))
                batch, count = self._producer.create_batch(), 0
                if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                    raise ValueError(f"{topic}: a row of {len(value or b'')} bytes is too large")
            count += 1
        sent.append(_Sent(await self._send_batch(batch, topic), count))
        return sent

    async def _send_batch(self, batch: Any, topic: str) -> asyncio.Future[Any]:
        sent: asyncio.Future[Any] = await self._producer.send_batch(
            batch, topic, partition=self._partition
        )
        return sent
