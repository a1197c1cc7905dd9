"""What all tasks of a worker share."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from k2_streams.clock import Clock
from k2_streams.core.enrich.instruments import PriceDomains, positive_prices
from k2_streams.core.enrich.notional import Notional, of_ones
from k2_streams.core.records.record_failures import RecordFailures
from k2_streams.core.records.source import RawInput
from k2_streams.feeds.feed import Feeds
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.hanging_transactions import Settling
from k2_streams.kafka.topics import TopicInfo
from k2_streams.runtime.control.supervisor import Supervisor
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.limits import DEFAULT_LIMITS, Limits
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import Settings
from k2_streams.state.rocks import ROCKS_DISK, Disk


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What all tasks of a worker share."""

    source: RawInput
    feeds: Feeds
    settings: Settings
    kafka: KafkaConfig
    clock: Clock
    metrics: Metrics
    pool: ThreadPoolExecutor  # of one thread, which all tasks share
    raw: TopicInfo
    deferred: TopicInfo
    changelog: TopicInfo
    ids_changelog: TopicInfo
    settling: Settling
    overload: Overload
    supervisor: Supervisor
    disk: Disk = ROCKS_DISK
    limits: Limits = DEFAULT_LIMITS
    notional: Notional = of_ones
    price_domains: PriceDomains = positive_prices
    #: By partition: they outlive the tasks that failed.
    failures: defaultdict[int, RecordFailures] = field(
        default_factory=lambda: defaultdict(RecordFailures)
    )
