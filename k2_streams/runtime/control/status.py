"""How a worker is: `/v1/status` and `/health/ready`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from k2_streams.clock import Clock
from k2_streams.core.lines.stats import reports
from k2_streams.core.load.degradation import Level
from k2_streams.core.records.stream import Stream
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.partition_faults import PartitionFault
from k2_streams.lake.breaker import Guard
from k2_streams.query.engine import EngineMemory
from k2_streams.runtime.assignment import Ownership
from k2_streams.runtime.control.load_monitor import LoadMonitor
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.control.topic_watch import TopicWatch
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.output import AnsweredLog, WrittenLog
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.lifecycle import TaskLifecycle, TaskState
from k2_streams.runtime.task.line_keeper import lines_of
from k2_streams.state.position import rows_of
from k2_streams.state.rocks import StoresMemory
from k2_streams.topology.declarations import Topology
from k2_streams.web.services import LinesFound, Readiness


@dataclass(frozen=True, slots=True)
class Monitors:
    """What is watched beside the parts themselves."""

    supervisor: Supervisor
    topics: TopicWatch
    consumer_faults: Callable[[], Sequence[PartitionFault]]
    stores: Callable[[], StoresMemory]
    queries: Callable[[], EngineMemory]


class Status:
    """Reads the parts; has no state of its own.

    Args:
        topology: what runs.
        settings: of the worker.
        owner: of the tasks.
        load: of the worker.
        overload: what the tasks read of the load.
        metrics: of the worker.
        clock: of this machine.
        written: the logs that this process writes.
        answered: those that it answers from.
        monitors: what is watched beside the parts themselves.
    """

    def __init__(
        self,
        topology: Topology,
        settings: Settings,
        owner: Ownership,
        load: LoadMonitor,
        overload: Overload,
        metrics: Metrics,
        clock: Clock,
        *,
        written: Sequence[WrittenLog],
        answered: Sequence[AnsweredLog],
        monitors: Monitors,
    ) -> None:
        self._settings = settings
        self._topology = topology
        self._has_one_source = len(topology.sources) == 1
        self._owner = owner
        self._written = written
        self._answered = answered
        #: Every log that it has to do with, its own first.
        self._logs = tuple(
            dict.fromkeys([*(log.stream for log in written), *(log.stream for log in answered)])
        )
        self._load = load
        self._overload = overload
        self._metrics = metrics
        self._clock = clock
        self._supervisor = monitors.supervisor
        self._consumer_faults = monitors.consumer_faults
        self._topics = monitors.topics
        self._stores = monitors.stores
        self._queries = monitors.queries
        self._started = clock.monotonic()

    def tick(self) -> None:
        """Once a second: the gauges of the whole worker, and what its answers say of it."""
        for state in TaskState:
            count = sum(task.state is state for task in self._owner.tasks.values())
            self._metrics.task.tasks.labels(state.value).set(count)
        if self._settings.processes:
            self._metrics.task.source_partitions.set(
                len(self._topology.sources) * self._settings.partitions
            )
        self._metrics.task.refused_partitions.set(len(self._owner.refused))
        self._metrics.task.unreadable_partitions.set(len(self._faults()))
        self._metrics.process.topic_problems.set(len(self._topics.problems))
        self._metrics.process.ready.set(self.ready().ok)
        written = {log.stream for log in self._written}
        for log in self._answered:
            if log.stream in written:
                log.node.report(self.lag_records, self._load.level.name)
        self._metrics.show_lines(self.lines().lines)

    @property
    def lag_records(self) -> int:
        """Records of this worker's source partitions, neither processed nor deferred yet.

        With those of partitions that were added to a source's topic and that nobody processes. Of a
        query node: of all partitions, as far as the logs tell.
        """
        owned = sum(task.lag_records for task in self._owner.tasks.values())
        followed = {log.node.source: log.node.reader.source_lag_records for log in self._answered}
        return owned + self._topics.unread_records + sum(followed.values())

    def lines(self) -> LinesFound:
        """`/v1/lines`: the redundant lines of this worker's partitions."""
        raw = self._topology.raw
        positions = {
            tp.partition: task.position
            for tp, task in sorted(self._owner.tasks.items())
            if task.position is not None and raw is not None and tp.topic == raw.topic
        }
        found = reports(line for position in positions.values() for line in lines_of(position))
        return LinesFound(found, list(positions), self._settings.partitions)

    def as_dict(self) -> dict[str, Any]:
        """`/v1/status`."""
        stores, queries = self._stores(), self._queries()
        raw = None if self._topology.raw is None else self._topology.raw.topic
        logs = {stream.name: self._log(stream) for stream in self._logs}
        found = {
            "worker": self._settings.member_id,
            "role": self._settings.role,
            "uptime_s": round(self._clock.monotonic() - self._started, 3),
            "level": self._load.level.name,
            "ready": self.ready().ok,
            "lag_records": self.lag_records,
            "memory_bytes": self._load.memory.used_bytes,
            "load": self._load_as_dict(),
            "partitions": {
                self._name(tp): _task(task, is_raw=tp.topic == raw)
                for tp, task in sorted(self._owner.tasks.items())
            },
            "background_tasks": self._supervisor.as_dict(),
            "topic_problems": [
                {"topic": p.topic, "setting": p.setting, "problem": p.text}
                for p in self._topics.problems
            ],
            "unreadable_partitions": [
                self._fault_as_dict(fault, reader) for reader, fault in self._faults()
            ],
            "refused": {
                self._name(tp): reason for tp, reason in sorted(self._owner.refused.items())
            },
            "query": {"memory_bytes": queries.used_bytes, "footers_bytes": queries.footers_bytes},
            "stores": {"cache_bytes": stores.cache_bytes, "buffers_bytes": stores.buffers_bytes},
            **next(iter(logs.values()), {}),
            "streams": logs,
        }
        return found if raw is None else found | self._dedup()

    def _dedup(self) -> dict[str, Any]:
        """How the raw source's records are deduplicated."""
        return {
            "dedup": "by sequence; without one by trade id, for as long as `dedup_ttl_s` says; "
            "records with neither are not deduplicated",
            "dedup_ttl_s": self._settings.dedup_ttl_s,
        }

    def _name(self, tp: TopicPartition) -> str:
        """A partition of the only source by its number, of several sources by topic and number."""
        return str(tp.partition) if self._has_one_source else f"{tp.topic}-{tp.partition}"

    def _log(self, stream: Stream) -> dict[str, Any]:
        """One log: its sink and its tail, as far as this process has them."""
        found: dict[str, Any] = {}
        for log in self._written:
            if log.stream is stream:
                found |= _sink(log)
        for answered in self._answered:
            if answered.stream is stream:
                found |= _tail(answered)
        return found

    def _where(self, log: WrittenLog | AnsweredLog) -> str:
        """Names the log in a reason, where there are several."""
        return "" if len(self._logs) == 1 else f"{log.stream.log}: "

    def _faults(self) -> list[tuple[str, PartitionFault]]:
        """Partitions that cannot be read, and by whom: the worker's consumer, or its answers."""
        return [
            *(("consumer", fault) for fault in self._consumer_faults()),
            *(("query", fault) for log in self._answered for fault in log.node.reader.faults),
        ]

    def _fault_as_dict(self, fault: PartitionFault, reader: str) -> dict[str, Any]:
        now_s = self._clock.monotonic()
        return {
            "reader": reader,
            "topic": fault.topic,
            "partition": fault.partition,
            "offset": fault.offset,
            "error": fault.error,
            "remedy": fault.remedy,
            "since_s": round(now_s - fault.since_s, 3),
            "attempts": fault.attempts,
            "retry_in_s": round(max(fault.retry_at_s - now_s, 0.0), 3),
        }

    def _tail_fault(self) -> str | None:
        for log in self._answered:
            node, where = log.node, self._where(log)
            if node.reader.error is not None:
                return f"{where}{node.reader.error}"
            if not node.tail.all_ready():
                return f"{where}still reading up to the log's end"
            if node.quota.is_source_paused:
                return f"{where}it is full, and the source is paused"
        return None

    def _load_as_dict(self) -> dict[str, Any]:
        signals, tiers = self._load.signals, self._overload.tiers
        lag_s = signals.lag_s
        return {
            "lag_records": signals.lag_records,
            "lag_s": None if lag_s is None or lag_s == float("inf") else round(lag_s, 3),
            "memory_share": round(signals.memory_share, 4),
            "memory_limit_bytes": self._load.memory.limit_bytes,
            "max_rate": self._settings.overload.max_rate,
            "worked_records": self._overload.worked,
            "deferred_records": sum(t.deferred_records for t in self._owner.tasks.values()),
            "deferred_scopes": sum(_deferred_scopes(t) for t in self._owner.tasks.values()),
            "tier_patterns": len(tiers.table),
            "tiers_error": tiers.error,
        }

    def ready(self) -> Readiness:
        """Whether this node's answers are what they should be."""
        found = self._why_not()
        return Readiness(ok=True) if found is None else Readiness(False, *found)  # noqa: FBT003 - its first field

    def _why_not(self) -> tuple[str, int] | None:
        """What is wrong, and after how many seconds it is worth asking again."""
        for _, fault in self._faults():
            where = f"{fault.topic}-{fault.partition} cannot be read at offset {fault.offset}"
            return f"{where}: {fault.error}; {fault.remedy}", 30
        for problem in self._topics.problems:
            return problem.text, 30
        tail = self._tail_fault()
        if tail is not None:
            return f"tail: {tail}", 1
        if self._load.level is Level.CIRCUIT_BREAK:
            return "level CIRCUIT_BREAK: the source is paused", self._load.retry_after_s
        if self._owner.refused:
            tp, reason = min(self._owner.refused.items())
            return f"partition {self._name(tp)}: {reason}", 30
        return self._parts_fault() or self._tasks_fault()

    def _parts_fault(self) -> tuple[str, int] | None:
        for task, error in self._supervisor.failing.items():
            return f"background task {task} failed: {error}", 1
        for log in self._written:
            if log.sink.error is not None:
                return f"sink: {self._where(log)}{log.sink.error}", 30
        return None

    def _tasks_fault(self) -> tuple[str, int] | None:
        tasks = sorted(self._owner.tasks.items())
        ended = [(self._name(tp), t) for tp, t in tasks if t.state is not TaskState.RUNNING]
        return (_why_ended(ended), 1) if ended else None


