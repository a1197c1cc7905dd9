"""A simulated Kafka: partitions, transactions with fencing and time-outs, and its two clients.

`SimKafka` stands where `KafkaConfig` does and makes clients with the methods of aiokafka's that
`LogReader` and `TransactionalProducer` call; those run unchanged on top of it. A request arrives
after a while, or not at all; so does its answer. A request of a killed process still arrives.

Of Kafka it keeps: offsets taken by markers, the last stable offset, aborted records that take
offsets and are not delivered, epochs that fence, a coordinator that aborts what is open too long,
and of one producer the order within a partition, not across partitions.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidTxnState,
    KafkaConnectionError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
    ProducerFenced,
)
from aiokafka.structs import TopicPartition

from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.topics import TopicInfo
from k2_streams.kafka.transaction_states import EMPTY, LastTransaction
from simulation.chaos import Chaos
from simulation.loop import Loop

Result = TypeVar("Result")
At = tuple[str, int]

#: 2025-11-23 12:00 UTC: where the brokers' calendar begins.
BEGIN_MS = 1_763_899_200_000
#: How often the coordinator looks for transactions that are open too long.
EXPIRE_EVERY_S = 1.0
#: A client gives a request up after this.
REQUEST_TIMEOUT_S = 6.0
#: Records of a batch of the changelog: small, so that a checkpoint needs several.
BATCH_ROWS = 3


class Record(NamedTuple):
    """As aiokafka gives it, as far as K2 reads it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass(slots=True)
class Entry:
    """What an offset holds."""

    record: Record | None  # None: a marker
    transaction: "Share | None" = None


@dataclass(slots=True, eq=False)
class Share:
    """One transaction's records in one partition, and what its marker made of them."""

    committed: bool | None = None  # None: there is no marker yet


@dataclass(slots=True, eq=False)
class Transaction:
    """One transaction of a producer, and what its coordinator made of it."""

    begun_s: float
    partitions: dict[At, Share] = field(default_factory=dict)
    committed: bool | None = None  # None: open


@dataclass(slots=True)
class Producer:
    """What the coordinator knows of a transactional id."""

    epoch: int = -1
    timeout_s: float = 15.0
    open: Transaction | None = None
    last: Transaction | None = None
    hanging: dict[At, list[Share]] = field(default_factory=dict)  # ended, and without a marker


class Partition:
    """One partition's log."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.open: dict[Share, int] = {}
        self.watchers: list[asyncio.Future[None]] = []

    @property
    def end(self) -> int:
        """The high watermark."""
        return len(self.entries)

    @property
    def stable(self) -> int:
        """The last stable offset: no committed reader passes it."""
        return min(self.open.values(), default=self.end)

    def append(self, entry: Entry) -> int:
        """The entry's offset."""
        self.entries.append(entry)
        for watcher in self.watchers:
            _answer(watcher, None)
        self.watchers.clear()
        return len(self.entries) - 1

    def read(self, start: int, most: int, *, committed: bool = True) -> tuple[list[Record], int]:
        """Records from an offset on, and the position behind them."""
        found: list[Record] = []
        at, end = start, self.stable if committed else self.end
        while at < end and len(found) < most:
            entry = self.entries[at]
            at += 1
            if entry.record is None:
                continue
            if committed and entry.transaction is not None and not entry.transaction.committed:
                continue
            found.append(entry.record)
        return found, at

    def committed(self, end: int | None = None) -> list[Record]:
        """All committed records below an offset."""
        entries = self.entries[: self.stable if end is None else end]
        return [
            entry.record
            for entry in entries
            if entry.record is not None
            and (entry.transaction is None or entry.transaction.committed)
        ]


