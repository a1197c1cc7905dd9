"""The trades that a platform holds: the lake's rows, and those of the log behind them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import pyarrow as pa

from k2_streams.core.query.keys import Keys
from k2_streams.core.records.expand import expand
from k2_streams.core.records.log_chunk import LogChunk
from k2_streams.core.records.stream import Stream
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.scan import scan
from k2_streams.lake.table import Lake
from k2_streams.runtime.repair.sources import RepairSourceError
from k2_streams.runtime.repair.trade_ids import HELD_COLUMNS


class HeldTrades:
    """Rows in `HELD_COLUMNS`: all that there are, and then those that came since.

    Args:
        lake: where it is.
        kafka: the brokers.
        stream: of the rows.
        partitions: of its log.
    """

    def __init__(
        self, lake: LakeConfig, kafka: KafkaConfig, stream: Stream, partitions: int
    ) -> None:
        self._config = lake
        self._kafka = kafka
        self._stream = stream
        self._next = dict.fromkeys(range(partitions), 0)  # in the log

    async def in_lake(self, keys: Keys, span_ns: tuple[int, int]) -> AsyncIterator[pa.Table]:
        """Rows of the lake, all of these keys and event times among them; the log goes on there.

        Raises:
            LakeError: it cannot be read.
        """
        with closing(Lake(self._config, stream=self._stream)) as lake:
            # Before the rows: what is committed meanwhile is read twice, and harms nobody.
            vector = (await asyncio.to_thread(lake.head)).vector
            for partition in self._next:
                self._next[partition] = vector.next_of(self._stream.log, partition) or 0
            first_ns, end_ns = span_ns
            parts = scan(lake, HELD_COLUMNS, keys=keys, start_ns=first_ns, end_ns=end_ns)
            while (part := await asyncio.to_thread(_next_of, parts)) is not None:
                yield part

    async def in_log(self) -> AsyncIterator[pa.Table]:
        """Rows that the log has behind what was read of lake and log before.

        Raises:
            RepairSourceError: the log no longer holds them.
        """
        log = self._stream.log
        starts = {TopicPartition(log, number): start for number, start in self._next.items()}
        async with LogReader(self._kafka) as reader:
            ends = (await reader.settled_offsets([*starts])).stable
            for at, begin in (await reader.begin_offsets([*starts])).items():
                if begin > starts[at]:
                    raise RepairSourceError(
                        f"{log}-{at.partition} begins at {begin}, and the lake ends at "
                        f"{starts[at]}: which trades lie between is not known: wait for the sink"
                    )
            reader.assign(starts)
            while any(reader.position(*at) < end for at, end in ends.items()):
                for found in await reader.poll():
                    chunk = LogChunk.decoded(
                        self._stream, found.partition, found.start, found.end, found.records
                    )
                    self._next[found.partition] = found.end
                    yield expand(self._stream, chunk.batches).select(HELD_COLUMNS)


def _next_of(parts: Iterator[pa.Table]) -> pa.Table | None:
    return next(parts, None)
