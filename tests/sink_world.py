"""A sink runner over a lake and a clock of the test's, and a log of which only the ends are asked.

What the runner asks of the flow (pause, seek) is noted, and the world reads on as Kafka would.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

from lake_rows import record

from k2_streams.core.load.circuit_breaker import BreakerPolicy
from k2_streams.core.records import log_record as trade_log
from k2_streams.core.records import stream as streams
from k2_streams.core.records.vector import TopicOffsets, Vector
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.topics import TRADES, TopicInfo
from k2_streams.lake.breaker import Guard
from k2_streams.lake.errors import LakeUnavailableError, VectorMovedError
from k2_streams.lake.snapshots import Committed, Head
from k2_streams.runtime.committed_rows import CommittedRows
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.limits import DEFAULT_LIMITS
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.sinks.runner import SinkRunner

TOPIC_ID = "topic-1"
T0_MS = 1_763_899_200_000


class HandClock:
    def __init__(self):
        self.now_s = 100.0

    def time_ns(self):
        return T0_MS * 1_000_000 + int((self.now_s - 100.0) * 1e9)

    def monotonic(self):
        return self.now_s


class FakeLake:
    """The vector alone; away for as long as the test says."""

    stream = streams.TRADES

    def __init__(self):
        self.next = {}
        self.away = False
        self.asked = 0
        self.commits = []  # (ranges, rows)

    def ensure(self):
        self._answer()

    def close(self):
        pass

    def _answer(self):
        self.asked += 1
        if self.away:
            raise LakeUnavailableError("away")

    def head(self):
        self._answer()
        vector = (
            Vector({TRADES: TopicOffsets(TOPIC_ID, dict(self.next))}) if self.next else Vector()
        )
        return Head(len(self.commits) or None, len(self.commits), vector, 0, 0)

    def append(self, rows, ranges, **_):
        self._answer()
        moved = {p: self.next[p] for p, r in ranges.items() if self.next.get(p, r.start) != r.start}
        if moved:
            raise VectorMovedError(TRADES, ranges, moved)
        self.commits.append((dict(ranges), rows.num_rows))
        self.next.update({p: r.end for p, r in ranges.items()})
        return Committed(len(self.commits), self.head(), len(self.commits), 1, 1, 0.0, 0.0, 1)


@dataclass
class FakeKafka:
    """Answers what a `LogReader` asks of the log's ends."""

    end: int = 1_000
    stable: int = 1_000

    def consumer(self, **_):
        async def nothing():
            pass

        async def begins(tps):
            return dict.fromkeys(tps, 0)

        async def ends(tps):
            return dict.fromkeys(tps, self.end)

        async def stables(tps):
            return dict.fromkeys(tps, self.stable)

        return SimpleNamespace(
            start=nothing,
            stop=nothing,
            beginning_offsets=begins,
            end_offsets=stables,
            high_watermarks=ends,
        )


class SinkWorld:
    """One partition of the log, one record an offset, two rows each."""

    def __init__(self, *, commit_rows=6, policy=None, lake=None, limits=DEFAULT_LIMITS):
        self.clock, self.lake, self.kafka = HandClock(), lake or FakeLake(), FakeKafka()
        self.paused, self.seeks, self.seen, self.memory = False, [], [], []
        self.committed = CommittedRows(self.clock, limits.committed_rows_bytes)
        self.position = 0
        self.metrics = Metrics()
        self.runner = SinkRunner(
            self.lake,
            self.kafka,
            TopicInfo(TRADES, TOPIC_ID, 1),
            self.metrics.lake.of("trades"),
            self.clock,
            commit_every_s=1.0,
            commit_rows=commit_rows,
            on_pause=self._pause,
            on_seek=self._seek,
            on_memory=lambda partitions, held: self.memory.append((set(partitions), held)),
            on_committed=self.seen.append,
            committed=self.committed,
            thread=ThreadPoolExecutor(1),
            guard=Guard(policy or BreakerPolicy(failures=2, open_s=20.0), self.clock),
            limits=limits,
        )

    def _pause(self, _partitions, paused):
        self.paused = paused

    def _seek(self, starts):
        self.seeks.append(dict(starts))
        self.position = starts.get(0, self.position)

    async def start(self):
        self.position = (await self.runner.assign({0}))[0]

    def read(self, records=1, *, age_ms=0):
        """So many records, unless the partition is paused; how many were read."""
        for _ in range(0 if self.paused else records):
            self.give(self.position, age_ms=age_ms)
            self.position += 1
        return 0 if self.paused else records

    def give(self, offset, *, age_ms=0, records=1, markers=0):
        """Hand records, and markers behind them, over, paused or not."""
        timestamp, end, found = self.clock.time_ns() // 1_000_000 - age_ms, offset + records, []
        for at in range(offset, end):
            value = trade_log.encode(record(0, at, 2).rows, 0, T0_MS * 1000)
            found.append(SimpleNamespace(value=value, offset=at, timestamp=timestamp, headers=()))
        end += markers
        self.runner.offer(Fetched(TopicPartition(TRADES, 0), offset, end, found, end))

    async def look(self, after_s=0.0):
        self.clock.now_s += after_s
        await self.runner.look()

    async def pass_time(self, seconds):
        """Look once a second, and read one record each time."""
        for _ in range(seconds):
            self.read()
            await self.look(after_s=1.0)
