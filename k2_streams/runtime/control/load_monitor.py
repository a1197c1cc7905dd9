"""Measures a worker's load twice a second and decides its level. A query node has none: NORMAL.

1. The end of every owned partition of the source is asked for: lag is what lies between it and the
   task's position, and what was deferred. A paused partition's lag is known as well.
2. The process's memory is measured against its limit.
3. `core.load.degradation.step` decides. A change is set for the tasks, then reported: log, metric,
   record of `k2.levels`.
4. In CIRCUIT_BREAK the source is held. What the allocators hold and nobody needs goes back to the
   system every few seconds: it would count as taken, and a worker whose source is paused would
   never come back. What refers to itself goes once a minute, from the first trigger of memory on as
   often.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import structlog

from k2_streams.clock import Clock
from k2_streams.core.load import level_changes
from k2_streams.core.load.degradation import (
    Degradation,
    LagClock,
    Level,
    Signals,
    reason,
    step,
)
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogError, LogReader
from k2_streams.kafka.publisher import NotPublishedError, Publisher
from k2_streams.runtime.assignment import Ownership
from k2_streams.runtime.control.memory import WorkerMemory
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.lifecycle import TaskState

log = structlog.get_logger(__name__)

#: Ends that come later are of no use: the next look asks again.
ENDS_WITHIN_S = 2.0
#: Changes not yet published: more than a day of flapping at the default cool-down would be.
UNPUBLISHED_MAX = 1_000
#: Between two times that the allocators give memory back: some milliseconds each. A busy worker
#: frees a few hundred MiB in that time, of which the C library keeps the most for good.
TRIM_EVERY_S = 5.0
#: Between two times, while memory is not tight, that what refers to itself is looked for as well:
#: pyiceberg's file access is such, which each commit leaves behind, and the collector's thresholds,
#: set for records by the ten thousand, let it look once in days. Takes some ten milliseconds.
COLLECT_AT_REST_EVERY_S = 60.0
#: Lag in seconds counts from this share of the first trigger in records.
LAG_FLOOR = 0.1


class LoadMonitor:
    """Owns the worker's level.

    Args:
        levels_topic: where changes of the level are published.
        settings: of the worker.
        owner: of the tasks whose backlog counts.
        overload: what the tasks read.
        metrics: of the worker.
        clock: for the cool-down.
        memory: of the process.
        pool: the tasks' thread.
        downstream_full: whether what comes behind the log takes nothing more.
        hold_source: pause and resume the sources.
        limits: for how often load is measured.
    """

    def __init__(  # noqa: PLR0913 - called once, where everything is wired
        self,
        levels_topic: str,
        settings: Settings,
        owner: Ownership,
        overload: Overload,
        metrics: Metrics,
        clock: Clock,
        memory: WorkerMemory,
        pool: ThreadPoolExecutor,
        *,
        downstream_full: Callable[[], bool],
        hold_source: Callable[[bool], None],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.memory = memory
        self.signals = Signals()
        self._levels_topic = levels_topic
        self._settings = settings
        self._policy = settings.overload.policy
        self._decides = settings.overload.enabled and settings.processes
        self._owner = owner
        self._overload = overload
        self._metrics = metrics
        self._clock = clock
        self._pool = pool
        self._downstream_full = downstream_full
        self._hold_source = hold_source
        self._tick_s = limits.load_tick_s
        self._state = Degradation(Level.NORMAL, clock.monotonic() - self._policy.cool_down_s)
        soft = self._policy.triggers[Level.SOFT].lag_records or 0
        self._lag_clock = LagClock(LAG_FLOOR * soft)
        self._ends = _Ends(settings.kafka)
        self._publisher = Publisher(settings.kafka)
        self._unpublished: deque[level_changes.LevelChanged] = deque(maxlen=UNPUBLISHED_MAX)
        self._trimmed_s = self._collected_s = 0.0

    @property
    def level(self) -> Level:
        """As decided last."""
        return self._state.level

    @property
    def retry_after_s(self) -> int:
        """When the level may be another one, at the earliest."""
        rested_s = self._clock.monotonic() - self._state.since_s
        return max(1, round(self._policy.cool_down_s - rested_s))

    async def run(self) -> None:
        """Measure and decide for ever."""
        triggers = {
            level.name: [trigger.lag_records, trigger.lag_s, trigger.memory_share]
            for level, trigger in sorted(self._policy.triggers.items())
        }
        log.info(
            "load is watched",
            enabled=self._decides,
            max_rate=self._settings.overload.max_rate,
            memory_limit_bytes=self.memory.limit_bytes,
            tier_patterns=len(self._overload.tiers.table),
            triggers=triggers,
        )
        while True:
            await asyncio.sleep(self._tick_s)
            self._overload.tiers.reload()
            await self.look()
            await self._publish()

    async def close(self) -> None:
        """Disconnect."""
        await self._ends.close()
        await self._publisher.close()

    async def look(self) -> None:
        """Measure once, and change the level if the policy says so."""
        tasks = {tp: t for tp, t in self._owner.tasks.items() if t.state is TaskState.RUNNING}
        for tp, end in (await self._ends.of(tasks)).items():
            tasks[tp].end_offset = max(tasks[tp].end_offset, end)
        now_s = self._clock.monotonic()
        waiting = sum(task.deferred_records for task in tasks.values())
        lag = waiting + sum(task.lag_records for task in tasks.values())
        signals = self.signals = Signals(
            lag_records=lag,
            lag_s=self._lag_clock.measure(lag, self._overload.worked, now_s),
            memory_share=self.memory.measure(),
            downstream_full=self._downstream_full(),
        )
        self._metrics.load.deferred_backlog_records.set(waiting)
        self._metrics.load.lag_seconds.set(signals.lag_s or 0.0)
        self._metrics.process.memory_used_ratio.set(signals.memory_share)
        if self._decides:
            after = step(self._state, signals, now_s, self._policy)
            if after is not self._state:
                self._change(after, signals)
        await self._trim(now_s)

    async def _trim(self, now_s: float) -> None:
        if now_s - self._trimmed_s < TRIM_EVERY_S:
            return
        self._trimmed_s = now_s
        tight = self.signals.memory_share >= self._policy.triggers[Level.SOFT].memory_share
        collects = tight or now_s - self._collected_s >= COLLECT_AT_REST_EVERY_S
        if collects:
            self._collected_s = now_s
        # Arrow's allocator has a heap per thread: those of the two that make most of the batches.
        self.memory.release_arrow()
        give_back = self.memory.release if collects else self.memory.trim
        await asyncio.get_running_loop().run_in_executor(self._pool, give_back)

    def _change(self, after: Degradation, signals: Signals) -> None:
        before, self._state = self._state, after
        self._overload.level = after.level
        broken = Level.CIRCUIT_BREAK in (before.level, after.level)
        if broken:
            self._hold_source(after.level is Level.CIRCUIT_BREAK)
        for task in self._owner.tasks.values():
            task.wake()
        change = level_changes.changed(
            self._settings.member_id,
            before.level,
            after.level,
            reason(before.level, after.level, signals, self._policy),
            signals,
            self._clock.time_ns() // 1_000,
        )
        self._unpublished.append(change)
        self._metrics.load.degradation_level.set(int(after.level))
        self._metrics.load.degradation_level_changes_total.labels(after.level.name).inc()
        log.warning(
            "degradation level changed",
            degradation_level=change.level,
            previous_level=change.previous,
            reason=change.reason,
            lag_records=change.lag_records,
            lag_s=change.lag_s,
            memory_share=change.memory_share,
        )

    async def _publish(self) -> None:
        while self._unpublished:
            change = self._unpublished[0]
            try:
                await self._publisher.publish(
                    self._levels_topic, change.worker.encode(), level_changes.encode(change)
                )
            except NotPublishedError as error:
                log.warning("level change not published yet", error=str(error))
                return
            self._unpublished.popleft()


class _Ends:
    """The sources' ends, asked of the broker; a broker that is away leaves the last ones known."""

    def __init__(self, kafka: KafkaConfig) -> None:
        self._kafka = kafka
        self._reader: LogReader | None = None

    async def of(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The end of each partition; none while the broker does not answer."""
        asked = sorted(tps)
        if not asked:
            return {}
        try:
            async with asyncio.timeout(ENDS_WITHIN_S):
                if self._reader is None:
                    self._reader = await LogReader(self._kafka).__aenter__()
                ends = await self._reader.end_offsets(asked)
        except (LogError, OSError, TimeoutError) as error:
            log.warning("source end offsets not known", error=str(error) or type(error).__name__)
            await self.close()
            return {}
        return {tp: ends[tp] for tp in asked}

    async def close(self) -> None:
        """Disconnect."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.__aexit__(None, None, None)