class Cluster:
    """The brokers: everything here happens at once, at the moment a request arrives."""

    def __init__(self, loop: Loop, topics: Mapping[str, int]) -> None:
        self._loop = loop
        self.topics = {name: TopicInfo(name, f"id-of-{name}", n) for name, n in topics.items()}
        self.partitions: dict[At, Partition] = {
            (name, number): Partition() for name, count in topics.items() for number in range(count)
        }
        self._producers: dict[str, Producer] = {}
        self.fenced = 0
        #: Of an aborted transaction's partitions, those that get no marker at its end.
        self.forgotten: Callable[[list[At]], set[At]] = lambda _: set()
        loop.later(EXPIRE_EVERY_S, self._expire)

    @property
    def now_ms(self) -> int:
        """The brokers' calendar."""
        return BEGIN_MS + int(self._loop.time() * 1000)

    def append(
        self,
        at: At,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes], ...] = (),
        transaction: Transaction | None = None,
    ) -> int:
        """A record; its offset."""
        partition = self.partitions[at]
        offset = partition.end
        record = Record(offset, self.now_ms, key, value, headers)
        return partition.append(Entry(record, transaction))

    def marker(self, at: At) -> None:
        """An offset that no reader is given."""
        self.partitions[at].append(Entry(None))

    # -- transactions ------------------------------------------------------------------------

    def start_producer(self, name: str, timeout_s: float) -> int:
        """Abort what the predecessor left open, and fence it; the new epoch."""
        producer = self._producers.setdefault(name, Producer())
        self._finish(producer, committed=False)
        producer.last = None
        producer.epoch += 1
        producer.timeout_s = timeout_s
        return producer.epoch

    def produce(
        self,
        name: str,
        epoch: int,
        at: At,
        records: list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]],
    ) -> int:
        """Append to the open transaction; the first record's offset."""
        producer = self._of(name, epoch, InvalidProducerEpoch)
        if producer.open is None:
            producer.open = Transaction(self._loop.time())
        transaction = producer.open
        share, first = self._share(transaction, at), self.partitions[at].end
        for key, value, headers in records:
            self.append(at, key, value, headers, share)
        return first

    def add_partitions(self, name: str, epoch: int, places: list[At]) -> None:
        """To the open transaction, without a record."""
        producer = self._of(name, epoch, ProducerFenced)
        if producer.open is None:
            producer.open = Transaction(self._loop.time())
        for at in places:
            self._share(producer.open, at)

    def _share(self, transaction: Transaction, at: At) -> Share:
        share = transaction.partitions.get(at)
        if share is None:
            share = transaction.partitions[at] = Share()
            self.partitions[at].open[share] = self.partitions[at].end
        return share

    def add_offsets(self, name: str, epoch: int) -> None:
        """The group's offsets: nobody reads them, but they are a request of the transaction."""
        producer = self._of(name, epoch, ProducerFenced)
        if producer.open is None:
            producer.open = Transaction(self._loop.time())

    def commit(self, name: str, epoch: int) -> None:
        """End the transaction; the same request again is answered the same."""
        producer = self._of(name, epoch, ProducerFenced)
        if producer.open is None:
            if producer.last is None or not producer.last.committed:
                raise InvalidTxnState
            return
        self._finish(producer, committed=True)

    def abort(self, name: str, epoch: int) -> None:
        """Give the transaction up."""
        self._finish(self._of(name, epoch, ProducerFenced), committed=False)

    def last_transaction(self, name: str) -> LastTransaction:
        """What the coordinator last did with a transactional id."""
        producer = self._producers.get(name)
        if producer is None:
            return LastTransaction(EMPTY)
        state = EMPTY
        if producer.open is not None:
            state = "Ongoing"
        elif producer.last is not None:
            state = "CompleteCommit" if producer.last.committed else "CompleteAbort"
        return LastTransaction(state, 0, producer.epoch)

    def _of(self, name: str, epoch: int, refusal: type[Exception]) -> Producer:
        producer = self._producers[name]
        if epoch != producer.epoch:
            self.fenced += 1
            raise refusal
        return producer

    def _finish(self, producer: Producer, *, committed: bool) -> None:
        transaction, producer.open = producer.open, None
        if transaction is None:
            return
        transaction.committed = committed
        producer.last = transaction
        # While a broker starts, partitions without a leader are taken for deleted. Of aborts alone:
        # what a commit leaves hanging is lost to a second fault between the requests of its repair.
        forgotten = set() if committed else self.forgotten(sorted(transaction.partitions))
        for at, share in transaction.partitions.items():
            hanging = producer.hanging.setdefault(at, [])
            hanging.append(share)
            if at in forgotten:
                continue
            for ended in hanging:
                ended.committed = committed
                del self.partitions[at].open[ended]
            del producer.hanging[at]
            self.partitions[at].append(Entry(None))

    def end_hanging(self, partition: int) -> bool:
        """Abort what hangs in a partition of any topic, as `kafka-transactions.sh abort` does.

        False if nothing hangs there.
        """
        found = False
        for producer in self._producers.values():
            for at in [at for at in producer.hanging if at[1] == partition]:
                found = True
                for share in producer.hanging.pop(at):
                    share.committed = False
                    del self.partitions[at].open[share]
                self.partitions[at].append(Entry(None))
        return found

    def _expire(self) -> None:
        now_s = self._loop.time()
        for producer in self._producers.values():
            if producer.open and now_s - producer.open.begun_s > producer.timeout_s:
                self._finish(producer, committed=False)
                producer.epoch += 1
        self._loop.later(EXPIRE_EVERY_S, self._expire)


