"""Transactions that their coordinator has ended and not marked: found, and ended in the same way.

A coordinator that ends a transaction writes a marker to each of its partitions. Kafka 4.3.1 leaves
out a partition of which it knows no leader ("likely deleted already and hence can be skipped"), and
while a broker starts that is every partition whose leader has not been elected yet. The transaction
is then over, and its records there are neither committed nor aborted: no committed reader passes
them, until the same producer's next marker, which makes them what *that* transaction is. Rows whose
state was committed would be aborted by it, rows that were aborted committed.

So before a task uses its producer, a hanging transaction in its partitions is ended as the
coordinator had ended it. A producer's start makes the coordinator forget: it is asked before.
"""

from collections.abc import Sequence

import structlog

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.transaction_states import COMMITTED, EMPTY
from k2_streams.kafka.transactions import FencedError, TransactionalProducer

log = structlog.get_logger(__name__)

#: No broker starts in less: a transaction that took so long may hang.
SLOW_TRANSACTION_S = 1.5


class UnsettledError(Exception):
    """Records hang in a partition, and nobody knows how their transaction ended. Fails closed."""


class Settling:
    """Starts the producers of a worker, and remembers what their coordinators answered before."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._committed: dict[str, bool] = {}  # by transactional id, until it is settled

    async def start(
        self,
        producer: TransactionalProducer,
        partitions: Sequence[TopicPartition],
        reader: LogReader,
    ) -> dict[TopicPartition, int]:
        """Start a producer; afterwards a committed reader can read its partitions to their ends.

        Args:
            producer: not started.
            partitions: all that it writes to, and nobody else does.
            reader: asks for their offsets.

        Returns:
            The end offset of each partition: nothing of it is open or hanging.

        Raises:
            UnsettledError: it cannot.
            FencedError: someone else has started a producer with this id.
            KafkaError: brokers are away; what was learnt is kept for the next try.
        """
        state = (await self._config.last_transaction(producer.id)).state
        if state != EMPTY:
            self._committed[producer.id] = state in COMMITTED
        await producer.start()
        found = await reader.stable_offsets(partitions)
        if found.open:
            try:
                await self._end(producer, sorted(found.open), reader)
            except FencedError:  # the answer is of a time before its successor's
                self._committed.pop(producer.id, None)
                raise
            found = await reader.stable_offsets(partitions)
        self._committed.pop(producer.id, None)
        return found.stable

    async def check(
        self, producer: TransactionalProducer, partitions: Sequence[TopicPartition]
    ) -> None:
        """After a transaction that was committed, and took long: does it hang anywhere?

        Its brokers may have been started meanwhile. The next one, aborted, would abort this, too.
        Markers that are only late are waited for.

        Raises:
            FencedError, KafkaError: as `TransactionalProducer.mark`.
        """
        async with LogReader(self._config) as reader:
            hanging = sorted((await reader.settled_offsets(partitions)).open)
        if hanging:
            await _mark(producer, hanging, committed=True)

    async def _end(
        self,
        producer: TransactionalProducer,
        hanging: Sequence[TopicPartition],
        reader: LogReader,
    ) -> None:
        # What was seen to hang may be a successor's open transaction.
        last = await self._config.last_transaction(producer.id)
        if (last.producer_id, last.producer_epoch) != producer.session:
            raise FencedError(f"{producer.id}: someone else has started a producer with this id")
        committed = self._committed.get(producer.id)
        if committed is None:
            raise UnsettledError(
                f"{_names(hanging)}: records of a transaction of {producer.id} hang there, and its "
                "coordinator does not say how it ended; `kafka-transactions.sh` shows and ends it"
            )
        await _mark(producer, hanging, committed=committed)
        left = sorted((await reader.settled_offsets(hanging)).open)
        if left:
            raise UnsettledError(
                f"{_names(left)}: a transaction is open there that {producer.id} cannot "
                "end: it is another producer's; `kafka-transactions.sh` shows and ends it"
            )


async def _mark(
    producer: TransactionalProducer, hanging: Sequence[TopicPartition], *, committed: bool
) -> None:
    log.warning(
        "transaction without markers",
        of=producer.id,
        partitions=_names(hanging),
        committed=committed,
    )
    await producer.mark(hanging, committed=committed)


def _names(partitions: Sequence[TopicPartition]) -> str:
    return ", ".join(map(str, partitions))
