"""Clients of the brokers in memory, and the network between.

`MemoryKafka` stands where `KafkaConfig` does and makes clients with the methods of aiokafka's that
`LogReader` and `TransactionalProducer` call; those run unchanged on top of it. A request arrives
after a while, or not at all; so does its answer. A request of a killed process still arrives. Of
one producer the order is kept within a partition, not across partitions.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.transaction_states import LastTransaction
from k2_streams.testing.memory.cluster import At, MemoryCluster, MemoryRecord, grown, settle
from k2_streams.testing.memory.faults import Faults, MemoryFault
from k2_streams.testing.memory.loop import TIMER_S_MIN, VirtualLoop

Answered = TypeVar("Answered")

#: A client that hears nothing reports a time-out after this.
REQUEST_TIMEOUT_S = 6.0
#: Of two requests of one producer to one partition the second arrives so much later at least.
NEVER_A_TIE_S = 1e-6
#: Records of a batch that a producer sends as one.
BATCH_RECORDS = 1_000
#: Records of a poll that names no number.
POLL_RECORDS = 500


class MemoryNetwork:
    """Between a client and the brokers."""

    def __init__(self, loop: VirtualLoop, faults: Faults) -> None:
        self._loop = loop
        self._faults = faults

    async def ask(self, arrive: Callable[[], Answered], not_before_s: float = 0.0) -> Answered:
        """A request and its answer.

        Raises:
            KafkaConnectionError, KafkaTimeoutError: it may have arrived.
        """
        future, _ = self.send(arrive, not_before_s)
        return await future

    def send(
        self, arrive: Callable[[], Answered], not_before_s: float = 0.0
    ) -> "tuple[asyncio.Future[Answered], float]":
        """The answer to come, and when the request arrives."""
        loop, faults = self._loop, self._faults
        future: asyncio.Future[Answered] = loop.create_future()
        if faults.happens(MemoryFault.LOST_REQUEST):
            wait_s = faults.chance.choice([0.05, REQUEST_TIMEOUT_S])
            loop.later(wait_s, _fail, future, KafkaTimeoutError())
            return future, not_before_s
        # No timer is shorter than the loop's shortest: two requests would arrive at one moment.
        way_s = max(faults.one_way_s(), TIMER_S_MIN)
        arrives_s = max(loop.time() + way_s, not_before_s + NEVER_A_TIE_S)
        loop.call_at(arrives_s, self._arrived, arrive, future, context=loop.outside)
        return future, arrives_s

    def _arrived(self, arrive: Callable[[], Answered], future: "asyncio.Future[Answered]") -> None:
        back_s = self._faults.one_way_s()
        lost = self._faults.happens(MemoryFault.LOST_ANSWER)
        try:
            result = arrive()
        except Exception as error:  # noqa: BLE001 - the broker's refusal
            self._loop.later(back_s, _fail, future, error)
        else:
            if lost:
                self._loop.later(back_s, _fail, future, KafkaConnectionError())
            else:
                self._loop.later(back_s, settle, future, result)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever was to wait may be gone


class MemoryBatch:
    """A batch of records that a producer sends as one."""

    def __init__(self, records_max: int) -> None:
        self.records: list[Any] = []
        self._records_max = records_max

    def append(
        self,
        *,
        key: bytes | None,
        value: bytes | None,
        timestamp: None,  # noqa: ARG002 - the broker's time counts
        headers: Any = (),
    ) -> object | None:
        """Add a record; None: it is full."""
        if len(self.records) >= self._records_max:
            return None
        self.records.append((key, value, tuple(headers)))
        return self


class MemoryConnection:
    """To the brokers, as far as a producer looks at it."""

    def __init__(self) -> None:
        self._is_open = True

    def connected(self) -> bool:
        """Whether no broker was restarted since it was opened."""
        return self._is_open

    def cut(self) -> None:
        """The broker was stopped."""
        self._is_open = False


class MemoryClient:
    """A producer's connections."""

    def __init__(self) -> None:
        self._conns = {0: MemoryConnection()}

    def reconnect(self) -> None:
        """A broker was restarted. A client keeps what was closed until it needs that broker."""
        for one in self._conns.values():
            one.cut()
        self._conns[len(self._conns)] = MemoryConnection()


class AppendedBatch(NamedTuple):
    """What a producer is told of a batch."""

    offset: int


