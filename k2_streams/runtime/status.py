"""What a worker says of itself: `/v1/status` and `/health/ready`."""

from typing import Any

import psutil

from k2_streams.clock import Clock
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.node import Node
from k2_streams.runtime.ownership import Ownership
from k2_streams.runtime.settings import Settings
from k2_streams.runtime.sinking import SinkRunner
from k2_streams.runtime.task import TaskState
from k2_streams.web.services import Readiness


class Status:
    """Reads the parts; holds nothing of its own but the last look at the process."""

    def __init__(
        self,
        settings: Settings,
        owner: Ownership,
        sink: SinkRunner,
        node: Node,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._sink = sink
        self._node = node
        self._metrics = metrics
        self._clock = clock
        self._process = psutil.Process()
        self._started = clock.monotonic()
        self._rss_bytes = 0

    def tick(self) -> None:
        """Once a second: what is read from the system, and the gauges of the whole worker."""
        self._rss_bytes = self._process.memory_info().rss
        for state in TaskState:
            count = sum(task.state is state for task in self._owner.tasks.values())
            self._metrics.tasks.labels(state.value).set(count)
        self._node.report_lag(self.lag_records)

    @property
    def lag_records(self) -> int:
        """Raw records of this worker's partitions not yet worked."""
        return sum(task.lag_records for task in self._owner.tasks.values())

    def as_dict(self) -> dict[str, Any]:
        """`/v1/status`."""
        view = self._node.tail.view().partitions
        return {
            "worker": self._settings.member_id,
            "uptime_s": round(self._clock.monotonic() - self._started, 3),
            "level": "NORMAL",
            "ready": self.ready().ok,
            "lag_records": self.lag_records,
            "memory_bytes": self._rss_bytes,
            "partitions": {
                str(partition): {
                    "state": task.state.value,
                    "next_offset": task.next_offset if task.position else None,
                    "committed_offset": task.position.next_offset if task.position else None,
                    "checkpoints": task.position.epoch if task.position else 0,
                    "scopes": task.position.rows if task.position else 0,
                    "lag_records": task.lag_records,
                    "error": str(task.error) if task.error else None,
                }
                for partition, task in sorted(self._owner.tasks.items())
            },
            "refused": {str(p): reason for p, reason in sorted(self._owner.refused.items())},
            "sink": {
                "positions": {str(p): n for p, n in sorted(self._sink.positions.items())},
                "buffered_rows": self._sink.buffered_rows,
                "retrying": self._sink.retrying,
                "error": self._sink.error,
            },
            "breaker": self._breaker_as_dict(),
            "tail": {
                "rows": self._node.tail.rows,
                "memory_bytes": self._node.tail.memory_bytes + self._node.tail.index_bytes,
                "spilled_bytes": self._node.tail.spilled_bytes,
                "disk_limit_bytes": self._node.room.limit_bytes,
                "holds_source": self._node.room.is_held,
                "error": self._node.reader.error,
                "partitions": {
                    str(p): {"evicted": part.evicted, "end": part.end, "raw_next": part.raw_next}
                    for p, part in sorted(view.items())
                },
            },
            "watermark": {str(p): part.raw_next for p, part in sorted(view.items())},
            "dead_letters": self._node.reader.dead_letters,
            "dedup": "by sequence; records of feeds without a sequence are not deduplicated",
        }

    def _breaker_as_dict(self) -> dict[str, Any]:
        guard = self._sink.guard
        return {
            "state": guard.state.value,
            "since_s": round(guard.since_s, 3),
            "failures": guard.failures,
            "retry_after_s": round(guard.retry_after_s, 3),
        }

    def _tail_fault(self) -> str | None:
        if self._node.reader.error is not None:
            return self._node.reader.error
        if not self._node.tail.all_ready():
            return "still reading up to the log's end"
        return "it has no room, and the source waits" if self._node.room.is_held else None

    def ready(self) -> Readiness:
        """Whether this node's answers are what they should be."""
        tail = self._tail_fault()
        if tail is not None:
            return Readiness(ok=False, reason=f"tail: {tail}")
        if self._owner.refused:
            partition, reason = min(self._owner.refused.items())
            return Readiness(ok=False, reason=f"partition {partition}: {reason}", retry_after_s=30)
        if self._sink.error is not None:
            return Readiness(ok=False, reason=f"sink: {self._sink.error}", retry_after_s=30)
        ended = [p for p, task in self._owner.tasks.items() if task.state is not TaskState.RUNNING]
        if ended:
            return Readiness(ok=False, reason=f"partitions being taken over: {sorted(ended)}")
        return Readiness(ok=True)
