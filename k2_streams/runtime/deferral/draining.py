"""Reads what was deferred: one partition of the deferred topic, from where it was drained to."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import Chunk, LogReader, Record
from k2_streams.runtime.control.supervisor import Supervisor

#: Records held ready: two batches of work, 1 MiB of a usual feed; and their bytes, where they are
#: large.
BUFFER_RECORDS_MAX = 4_096
BUFFER_BYTES_MAX = 16 << 20
POLL_RECORDS = 2_048
POLL_WAIT_MS = 500


class DrainReader:
    """Holds the next records ready. Used once: after an error, or an end, a new one is made.

    Args:
        kafka: the cluster.
        topic: of deferred records.
        partition: of the task.
        start: the first offset that has not been drained.
        on_ready: called when there is something to take, or an error.
        supervisor: of the worker's background tasks.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        topic: str,
        partition: int,
        start: int,
        on_ready: Callable[[], None],
        supervisor: Supervisor,
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._partition = partition
        self._start = start
        self._on_ready = on_ready
        self._chunks: deque[Chunk] = deque()
        self._records = 0
        self._size_bytes = 0
        self._room = asyncio.Event()
        self._reading = supervisor.spawn(f"drain-{partition}", self._read(), on_end=on_ready)

    def is_ready(self) -> bool:
        """Whether there is something to take.

        Raises:
            Exception: the reading ended with it.
        """
        if self._reading.done():
            self._reading.result()
        return bool(self._chunks)

    def take(self, at_most: int) -> tuple[Sequence[Record], int]:
        """The next records, of one fetch, and the position behind them."""
        chunk = self._chunks.popleft()
        records, rest = chunk.records[:at_most], chunk.records[at_most:]
        end = chunk.end
        if rest:
            end = rest[0].offset
            self._chunks.appendleft(Chunk(chunk.topic, chunk.partition, end, chunk.end, rest))
        self._records -= len(records)
        self._size_bytes -= _size_bytes(records)
        self._room.set()
        return records, end

    async def close(self) -> None:
        """Stop reading."""
        await self._reading.close()

    async def _read(self) -> None:
        async with LogReader(self._kafka) as reader:
            reader.assign({TopicPartition(self._topic, self._partition): self._start})
            while True:
                for chunk in await reader.poll(POLL_WAIT_MS, max_records=POLL_RECORDS):
                    self._chunks.append(chunk)
                    self._records += len(chunk.records)
                    self._size_bytes += _size_bytes(chunk.records)
                    self._on_ready()
                while self._is_full():
                    self._room.clear()
                    await self._room.wait()

    def _is_full(self) -> bool:
        return self._records >= BUFFER_RECORDS_MAX or self._size_bytes >= BUFFER_BYTES_MAX


def _size_bytes(records: Sequence[Record]) -> int:
    return sum(len(one.key or b"") + len(one.value or b"") for one in records)