class MemoryTransactionalProducer:
    """aiokafka's transactional producer, as far as `TransactionalProducer` calls it."""

    def __init__(
        self,
        cluster: MemoryCluster,
        network: MemoryNetwork,
        transactional_id: str,
        timeout_s: float,
        batch_records: int,
    ) -> None:
        self._cluster = cluster
        self._network = network
        self._id = transactional_id
        self._timeout_s = timeout_s
        self._batch_records = batch_records
        self.producer_id, self.producer_epoch = 0, -1
        self._last_s: dict[At, float] = {}
        self._to_add: list[At] = []
        self.client = MemoryClient()

    async def start(self) -> None:
        """Fence the predecessor."""
        self.producer_epoch = await self._network.ask(
            lambda: self._cluster.start_producer(self._id, self._timeout_s)
        )

    async def stop(self) -> None:
        """Disconnect."""
        await asyncio.sleep(0)

    async def begin_transaction(self) -> None:
        """A transaction begins with its first record."""

    async def send(
        self, topic: str, *, value: Any, key: Any, partition: int, headers: Any
    ) -> "asyncio.Future[AppendedBatch]":
        """Send a record."""
        return self._send((topic, partition), [(key, value, tuple(headers))])

    def create_batch(self) -> MemoryBatch:
        """An empty batch."""
        return MemoryBatch(self._batch_records)

    async def send_batch(
        self, batch: MemoryBatch, topic: str, *, partition: int
    ) -> "asyncio.Future[AppendedBatch]":
        """Send a batch."""
        return self._send((topic, partition), list(batch.records))

    def _send(self, at: At, records: list[Any]) -> "asyncio.Future[AppendedBatch]":
        epoch = self.producer_epoch
        if at in self._to_add:
            self._to_add.remove(at)  # its first record makes it part of the transaction
        future, self._last_s[at] = self._network.send(
            lambda: AppendedBatch(self._cluster.produce(self._id, epoch, at, records)),
            self._last_s.get(at, 0.0),
        )
        return future

    async def send_offsets_to_transaction(self, offsets: Mapping[Any, int], group_id: str) -> None:
        """Add a group's offsets."""
        places = {(tp.topic, tp.partition): offset for tp, offset in offsets.items()}
        await self._network.ask(
            lambda: self._cluster.add_offsets(self._id, self.producer_epoch, group_id, places)
        )

    async def commit_transaction(self) -> None:
        """Commit."""
        await self._add_partitions()
        await self._network.ask(lambda: self._cluster.commit(self._id, self.producer_epoch))

    async def abort_transaction(self) -> None:
        """Abort."""
        await self._add_partitions()
        await self._network.ask(lambda: self._cluster.abort(self._id, self.producer_epoch))

    @property
    def _txn_manager(self) -> "MemoryTransactionalProducer":
        """Aiokafka keeps id, epoch and partitions of a transaction there."""
        return self

    def maybe_add_partition_to_txn(self, place: TopicPartition) -> None:
        """Make a partition part of the transaction, without a record."""
        self._to_add.append((place.topic, place.partition))

    def partitions_to_add(self) -> tuple[At, ...]:
        """None: the brokers take them with the first record, or before the transaction ends."""
        return ()

    def is_in_transaction(self) -> bool:
        """Nothing is refused before the transaction ends."""
        return True

    async def _add_partitions(self) -> None:
        places, self._to_add = self._to_add, []
        if places:
            await self._network.ask(
                lambda: self._cluster.add_partitions(self._id, self.producer_epoch, places)
            )


class MemoryPlainProducer:
    """aiokafka's producer without transactions, as far as `Publisher` calls it."""

    def __init__(self, cluster: MemoryCluster, network: MemoryNetwork) -> None:
        self._cluster = cluster
        self._network = network

    async def start(self) -> None:
        """Connect."""
        await self._network.ask(lambda: None)

    async def stop(self) -> None:
        """Disconnect."""
        await asyncio.sleep(0)

    async def send_and_wait(self, topic: str, value: bytes, key: bytes) -> int:
        """Send a record to the first partition; its offset."""
        return await self._network.ask(lambda: self._cluster.append((topic, 0), key, value))


