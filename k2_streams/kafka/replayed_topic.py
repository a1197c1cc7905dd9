"""A topic that a replay writes to: each row once, however often the replay is begun again.

A transaction holds rows and, in a header of its last record, how far the replay has come. Whoever
begins again starts the producer first, which fences the one before and aborts what that left open,
and then looks for the newest such header: rows and position are in one transaction, so neither is
there without the other.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from aiokafka.structs import TopicPartition as ClientPartition

from k2_streams.core.records.partitioner import partition_of
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.hanging_transactions import UnsettledError
from k2_streams.kafka.log_reader import LogReader, Record
from k2_streams.kafka.transactions import RecordToSend, TransactionalProducer

HEADER = "k2.replay"
#: How far back the newest header is looked for at first; then eight times as far, to the beginning.
LOOK_BACK_OFFSETS = 10_000


class ReplayPlace(NamedTuple):
    """How far a replay has come.

    Attributes:
        number: of transactions so far.
        token: with which the stream goes on; None: nothing is written yet.
    """

    number: int = 0
    token: str | None = None


class ReplayedTopic:
    """Use as an async context manager; one process at a time writes under a name.

    Args:
        config: of the cluster.
        topic: exists.
        partitions: of the topic.
        name: of the replay: two replays into one topic have two names.
    """

    def __init__(self, config: KafkaConfig, topic: str, partitions: int, name: str) -> None:
        self.place = ReplayPlace()
        self._config = config
        self._topic = topic
        self._partitions = partitions
        self._name = name
        self._producer = TransactionalProducer(config, f"k2-replay-{topic}-{name}", 0)

    async def __aenter__(self) -> Self:
        """Fence who wrote before, and find how far that came.

        Raises:
            UnsettledError: a transaction is open in the topic, another writer's, or this replay's
                own that a restarted broker did not mark: what lies behind it cannot be read.
        """
        try:
            await self._producer.start()
            async with LogReader(self._config) as reader:
                self.place = await self._newest(reader)
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect; a transaction that is open is aborted by whoever comes next, or by time."""
        await self._producer.stop()

    async def write(self, records: Sequence[tuple[bytes, bytes]], token: str) -> None:
        """One transaction: keys and values in their order, and the token behind them.

        Each goes to the partition of its key.

        Raises:
            FencedError: another process writes under this name.
            KafkaError: the outcome is unknown; begin again.
        """
        place = ReplayPlace(self.place.number + 1, token)
        mark = f"{self._name} {place.number} {token}".encode()
        last = len(records) - 1
        rows: dict[ClientPartition, list[RecordToSend]] = {}
        for at, (key, value) in enumerate(records):
            to = ClientPartition(self._topic, partition_of(key, self._partitions))
            rows.setdefault(to, []).append((key, value, [(HEADER, mark)] if at == last else []))
        await self._producer.send_to(rows)
        self.place = place

    async def _newest(self, reader: LogReader) -> ReplayPlace:
        tps = [TopicPartition(self._topic, number) for number in range(self._partitions)]
        begins, settled = await reader.begin_offsets(tps), await reader.settled_offsets(tps)
        if settled.open:
            names = ", ".join(f"{tp.topic}:{tp.partition}" for tp in sorted(settled.open))
            raise UnsettledError(
                f"{names}: a transaction is open there, and hides how far the replay has come; try "
                "again when it has ended; one that does not end by itself `kafka-transactions.sh` "
                "shows and ends"
            )
        found = [await self._newest_of(reader, tp, begins, settled.ends) for tp in tps]
        return max(found, key=lambda place: place.number)

    async def _newest_of(
        self,
        reader: LogReader,
        tp: TopicPartition,
        begins: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> ReplayPlace:
        """The newest place of a partition, from its end backwards."""
        begin, end, span = begins[tp], ends[tp], LOOK_BACK_OFFSETS
        while True:
            start = max(end - span, begin)
            reader.assign({tp: start})
            found = ReplayPlace()
            while reader.position(*tp) < end:
                for chunk in await reader.poll():
                    for record in chunk.records:
                        found = self._place_of(record) or found
            if found.number or start == begin:
                return found
            span *= 8

    def _place_of(self, record: Record) -> ReplayPlace | None:
        for name, value in record.headers:
            if name == HEADER and value is not None:
                whose, number, token = value.decode().rsplit(" ", 2)
                if whose == self._name:
                    return ReplayPlace(int(number), token)
        return None
