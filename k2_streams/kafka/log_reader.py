"""A committed reader of named partitions, outside every group: for recovery, tails and tools."""

import asyncio
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka.errors import (
    ConsumerStoppedError,
    KafkaError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import TopicPartition as ClientPartition

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.partition_faults import (
    FetchAnswers,
    PartitionFaults,
    PartitionUnreadableError,
    drain,
    go_on,
    stand_still,
)

#: One fetch of one partition: more than the largest record (8 MiB), so that none blocks the reader.
FETCH_BYTES = 9 * 1024 * 1024


#: The client's fetching takes a cancellation for that of a fetch once per assignment at the most:
#: the second one ends it.
FETCHING_ENDS_AFTER = 10
FETCHING_ENDS_WITHIN_S = 0.5
#: Markers are written some milliseconds after the coordinator has answered; they are looked for so
#: often, 5 s in all.
MARKER_TRIES = 100
MARKER_PAUSE_S = 0.05

#: What a broker or the connection to it can answer with.
LogError = KafkaError
ReaderStoppedError = ConsumerStoppedError


class ReaderBrokenError(KafkaError):  # type: ignore[misc] # aiokafka has no types
    """A task of the client has ended: it would give nothing any more, and say nothing."""


class Record(NamedTuple):
    """What a record holds, without a copy."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]  # a value may be null
    timestamp: int  # ms, the broker's


class StableOffsets(NamedTuple):
    """How far committed readers come in partitions, and how far these go."""

    stable: dict[TopicPartition, int]  # the last stable offset: the end for a committed reader
    ends: dict[TopicPartition, int]  # the high watermark

    @property
    def open(self) -> dict[TopicPartition, int]:
        """Partitions with an open or hanging transaction: how many offsets lie behind it."""
        return {tp: end - self.stable[tp] for tp, end in self.ends.items() if end > self.stable[tp]}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition: offsets `[start, end)` of the reader's position.

    `records` may be empty: a transaction's markers and aborted records move the position too.
    """

    topic: str
    partition: int
    start: int
    end: int
    records: tuple[Record, ...]


class LogReader:
    """Reads committed records from given offsets, in order, and knows its own position.

    Args:
        isolate: a partition that cannot be read stands still alone, in `faults`, and is tried again
            by itself; else `poll` raises.
    """

    def __init__(
        self, config: KafkaConfig, *, max_wait_ms: int = 500, isolate: bool = False
    ) -> None:
        self._consumer = config.consumer(
            enable_auto_commit=False,
            isolation_level="read_committed",
            # Nothing resets by itself: an offset out of range is an error for the caller.
            auto_offset_reset="none",
            fetch_max_wait_ms=max_wait_ms,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        self._positions: dict[ClientPartition, int] = {}
        self._topics: set[str] = set()
        self.isolate = isolate
        self._answers: FetchAnswers | None = None
        self.faults = PartitionFaults()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            KafkaConnectionError: no broker answers.
        """
        try:
            await self._consumer.start()
            # One turn of the loop: a consumer stopped before its tasks have begun raises their
            # cancellation (aiokafka 0.14.0), in place of whatever error made the caller stop it.
            await asyncio.sleep(0)
            client = getattr(self._consumer, "_client", None)
            self._answers = None if client is None else FetchAnswers(client)
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        task = getattr(getattr(self._consumer, "_fetcher", None), "_fetch_task", None)
        if task is not None:
            await _end_fetching(task)
        await self._consumer.stop()

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets, instead of what was assigned before."""
        self._positions = {ClientPartition(*tp): offset for tp, offset in positions.items()}
        self._consumer.assign(list(self._positions))
        self._keep_leaders({tp.topic for tp in self._positions})
        for tp, offset in self._positions.items():
            self._consumer.seek(tp, offset)

    def _keep_leaders(self, topics: set[str]) -> None:
        """Have the client know the leaders of these topics, and of all that were named before.

        It waits for its answer before it asks for offsets. By itself it learns one topic per tenth
        of a second, and with an assignment it forgets those of all others.
        """
        client = getattr(self._consumer, "_client", None)
        if client is not None:  # a simulated consumer has none
            self._topics |= topics
            client.set_topics(self._topics)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Read on from here."""
        tp = ClientPartition(topic, partition)
        self._positions[tp] = offset
        self._consumer.seek(tp, offset)

    def rest(self, topic: str, partition: int, offset: int) -> None:
        """Fetch nothing of a partition until it is told to go on: it is read by other means."""
        tp = ClientPartition(topic, partition)
        self.faults.clear(*tp)
        self._positions[tp] = offset
        stand_still(self._consumer, tp, offset)

    def go_on(self, topic: str, partition: int, offset: int) -> None:
        """Fetch a partition from here on."""
        tp = ClientPartition(topic, partition)
        self.faults.clear(*tp)
        self._positions[tp] = offset
        go_on(self._consumer, tp, offset)

    async def poll(self, timeout_ms: int = 200, max_records: int | None = None) -> list[Chunk]:
        """What has come, one chunk per partition whose position moved; empty after the time-out.

        Raises:
            OffsetOutOfRangeError: the log no longer holds, or never held, the position.
            PartitionUnreadableError: a partition cannot be read, and this reader does not isolate.
            ReaderBrokenError: this reader is of no use any more; a new one is.
        """
        self._check_tasks()
        fetched = await self._fetch(timeout_ms, max_records)
        chunks = []
        for tp, start in self._positions.items():
            end = await self._consumer.position(tp)
            records = fetched.get(tp, ())
            if end == start and not records:
                continue
            self._positions[tp] = end
            self.faults.clear(*tp)
            chunks.append(
                Chunk(
                    tp.topic,
                    tp.partition,
                    start,
                    end,
                    tuple(
                        Record(r.offset, r.key, r.value, r.headers, r.timestamp) for r in records
                    ),
                )
            )
        return chunks

    async def _fetch(
        self, timeout_ms: int, max_records: int | None
    ) -> Mapping[ClientPartition, Sequence[Any]]:
        fetcher = getattr(self._consumer, "_fetcher", None)
        if fetcher is None:  # a simulated one, which breaks nothing
            fetched: Mapping[ClientPartition, Sequence[Any]] = await self._consumer.getmany(
                timeout_ms=timeout_ms, max_records=max_records
            )
            return fetched
        readable, again = self.faults.split(self._positions)
        for tp, offset in again.items():
            go_on(self._consumer, tp, offset)
        found, errors = await drain(fetcher, readable, timeout_ms / 1000, max_records)
        if self._answers is not None:
            errors |= self._answers.take()
            for tp in self._answers.take_empty():
                self.faults.answered(*tp)
        for tp, error in errors.items():
            if tp in self._positions:
                self._unreadable(tp, error)
        return found

    def _unreadable(self, tp: ClientPartition, error: Exception) -> None:
        """Stand still where the partition was read to."""
        offset = self._positions[tp]
        stand_still(self._consumer, tp, offset)
        if self.isolate:
            self.faults.add(tp.topic, tp.partition, offset, error)
        elif isinstance(error, OffsetOutOfRangeError):
            raise error
        else:
            raise PartitionUnreadableError(tp.topic, tp.partition, offset, error) from error

    def reject(self, chunk: Chunk, error: Exception) -> None:
        """What was read of a partition cannot be used: stand still in front of it."""
        tp = ClientPartition(chunk.topic, chunk.partition)
        self._positions[tp] = chunk.start
        stand_still(self._consumer, tp, chunk.start)
        self.faults.add(tp.topic, tp.partition, chunk.start, error)

    def _check_tasks(self) -> None:
        fetcher = getattr(self._consumer, "_fetcher", None)
        client = getattr(self._consumer, "_client", None)
        for task in (getattr(fetcher, "_fetch_task", None), getattr(client, "_sync_task", None)):
            if task is not None and task.done():
                raise ReaderBrokenError(f"task of the reader ended: {task.get_coro()}")

    def position(self, topic: str, partition: int) -> int:
        """The next offset that a poll would give."""
        return self._positions[ClientPartition(topic, partition)]

    def stable_and_end(self, topic: str, partition: int) -> tuple[int, int]:
        """Of the last fetch: the last stable offset and the high watermark (0, 0: none yet).

        Between the two lies an open transaction, and no committed reader passes it.
        """
        tp = ClientPartition(topic, partition)
        return self._consumer.last_stable_offset(tp) or 0, self._consumer.highwater(tp) or 0

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """For a committed reader the end: the last stable offset of each partition.

        Raises:
            ReaderBrokenError: this reader is of no use any more; a new one is.
        """
        self._check_tasks()
        self._keep_leaders({topic for topic, _ in partitions})
        return _ours(await self._consumer.end_offsets(_theirs(partitions)))

    async def begin_offsets(
        self, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """The first offset that the log still holds, of each partition."""
        self._keep_leaders({topic for topic, _ in partitions})
        return _ours(await self._consumer.beginning_offsets(_theirs(partitions)))

    async def high_watermarks(
        self, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """The next offset of each partition, whether what is before it was committed or not.

        Raises:
            ReaderBrokenError: this reader is of no use any more; a new one is.
        """
        self._check_tasks()
        self._keep_leaders({topic for topic, _ in partitions})
        fetcher = getattr(self._consumer, "_fetcher", None)
        if fetcher is None:  # a simulated one
            return _ours(await self._consumer.high_watermarks(_theirs(partitions)))
        # A consumer asks with its own isolation level. Over the same connections, a copy of its
        # fetcher asks with the other one.
        uncommitted = copy.copy(fetcher)
        uncommitted._isolation_level = 0  # noqa: SLF001 - aiokafka has no public way to ask both
        timeout_ms = self._consumer._request_timeout_ms  # noqa: SLF001 - the same
        return _ours(await uncommitted.end_offsets(_theirs(partitions), timeout_ms))

    async def stable_offsets(self, partitions: Sequence[TopicPartition]) -> StableOffsets:
        """How far committed readers come, then how far the partitions go.

        In this order a transaction that is committed meanwhile can be taken for an open one, and
        an open one never for none.
        """
        stable = await self.end_offsets(partitions)
        return StableOffsets(stable, await self.high_watermarks(partitions))

    async def settled_offsets(self, partitions: Sequence[TopicPartition]) -> StableOffsets:
        """How far the partitions go, and how far committed readers come once they come so far.

        A coordinator answers when it has decided, and writes the markers after that: what was
        committed before the call is below `stable` afterwards. A transaction that does not end
        within 5 s is left `open`.
        """
        ends = await self.high_watermarks(partitions)
        for _ in range(MARKER_TRIES - 1):
            found = StableOffsets(await self.end_offsets(partitions), ends)
            if not found.open:
                return found
            await asyncio.sleep(MARKER_PAUSE_S)
        return StableOffsets(await self.end_offsets(partitions), ends)


async def _end_fetching(task: "asyncio.Task[Any]") -> None:
    """End the client's task that fetches, before the client is told to stop.

    Just after an assignment it waits for the fetches of the one before, and takes its own
    cancellation for theirs (aiokafka 0.14.0): it goes on, and who waits for its end waits for ever.
    """
    for _ in range(FETCHING_ENDS_AFTER):
        task.cancel()
        await asyncio.wait([task], timeout=FETCHING_ENDS_WITHIN_S)
        if task.done():
            return
    raise ReaderBrokenError(f"task of the reader does not end: {task.get_coro()}")


def _theirs(partitions: Sequence[TopicPartition]) -> list[ClientPartition]:
    return [ClientPartition(*tp) for tp in partitions]


def _ours(offsets: Mapping[ClientPartition, int]) -> dict[TopicPartition, int]:
    return {TopicPartition(*tp): offset for tp, offset in offsets.items()}


async def holds_records(reader: LogReader, at: TopicPartition) -> bool:
    """Whether a partition holds a committed record; an aborted one takes offsets too."""
    begin, end = (await reader.begin_offsets([at]))[at], (await reader.end_offsets([at]))[at]
    reader.assign({at: begin})
    while reader.position(*at) < end:
        if any(chunk.records for chunk in await reader.poll(max_records=1)):
            return True
    return False
