"""The producer of a task: one transactional id per source partition, a transaction per checkpoint.

A replay into a topic has one, too.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
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


#: The client does not announce that a coordinator has taken a transaction's partitions.
ADDED_POLL_S = 0.001
#: So often in a row the markers of a transaction are written again for brokers that were restarted;
#: they would have to be restarted as often within one checkpoint.
MARKED_AGAIN_MAX = 5

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


#: Key, value and headers of a record, whose place is known.
RecordToSend = tuple[bytes | None, bytes | None, list[Header]]


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


async def _acknowledged(sent: Iterable[_Sent]) -> None:
    await asyncio.gather(*(one.acknowledged for one in sent))
    await failpoint_in_loop("checkpoint.acknowledged")


class TransactionalProducer:
    """Sends records, and the source's position, as one transaction.

    Starting it fences every other producer with the same id, and aborts what it left open.

    Args:
        config: of the cluster.
        transactional_id: one process at a time uses it.
        partition: of every topic, where none is named.
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
        #: Of the last transaction that was committed: its places, and the connections it used.
        self._last_places: frozenset[ClientPartition] = frozenset()
        self._last_connections: tuple[Any, ...] = ()
        #: Connections that were closed when this transaction began: the client keeps them until it
        #: needs their broker again.
        self._closed: tuple[Any, ...] = ()

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
            await self._add(ClientPartition(*tp) for tp in partitions)
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
        topics = {
            *(output.topic for output in chain(outputs, many)),
            *(topic for topic, _ in changelogs),
        }
        places = [self._place(topic) for topic in sorted(topics)]
        try:
            await self._begin(places)
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
            for place, bulk in self._by_place(many).items():
                placed += [(place.topic, batch) for batch in await self._send_rows(place, bulk)]
            tables = [
                await self._send_rows(self._place(topic), [(key, value, []) for key, value in rows])
                for topic, rows in changelogs
            ]
            await failpoint_in_loop("checkpoint.sent")
            # Neither answer needs the other one: both are waited for at once.
            await asyncio.gather(
                _acknowledged([*(one for _, one in placed), *chain(*tables)]),
                self._send_offsets(offsets, group_id),
            )
            await self._commit(places)
            found: dict[str, list[int]] = {}
            for topic, batch in placed:
                found.setdefault(topic, []).extend(batch.offsets())
            return CommittedOffsets(found, [batches[-1].end() for batches in tables])
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise FencedError(str(error)) from error

    async def send(self, outputs: Sequence[OutputRecord]) -> None:
        """One transaction of these records alone, all to this producer's partition.

        The order within a topic is kept.

        Raises:
            FencedError, KafkaError: as `send_to`.
        """
        await self.send_to(self._by_place(outputs))

    async def send_to(self, rows: Mapping[ClientPartition, Sequence[RecordToSend]]) -> None:
        """One transaction of these records alone; without any there is none.

        The order within a partition is kept. It returns only if the commit was acknowledged.

        Raises:
            FencedError: someone else has started a producer with this id; nothing of this will ever
                be seen.
            KafkaError: the outcome is unknown. Who starts a producer with this id knows it: what is
                not committed then never will be.
        """
        if not rows:
            return
        try:
            await self._begin(rows)
            sent = [await self._send_rows(place, found) for place, found in rows.items()]
            await _acknowledged(chain(*sent))
            await failpoint_in_loop("transfer.sent")
            await self._commit(rows)
            await failpoint_in_loop("transfer.committed")
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise FencedError(str(error)) from error

    async def _begin(self, places: Collection[ClientPartition]) -> None:
        """Begin a transaction in these places, behind the markers of the one before.

            1 add    the coordinator takes its partitions once the transaction before is over: the
                     markers of that one are written, or left out for good
            2 look   a broker that was started since has closed its connection
            3 mark   if one has, this transaction is committed without a record: its markers stand
                     where those that were left out would

        A coordinator that starts leaves markers out (ADR 0006), and it has acknowledged the commit
        before it was stopped. Without 3 an abort would take the transaction before with it, and a
        record would have the offset that readers take for a marker (ADR 0009). 2 before 1 does not
        see a broker that is stopped between the two.

        Raises:
            KafkaError: brokers are restarted again and again.
        """
        for _ in range(MARKED_AGAIN_MAX):
            await self._producer.begin_transaction()
            await self._add(places)
            self._closed = tuple(one for one in self._connections if not one.connected())
            if all(one.connected() for one in self._last_connections):
                return
            await self._add(self._last_places)
            await self._commit(self._last_places)
        raise KafkaError(f"{self.id}: brokers were restarted {MARKED_AGAIN_MAX} times in a row")

    async def _commit(self, places: Collection[ClientPartition]) -> None:
        """Commit a transaction in these places."""
        # Those of before the request: a broker may be restarted before it answers.
        used = tuple(one for one in self._connections if one not in self._closed)
        self._last_places, self._last_connections = frozenset(places), used
        await self._producer.commit_transaction()

    @property
    def _connections(self) -> tuple[Any, ...]:
        """To brokers, open or not."""
        return tuple(self._producer.client._conns.values())  # noqa: SLF001 - nothing public

    async def _add(self, places: Iterable[ClientPartition]) -> None:
        """Make partitions part of the transaction; the coordinator has taken them afterwards."""
        manager = self._producer._txn_manager  # noqa: SLF001 - its only way is a record
        for place in places:
            manager.maybe_add_partition_to_txn(place)
        while manager.partitions_to_add():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(ADDED_POLL_S)
        if not manager.is_in_transaction():  # refused: this raises why
            await manager.wait_for_transaction_end()

    def _by_place(
        self, outputs: Iterable[OutputRecord]
    ) -> dict[ClientPartition, list[RecordToSend]]:
        by_topic: dict[str, list[RecordToSend]] = {}
        for one in outputs:
            by_topic.setdefault(one.topic, []).append((one.key, one.value, list(one.headers)))
        return {self._place(topic): rows for topic, rows in by_topic.items()}

    def _place(self, topic: str) -> ClientPartition:
        return ClientPartition(topic, self._partition)

    async def _send_offsets(self, offsets: Mapping[TopicPartition, int], group_id: str) -> None:
        await self._producer.send_offsets_to_transaction(
            {ClientPartition(*tp): offset for tp, offset in offsets.items()}, group_id
        )
        await failpoint_in_loop("checkpoint.offsets-sent")

    async def _send_rows(self, place: ClientPartition, rows: Sequence[RecordToSend]) -> list[_Sent]:
        """Send rows as whole batches."""
        sent = []
        batch, count = self._producer.create_batch(), 0
        for key, value, headers in rows:
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                sent.append(_Sent(await self._send_batch(batch, place), count))
                batch, count = self._producer.create_batch(), 0
                if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                    raise ValueError(
                        f"{place.topic}: a row of {len(value or b'')} bytes is too large"
                    )
            count += 1
        sent.append(_Sent(await self._send_batch(batch, place), count))
        return sent

    async def _send_batch(self, batch: Any, place: ClientPartition) -> asyncio.Future[Any]:
        sent: asyncio.Future[Any] = await self._producer.send_batch(
            batch, place.topic, partition=place.partition
        )
        return sent
