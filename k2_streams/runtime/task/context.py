"""What all tasks of one source share."""

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k2_streams.clock import Clock
from k2_streams.core.load.checkpoint_size import CheckpointSize
from k2_streams.core.records.record_failures import RecordFailures
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.kafka.topics import TopicInfo
from k2_streams.native import Native
from k2_streams.runtime.committed_rows import CommittedRows
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.program import Program
from k2_streams.state.rocks import ROCKS_DISK, Disk

if TYPE_CHECKING:  # commands that look at a changelog need no query engine
    from k2_streams.runtime.history.lake_history import LakeHistory


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What all tasks of one source share."""

    program: Program
    source: TopicInfo  # what is read
    settings: Settings
    kafka: KafkaConfig
    clock: Clock
    metrics: Metrics
    pool: ThreadPoolExecutor  # of one thread, which all tasks share
    settling: Settling
    overload: Overload
    supervisor: Supervisor
    disk: Disk = ROCKS_DISK
    history: "LakeHistory | None" = None  # None: the source's records come from its topic alone
    native: Native | None = None  # decodes the usual records of some feeds
    limits: Limits = DEFAULT_LIMITS
    #: By log, of those that have readers in this worker.
    committed: Mapping[str, CommittedRows] = field(default_factory=dict)
    #: By partition: they outlive the tasks that failed.
    failures: defaultdict[int, RecordFailures] = field(
        default_factory=lambda: defaultdict(RecordFailures)
    )
    #: By partition, too: a task that failed with a checkpoint leaves its successor smaller ones.
    sizes: dict[int, CheckpointSize] = field(default_factory=dict)