class Network:
    """Between a client and the brokers."""

    def __init__(self, loop: Loop, chaos: Chaos) -> None:
        self._loop = loop
        self._chaos = chaos

    async def ask(self, arrive: Callable[[], Result], not_before_s: float = 0.0) -> Result:
        """A request and its answer.

        Raises:
            KafkaConnectionError, KafkaTimeoutError: it may have arrived.
        """
        future, _ = self.send(arrive, not_before_s)
        return await future

    def send(
        self, arrive: Callable[[], Result], not_before_s: float = 0.0
    ) -> "tuple[asyncio.Future[Result], float]":
        """The answer to come, and when the request arrives."""
        loop, chaos = self._loop, self._chaos
        future: asyncio.Future[Result] = loop.create_future()
        if chaos.happens("lost_request"):
            wait_s = chaos.chance.choice([0.05, REQUEST_TIMEOUT_S])
            loop.later(wait_s, _fail, future, KafkaTimeoutError())
            return future, not_before_s
        arrives_s = max(loop.time() + chaos.one_way_s(), not_before_s + 1e-6)  # never a tie
        loop.call_at(arrives_s, self._arrived, arrive, future, context=loop.outside)
        return future, arrives_s

    def _arrived(self, arrive: Callable[[], Result], future: "asyncio.Future[Result]") -> None:
        back_s = self._chaos.one_way_s()
        lost = self._chaos.happens("lost_answer")
        try:
            result = arrive()
        except Exception as error:  # noqa: BLE001 - the broker's refusal
            self._loop.later(back_s, _fail, future, error)
        else:
            if lost:
                self._loop.later(back_s, _fail, future, KafkaConnectionError())
            else:
                self._loop.later(back_s, _answer, future, result)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever was to wait may be gone