def _task(task: TaskLifecycle, *, is_raw: bool) -> dict[str, Any]:
    """One source partition; its tables as of the last checkpoint."""
    position = task.position
    tables = {name: found.rows for name, found in position.tables.items()} if position else {}
    return {
        "state": task.state.value,
        "next_offset": task.next_offset if position else None,
        "committed_offset": position.next_offset if position else None,
        "checkpoints": position.checkpoint if position else 0,
        **(
            {"scopes": rows_of(position, "sequence"), "ids": rows_of(position, "dedup")}
            if is_raw
            else {"tables": tables}
        ),
        "lag_records": task.lag_records,
        "deferred_records": task.deferred_records,
        "error": str(task.error) if task.error else None,
        "failure": _failure(task),
    }


def _sink(log: WrittenLog) -> dict[str, Any]:
    """How far a log is in its table."""
    sink = log.sink
    return {
        "sink": {
            "positions": {str(p): n for p, n in sorted(sink.positions.items())},
            "buffered_rows": sink.buffered_rows,
            "retrying": sink.retrying,
            "error": sink.error,
        },
        "breaker": _breaker(sink.guard),
        "maintenance": None if log.keeper is None else log.keeper.as_dict(),
    }


def _tail(log: AnsweredLog) -> dict[str, Any]:
    """How far answers from a log reach."""
    node = log.node
    view = node.tail.view().partitions
    return {
        "breaker": _breaker(node.guard),
        "store_breaker": None if node.reads is None else _breaker(node.reads),
        "tail": {
            "rows": node.tail.rows,
            "memory_bytes": node.tail.memory_bytes + node.tail.index_bytes,
            "spilled_bytes": node.tail.spilled_bytes,
            "disk_limit_bytes": node.quota.limit_bytes,
            "holds_source": node.quota.is_source_paused,
            "error": node.reader.error,
            "partitions": {
                str(p): {"evicted": part.evicted, "end": part.end, "raw_next": part.raw_next}
                for p, part in sorted(view.items())
            },
        },
        "watermark": {str(p): part.raw_next for p, part in sorted(view.items())},
        "dead_letters": node.reader.dead_letters.total,
    }


