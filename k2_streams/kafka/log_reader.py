"""A committed reader of named partitions, outside every group: for recovery, tails and tools."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka.errors import (
    ConsumerStoppedError,
    KafkaError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import TopicPartition

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
    timestamp_ms: int


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
        self._positions: dict[TopicPartition, int] = {}
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
        await self._consumer.stop()

    def assign(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Read these partitions from these offsets, instead of what was assigned before."""
        self._positions = {TopicPartition(*tp): offset for tp, offset in positions.items()}
        self._consumer.assign(list(self._positions))
        for tp, offset in self._positions.items():
            self._consumer.seek(tp, offset)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Read on from here."""
        tp = TopicPartition(topic, partition)
        self._positions[tp] = offset
        self._consumer.seek(tp, offset)

    async def poll(self, timeout_ms: int = 200, max_records: int | None = None) -> list[Chunk]:
        """What has come, a chunk a partition whose position moved; empty after the time-out.

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
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        fetcher = getattr(self._consumer, "_fetcher", None)
        if fetcher is None:  # a simulated one, which breaks nothing
            fetched: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(
                timeout_ms=timeout_ms, max_records=max_records
            )
            return fetched
        readable, again = self.faults.split(self._positions)
        for tp, offset in again.items():
            go_on(self._consumer, tp, offset)
        found, errors = await drain(fetcher, readable, timeout_ms / 1000, max_records)
        if self._answers is not None:
            errors |= self._answers.take()
        for tp, error in errors.items():
            if tp in self._positions:
                self._unreadable(tp, error)
        return found

    def _unreadable(self, tp: TopicPartition, error: Exception) -> None:
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
        tp = TopicPartition(chunk.topic, chunk.partition)
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
        return self._positions[TopicPartition(topic, partition)]

    def stable_and_end(self, topic: str, partition: int) -> tuple[int, int]:
        """Of the last fetch: the last stable offset and the high watermark (0, 0: none yet).

        Between the two lies an open transaction, and no committed reader passes it.
        """
        tp = TopicPartition(topic, partition)
        return self._consumer.last_stable_offset(tp) or 0, self._consumer.highwater(tp) or 0

    async def end_offsets(
        self, partitions: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], int]:
        """For a committed reader the end: the last stable offset of each partition.

        Raises:
            ReaderBrokenError: this reader is of no use any more; a new one is.
        """
        self._check_tasks()
        tps = [TopicPartition(*tp) for tp in partitions]
        return {(tp[0], tp[1]): end for tp, end in (await self._consumer.end_offsets(tps)).items()}

    async def begin_offsets(
        self, partitions: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], int]:
        """The first offset that the log still holds, of each partition."""
        tps = [TopicPartition(*tp) for tp in partitions]
        begins = await self._consumer.beginning_offsets(tps)
        return {(tp[0], tp[1]): begin for tp, begin in begins.items()}
