"""Brokers in memory: partitions, transactions with fencing and time-outs, group offsets.

Of Kafka they keep: offsets taken by markers, the last stable offset, aborted records that take
offsets and are not delivered, epochs that fence, a coordinator that aborts what is open too long.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidTxnState,
    OffsetOutOfRangeError,
    ProducerFenced,
)

from k2_streams.kafka.topics import TopicInfo
from k2_streams.kafka.transaction_states import EMPTY, LastTransaction
from k2_streams.testing.memory.loop import VirtualLoop

#: 2025-11-23 12:00 UTC: where the brokers' calendar begins unless it is told otherwise.
BEGIN_MS = 1_763_899_200_000
#: How often the coordinator looks for transactions that are open too long.
EXPIRE_EVERY_S = 1.0
#: A transaction that is open for longer is aborted, unless its producer asks for another time.
TRANSACTION_TIMEOUT_S = 15.0

At = tuple[str, int]
Headers = tuple[tuple[str, bytes | None], ...]


class MemoryRecord(NamedTuple):
    """As aiokafka gives a record, as far as K2 reads it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True)
class LogEntry:
    """What an offset holds."""

    record: MemoryRecord | None  # None: a marker
    transaction: "TransactionShare | None" = None


@dataclass(slots=True, eq=False)
class TransactionShare:
    """One transaction's records in one partition, and what its marker made of them."""

    committed: bool | None = None  # None: there is no marker yet


@dataclass(slots=True, eq=False)
class ProducerTransaction:
    """One transaction of a producer, and what its coordinator made of it."""

    begun_s: float
    partitions: dict[At, TransactionShare] = field(default_factory=dict)
    offsets: dict[str, dict[At, int]] = field(default_factory=dict)  # by group
    committed: bool | None = None  # None: open


@dataclass(slots=True)
class ProducerState:
    """What the coordinator knows of a transactional id."""

    epoch: int = -1
    timeout_s: float = TRANSACTION_TIMEOUT_S
    open: ProducerTransaction | None = None
    last: ProducerTransaction | None = None
    hanging: dict[At, list[TransactionShare]] = field(default_factory=dict)  # ended, no marker


def settle(future: "asyncio.Future[Any]", result: Any) -> None:
    """Give a future its result, unless nobody waits for it any more."""
    if not future.done():
        future.set_result(result)


class PartitionLog:
    """One partition's log."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.begin = 0  # what is below was deleted
        self.open: dict[TransactionShare, int] = {}
        self.watchers: list[asyncio.Future[None]] = []

    @property
    def end(self) -> int:
        """The high watermark."""
        return len(self.entries)

    @property
    def stable(self) -> int:
        """The last stable offset: no committed reader passes it."""
        return min(self.open.values(), default=self.end)

    def append(self, entry: LogEntry) -> int:
        """The entry's offset."""
        self.entries.append(entry)
        for watcher in self.watchers:
            settle(watcher, None)
        self.watchers.clear()
        return len(self.entries) - 1

    def read(
        self, start: int, most: int, *, committed: bool = True
    ) -> tuple[list[MemoryRecord], int]:
        """Records from an offset on, and the position behind them."""
        if start < self.begin:
            raise OffsetOutOfRangeError(f"{start} is below {self.begin}")
        found: list[MemoryRecord] = []
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

    def committed(self, end: int | None = None) -> list[MemoryRecord]:
        """All committed records below an offset."""
        entries = self.entries[: self.stable if end is None else end]
        return [
            entry.record
            for entry in entries
            if entry.record is not None
            and (entry.transaction is None or entry.transaction.committed)
        ]

    def last_committed(self) -> MemoryRecord | None:
        """The last committed record; None: there is none."""
        for offset in range(self.stable - 1, -1, -1):
            entry = self.entries[offset]
            if entry.record is not None and (
                entry.transaction is None or entry.transaction.committed
            ):
                return entry.record
        return None