def _breaker(guard: Guard) -> dict[str, Any]:
    return {
        "state": guard.state.value,
        "since_s": round(guard.since_s, 3),
        "failures": guard.failures,
        "retry_after_s": round(guard.retry_after_s, 3),
    }


def _failure(task: TaskLifecycle) -> dict[str, Any] | None:
    """The records that could not be processed last, until the partition is well past them."""
    failures = task.failures
    last = failures.last  # read once: the tasks' thread may replace it meanwhile
    if last is None:
        return None
    return {
        "topic": task.topic,
        "offset": last.start,
        "last_offset": last.end - 1,
        "feed": last.feed,
        "error": last.error,
        "failures": last.count,
        "dead_letter": last.refused,
        "refused_records": failures.refused,
        "isolating": failures.is_isolating,
    }


def _why_ended(tasks: list[tuple[str, TaskLifecycle]]) -> str:
    """Partitions without a running task, and what their records failed on."""
    causes = [
        f"{task.topic}-{task.partition} offset {last.start}, "
        f"feed {last.feed or 'several'}: {last.error}"
        for _, task in tasks
        if (last := task.failures.last) is not None and not last.refused
    ]
    found = f"partitions being taken over: [{', '.join(name for name, _ in tasks)}]"
    return f"{found} ({'; '.join(causes)})" if causes else found


def _deferred_scopes(task: TaskLifecycle) -> int:
    return task.deferral.backlog.keys if task.deferral else 0