def _answer(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


class Batch:
    """A batch of records that a producer sends as one."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def append(
        self, *, key: bytes | None, value: bytes | None, timestamp: None, headers: Any = ()
    ) -> object | None:
        """None: it is full."""
        if len(self.records) >= BATCH_ROWS:
            return None
        self.records.append((key, value, tuple(headers)))
        return self


class Sent(NamedTuple):
    """What a producer is told of a batch."""

    offset: int


class SimProducer:
    """aiokafka's transactional producer, as far as `TransactionalProducer` calls it."""

    def __init__(
        self, cluster: Cluster, network: Network, transactional_id: str, timeout_s: float
    ) -> None:
        self._cluster = cluster
        self._network = network
        self._id = transactional_id
        self._timeout_s = timeout_s
        self.producer_id, self.producer_epoch = 0, -1
        self._last_s: dict[At, float] = {}
        self._to_add: list[At] = []

    async def start(self) -> None:
        self.producer_epoch = await self._network.ask(
            lambda: self._cluster.start_producer(self._id, self._timeout_s)
        )

    async def stop(self) -> None:
        await asyncio.sleep(0)

    async def begin_transaction(self) -> None:
        """A transaction begins with its first record."""

    async def send(
        self, topic: str, *, value: Any, key: Any, partition: int, headers: Any
    ) -> "asyncio.Future[Sent]":
        return self._send((topic, partition), [(key, value, tuple(headers))])

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(
        self, batch: Batch, topic: str, *, partition: int
    ) -> "asyncio.Future[Sent]":
        return self._send((topic, partition), list(batch.records))

    def _send(self, at: At, records: list[Any]) -> "asyncio.Future[Sent]":
        epoch = self.producer_epoch
        future, self._last_s[at] = self._network.send(
            lambda: Sent(self._cluster.produce(self._id, epoch, at, records)),
            self._last_s.get(at, 0.0),
        )
        return future

    async def send_offsets_to_transaction(self, offsets: Any, group_id: str) -> None:
        await self._network.ask(lambda: self._cluster.add_offsets(self._id, self.producer_epoch))

    async def commit_transaction(self) -> None:
        await self._add_partitions()
        await self._network.ask(lambda: self._cluster.commit(self._id, self.producer_epoch))

    async def abort_transaction(self) -> None:
        await self._add_partitions()
        await self._network.ask(lambda: self._cluster.abort(self._id, self.producer_epoch))

    @property
    def _txn_manager(self) -> "SimProducer":
        return self

    def maybe_add_partition_to_txn(self, place: TopicPartition) -> None:
        self._to_add.append((place.topic, place.partition))

    async def _add_partitions(self) -> None:
        places, self._to_add = self._to_add, []
        if places:
            await self._network.ask(
                lambda: self._cluster.add_partitions(self._id, self.producer_epoch, places)
            )


class SimPlainProducer:
    """aiokafka's producer without transactions, as far as `Publisher` calls it."""

    def __init__(self, cluster: Cluster, network: Network) -> None:
        self._cluster = cluster
        self._network = network

    async def start(self) -> None:
        await self._network.ask(lambda: None)

    async def stop(self) -> None:
        await asyncio.sleep(0)

    async def send_and_wait(self, topic: str, value: bytes, key: bytes) -> int:
        return await self._network.ask(lambda: self._cluster.append((topic, 0), key, value))


class SimConsumer:
    """aiokafka's consumer with committed reads and partitions assigned by hand."""

    def __init__(self, cluster: Cluster, network: Network, *, committed: bool) -> None:
        self._cluster = cluster
        self._network = network
        self._committed = committed
        self._positions: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        await self._network.ask(lambda: None)

    async def stop(self) -> None:
        await asyncio.sleep(0)

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._positions = dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    def last_stable_offset(self, partition: TopicPartition) -> int:
        return self._cluster.partitions[partition].stable

    def highwater(self, partition: TopicPartition) -> int:
        return self._cluster.partitions[partition].end

    async def beginning_offsets(self, partitions: list[Any]) -> dict[TopicPartition, int]:
        return await self._network.ask(lambda: {TopicPartition(*tp): 0 for tp in partitions})

    async def end_offsets(self, partitions: list[Any]) -> dict[TopicPartition, int]:
        return await self._network.ask(
            lambda: {TopicPartition(*tp): self._end(tp) for tp in partitions}
        )

    async def high_watermarks(self, partitions: list[Any]) -> dict[TopicPartition, int]:
        return await self._network.ask(
            lambda: {TopicPartition(*tp): self._cluster.partitions[tp].end for tp in partitions}
        )

    async def getmany(
        self, *, timeout_ms: int, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """What there is; where there is nothing, what comes within the time."""
        if not any(self._readable(tp, at) for tp, at in self._positions.items()):
            partitions = [self._cluster.partitions[tp] for tp in self._positions]
            await grown(partitions, timeout_ms / 1000)
        asked = dict(self._positions)
        found = await self._network.ask(lambda: self._read(asked, max_records or 500))
        records: dict[TopicPartition, list[Record]] = {}
        for tp, (some, position) in found.items():
            if self._positions.get(tp) == asked[tp]:  # not sought meanwhile
                self._positions[tp] = position
                if some:
                    records[tp] = some
        return records

    def _end(self, tp: TopicPartition) -> int:
        log = self._cluster.partitions[tp]
        return log.stable if self._committed else log.end

    def _readable(self, tp: TopicPartition, position: int) -> bool:
        return position != self._end(tp)

    def _read(
        self, asked: Mapping[TopicPartition, int], most: int
    ) -> dict[TopicPartition, tuple[list[Record], int]]:
        found = {}
        for tp, start in asked.items():
            partition = self._cluster.partitions[tp]
            if start > partition.end:
                raise OffsetOutOfRangeError(tp)
            found[tp] = partition.read(start, most, committed=self._committed)
        return found


async def grown(partitions: list[Partition], timeout_s: float) -> None:
    """Until something was appended to one of the logs, or the time is over."""
    loop = asyncio.get_running_loop()
    watcher: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(timeout_s, _answer, watcher, None)
    for partition in partitions:
        partition.watchers.append(watcher)
    try:
        await watcher
    finally:
        timer.cancel()
        for partition in partitions:
            if watcher in partition.watchers:
                partition.watchers.remove(watcher)


class SimKafka(KafkaConfig):
    """The configuration of a simulated cluster: its clients are simulated."""

    def __init__(self, cluster: Cluster, network: Network) -> None:
        super().__init__("simulated:0")
        object.__setattr__(self, "cluster", cluster)
        object.__setattr__(self, "network", network)

    def producer(self, **options: Any) -> Any:
        if "transactional_id" not in options:
            return SimPlainProducer(self.cluster, self.network)
        return SimProducer(
            self.cluster,
            self.network,
            options["transactional_id"],
            options["transaction_timeout_ms"] / 1000,
        )

    def consumer(self, **options: Any) -> Any:
        committed = options["isolation_level"] == "read_committed"
        return SimConsumer(self.cluster, self.network, committed=committed)

    async def last_transaction(self, transactional_id: str) -> LastTransaction:
        return await self.network.ask(lambda: self.cluster.last_transaction(transactional_id))


def seeded(seed: int, what: str) -> random.Random:
    """Chance of its own for a part of a run: more of one part leaves the others as they were."""
    return random.Random(f"{seed}:{what}")