class MemoryCluster:
    """The brokers: everything here happens at once, at the moment a request arrives.

    Args:
        loop: gives the time.
        topics: how many partitions each has.
        begin_ms: what the brokers' calendar shows when the loop begins.
    """

    def __init__(
        self, loop: VirtualLoop, topics: Mapping[str, int], *, begin_ms: int = BEGIN_MS
    ) -> None:
        self._loop = loop
        self._begin_ms = begin_ms
        self.topics = {name: TopicInfo(name, f"id-of-{name}", n) for name, n in topics.items()}
        self.partitions: dict[At, PartitionLog] = {
            (name, number): PartitionLog()
            for name, count in topics.items()
            for number in range(count)
        }
        self.group_offsets: dict[str, dict[At, int]] = {}
        self._producers: dict[str, ProducerState] = {}
        self.fenced = 0
        #: Of an aborted transaction's partitions, those that get no marker at its end.
        self.forgotten: Callable[[list[At]], set[At]] = lambda _: set()
        #: Partitions in which commits get no marker, since a broker is restarted.
        self.unmarked: frozenset[At] = frozenset()
        loop.later(EXPIRE_EVERY_S, self._expire)

    @property
    def now_ms(self) -> int:
        """The brokers' calendar."""
        return self._begin_ms + int(self._loop.time() * 1000)

    def append(
        self,
        at: At,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        share: TransactionShare | None = None,
        *,
        timestamp_ms: int | None = None,
    ) -> int:
        """Append a record; its offset.

        Args:
            at: topic and partition.
            key: of the record.
            value: of the record.
            headers: of the record.
            share: of the transaction that it belongs to; None: it belongs to none.
            timestamp_ms: its append time; None: now.
        """
        partition = self.partitions[at]
        time_ms = self.now_ms if timestamp_ms is None else timestamp_ms
        record = MemoryRecord(partition.end, time_ms, key, value, headers)
        return partition.append(LogEntry(record, share))

    def marker(self, at: At) -> None:
        """An offset that no reader is given."""
        self.partitions[at].append(LogEntry(None))

    # -- transactions ------------------------------------------------------------------------

    def start_producer(self, name: str, timeout_s: float) -> int:
        """Abort what the predecessor left open, and fence it; the new epoch."""
        producer = self._producers.setdefault(name, ProducerState())
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
        records: Sequence[tuple[bytes | None, bytes | None, Headers]],
    ) -> int:
        """Append to the open transaction; the first record's offset."""
        transaction = self._open(self._of(name, epoch, InvalidProducerEpoch))
        share, first = self._share(transaction, at), self.partitions[at].end
        for key, value, headers in records:
            self.append(at, key, value, headers, share)
        return first

    def add_partitions(self, name: str, epoch: int, places: Sequence[At]) -> None:
        """To the open transaction, without a record."""
        transaction = self._open(self._of(name, epoch, ProducerFenced))
        for at in places:
            self._share(transaction, at)

    def add_offsets(
        self, name: str, epoch: int, group: str = "", offsets: Mapping[At, int] | None = None
    ) -> None:
        """Offsets of a group, which are its own once the transaction is committed."""
        transaction = self._open(self._of(name, epoch, ProducerFenced))
        transaction.offsets.setdefault(group, {}).update(offsets or {})

    def commit(self, name: str, epoch: int) -> None:
        """End the transaction; the same request again is answered the same."""
        producer = self._of(name, epoch, ProducerFenced)
        if producer.open is None:
            if producer.last is None or not producer.last.committed:
                raise InvalidTxnState
            return
        self._finish(producer, committed=True)

    def abort(self, name: str, epoch: int) -> None:
        """End the transaction without its records."""
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

    def _of(self, name: str, epoch: int, refusal: type[Exception]) -> ProducerState:
        producer = self._producers[name]
        if epoch != producer.epoch:
            self.fenced += 1
            raise refusal
        return producer

    def _open(self, producer: ProducerState) -> ProducerTransaction:
        if producer.open is None:
            producer.open = ProducerTransaction(self._loop.time())
        return producer.open

    def _share(self, transaction: ProducerTransaction, at: At) -> TransactionShare:
        share = transaction.partitions.get(at)
        if share is None:
            share = transaction.partitions[at] = TransactionShare()
            self.partitions[at].open[share] = self.partitions[at].end
        return share

    def _finish(self, producer: ProducerState, *, committed: bool) -> None:
        transaction, producer.open = producer.open, None
        if transaction is None:
            return
        transaction.committed = committed
        producer.last = transaction
        # While a broker starts, partitions without a leader are taken for deleted. By chance of
        # aborts alone: what a commit leaves hanging is lost to a second fault between the requests
        # of its repair.
        forgotten = self.unmarked if committed else self.forgotten(sorted(transaction.partitions))
        for at, share in transaction.partitions.items():
            hanging = producer.hanging.setdefault(at, [])
            hanging.append(share)
            if at in forgotten:
                continue
            for ended in hanging:
                ended.committed = committed
                del self.partitions[at].open[ended]
            del producer.hanging[at]
            self.marker(at)
        if committed:
            for group, offsets in transaction.offsets.items():
                self.group_offsets.setdefault(group, {}).update(offsets)

    def end_hanging(self, partition: int) -> bool:
        """Abort hanging transactions in a partition of any topic: `kafka-transactions.sh abort`.

        False if there is none.
        """
        found = False
        for producer in self._producers.values():
            for at in [at for at in producer.hanging if at[1] == partition]:
                found = True
                for share in producer.hanging.pop(at):
                    share.committed = False
                    del self.partitions[at].open[share]
                self.marker(at)
        return found

    def _expire(self) -> None:
        now_s = self._loop.time()
        for producer in self._producers.values():
            if producer.open and now_s - producer.open.begun_s > producer.timeout_s:
                self._finish(producer, committed=False)
                producer.epoch += 1
        self._loop.later(EXPIRE_EVERY_S, self._expire)


async def grown(partitions: Sequence[PartitionLog], timeout_s: float) -> None:
    """Until something was appended to one of the logs, or the time is over."""
    loop = asyncio.get_running_loop()
    watcher: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(timeout_s, settle, watcher, None)
    for partition in partitions:
        partition.watchers.append(watcher)
    try:
        await watcher
    finally:
        timer.cancel()
        for partition in partitions:
            if watcher in partition.watchers:
                partition.watchers.remove(watcher)