class MemoryConsumer:
    """aiokafka's consumer with partitions assigned by hand."""

    def __init__(self, cluster: MemoryCluster, network: MemoryNetwork, *, committed: bool) -> None:
        self._cluster = cluster
        self._network = network
        self._committed = committed
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    async def start(self) -> None:
        """Connect."""
        await self._network.ask(lambda: None)

    async def stop(self) -> None:
        """Disconnect."""
        await asyncio.sleep(0)

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Read these partitions."""
        self._positions = dict.fromkeys(partitions, 0)
        self._paused.clear()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from there."""
        self._positions[partition] = offset

    def pause(self, partition: TopicPartition) -> None:
        """Fetch nothing of it."""
        self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        """Fetch it again."""
        self._paused.discard(partition)

    async def position(self, partition: TopicPartition) -> int:
        """The next offset that is read."""
        return self._positions[partition]

    def last_stable_offset(self, partition: TopicPartition) -> int:
        """Where committed readers come to."""
        return self._cluster.partitions[partition].stable

    def highwater(self, partition: TopicPartition) -> int:
        """The partition's end."""
        return self._cluster.partitions[partition].end

    async def beginning_offsets(self, partitions: list[Any]) -> dict[TopicPartition, int]:
        """The first offset of each partition that is not deleted."""
        return await self._network.ask(
            lambda: {TopicPartition(*tp): self._cluster.partitions[tp].begin for tp in partitions}
        )

    async def end_offsets(self, partitions: list[Any]) -> dict[TopicPartition, int]:
        """The end of each partition for this consumer."""
        return await self._network.ask(
            lambda: {TopicPartition(*tp): self._end(tp) for tp in partitions}
        )

    async def high_watermarks(self, partitions: list[Any]) -> dict[TopicPartition, int]:
        """The end of each partition, whether what is before it was committed or not."""
        return await self._network.ask(
            lambda: {TopicPartition(*tp): self._cluster.partitions[tp].end for tp in partitions}
        )

    async def getmany(
        self, *, timeout_ms: int, max_records: int | None = None
    ) -> dict[TopicPartition, list[MemoryRecord]]:
        """What there is; where there is nothing, what comes within the time."""
        if not any(self._readable(tp, at) for tp, at in self._active().items()):
            partitions = [self._cluster.partitions[tp] for tp in self._active()]
            await grown(partitions, timeout_ms / 1000)
        asked = self._active()
        found = await self._network.ask(lambda: self._read(asked, max_records or POLL_RECORDS))
        records: dict[TopicPartition, list[MemoryRecord]] = {}
        for tp, (some, position) in found.items():
            if self._positions.get(tp) == asked[tp]:  # not sought meanwhile
                self._positions[tp] = position
                if some:
                    records[tp] = some
        return records

    def _active(self) -> dict[TopicPartition, int]:
        """Positions of what is not paused."""
        return {tp: at for tp, at in self._positions.items() if tp not in self._paused}

    def _end(self, tp: TopicPartition) -> int:
        log = self._cluster.partitions[tp]
        return log.stable if self._committed else log.end

    def _readable(self, tp: TopicPartition, position: int) -> bool:
        return position < self._end(tp)

    def _read(
        self, asked: Mapping[TopicPartition, int], most: int
    ) -> dict[TopicPartition, tuple[list[MemoryRecord], int]]:
        found = {}
        for tp, start in asked.items():
            partition = self._cluster.partitions[tp]
            if start > partition.end:
                raise OffsetOutOfRangeError(tp)
            found[tp] = partition.read(start, most, committed=self._committed)
        return found


class MemoryKafka(KafkaConfig):
    """The configuration of a cluster in memory: its clients are in memory.

    Args:
        cluster: the brokers.
        network: between.
        batch_records: of a batch of a transactional producer.
    """

    def __init__(
        self, cluster: MemoryCluster, network: MemoryNetwork, batch_records: int = BATCH_RECORDS
    ) -> None:
        super().__init__("memory:0")
        object.__setattr__(self, "cluster", cluster)
        object.__setattr__(self, "network", network)
        object.__setattr__(self, "batch_records", batch_records)

    cluster: MemoryCluster
    network: MemoryNetwork
    batch_records: int

    def producer(self, **options: Any) -> Any:
        """A producer of this cluster, not started."""
        if "transactional_id" not in options:
            return MemoryPlainProducer(self.cluster, self.network)
        return MemoryTransactionalProducer(
            self.cluster,
            self.network,
            options["transactional_id"],
            options["transaction_timeout_ms"] / 1000,
            self.batch_records,
        )

    def consumer(self, **options: Any) -> Any:
        """A consumer of this cluster, not started."""
        committed = options["isolation_level"] == "read_committed"
        return MemoryConsumer(self.cluster, self.network, committed=committed)

    async def last_transaction(self, transactional_id: str) -> LastTransaction:
        """What the coordinator last did with this id."""
        return await self.network.ask(lambda: self.cluster.last_transaction(transactional_id))
