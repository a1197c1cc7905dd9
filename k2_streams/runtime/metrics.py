"""What a worker counts: Prometheus metrics, in one registry of its own."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from k2_streams.core.lines.stats import LineReport
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.state.state_table import Figures

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Every metric of a worker. Times are in seconds, as Prometheus has it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.records = Counter(
            "k2_records",
            "Raw records read, by feed; `other`: all whose feed this worker does not know",
            ["feed"],
            registry=r,
        )
        self.verdicts = Counter(
            "k2_verdicts", "What the sequencer said of messages", ["verdict"], registry=r
        )
        self.control = Counter(
            "k2_control_records",
            "Known messages that carry no trade, by what the venue calls them; `other`: all whose "
            "name the feed does not declare",
            ["feed", "event"],
            registry=r,
        )
        self.unknown_attributes = Counter(
            "k2_unknown_attributes",
            "Rows without an optional attribute (side) whose value the feed does not know",
            ["feed", "attribute"],
            registry=r,
        )
        self.dead_letters = Counter(
            "k2_dead_letters", "Records that could not be used, by reason", ["reason"], registry=r
        )
        self.accepted_rows = Counter("k2_accepted_rows", "Trades accepted", registry=r)
        self.dedup_ids = Counter(
            "k2_dedup_ids",
            "Trade ids of feeds without a sequence, by outcome: new, repeated, false_positives "
            "(new, and looked up in vain)",
            ["outcome"],
            registry=r,
        )
        self.dedup_held = Gauge(
            "k2_dedup_held_ids", "Trade ids remembered", ["partition"], registry=r
        )
        self.dedup_filter_bytes = Gauge(
            "k2_dedup_filter_bytes", "What the filters take in memory", ["partition"], registry=r
        )
        self.dedup_expected_rate = Gauge(
            "k2_dedup_expected_false_positive_rate",
            "By the formula: the share of new ids that are looked up in vain",
            ["partition"],
            registry=r,
        )
        self.line_messages = Gauge(
            "k2_line_messages",
            "Messages by each line of an exchange since its beginning, and those that came first",
            ["exchange", "line", "what"],
            registry=r,
        )
        self.excess_lines = Counter(
            "k2_excess_line_records",
            "Raw records by a line beyond those that a partition tracks: each counts as "
            "without a line",
            registry=r,
        )
        self.line_delay_seconds = Gauge(
            "k2_line_delay_seconds",
            "Mean of append time less event time, by line",
            ["exchange", "line"],
            registry=r,
        )
        self.line_loss = Gauge(
            "k2_line_loss",
            "Share of what was accepted of the exchange of which no copy came by this line",
            ["exchange", "line"],
            registry=r,
        )
        self.checkpoint_seconds = Histogram(
            "k2_checkpoint_seconds", "One transaction", registry=r, buckets=_SECONDS
        )
        self.checkpoint_failures = Counter(
            "k2_checkpoint_failures",
            "Checkpoints without success, by reason",
            ["reason"],
            registry=r,
        )
        self.take_over_seconds = Histogram(
            "k2_take_over_seconds", "Fence, recover, seek", registry=r, buckets=_SECONDS
        )
        self.lag_records = Gauge(
            "k2_lag_records", "Raw records not yet read", ["partition"], registry=r
        )
        self.deferred = Counter("k2_deferred_records", "Raw records put off", registry=r)
        self.drained = Counter("k2_drained_records", "Raw records drained", registry=r)
        self.waiting = Gauge("k2_deferred_waiting", "Raw records that wait", registry=r)
        self.level = Gauge("k2_level", "0 NORMAL to 4 CIRCUIT_BREAK", registry=r)
        self.level_changes = Counter(
            "k2_level_changes", "Changes of the level, by the new one", ["level"], registry=r
        )
        self.lag_seconds = Gauge(
            "k2_lag_seconds", "What waits, over the rate of the last 10 s; 0 if little", registry=r
        )
        self.memory_share = Gauge(
            "k2_memory_share", "Resident memory, of what the process may take", registry=r
        )
        self.stores_cache_bytes = Gauge(
            "k2_stores_cache_bytes", "Blocks of files of all RocksDB stores", registry=r
        )
        self.stores_buffers_bytes = Gauge(
            "k2_stores_buffers_bytes", "What all RocksDB stores have not put in files", registry=r
        )
        self.query_memory_bytes = Gauge(
            "k2_query_memory_bytes", "What DuckDB holds, at most its limit", registry=r
        )
        self.query_footers_bytes = Gauge(
            "k2_query_footers_bytes",
            "Of it, the footers of Parquet files, which make room for statements",
            registry=r,
        )
        self.background_task_failures = Counter(
            "k2_background_task_failures",
            "Background tasks that ended with an error, by task",
            ["task"],
            registry=r,
        )
        self.background_task_up = Gauge(
            "k2_background_task_up",
            "1 while a background task does its work, 0 while it waits to start again",
            ["task"],
            registry=r,
        )
        self.tasks = Gauge("k2_tasks", "Tasks of this worker, by state", ["state"], registry=r)
        self.commit_seconds = Histogram(
            "k2_lake_commit_seconds",
            "One Iceberg commit, with its files",
            registry=r,
            buckets=_SECONDS,
        )
        self.commit_rows = Counter("k2_lake_rows", "Rows committed to Iceberg", registry=r)
        self.commit_failures = Counter(
            "k2_lake_commit_failures", "Commits without success, by reason", ["reason"], registry=r
        )
        self.sink_refused = Gauge(
            "k2_sink_refused", "1 while K2 must not write to the Iceberg table", registry=r
        )
        self.sink_rows = Gauge("k2_sink_rows", "Rows waiting for an Iceberg commit", registry=r)
        self.tail_rows = Gauge("k2_tail_rows", "Rows the tail holds", registry=r)
        self.tail_bytes = Gauge("k2_tail_bytes", "What the tail takes in memory", registry=r)
        self.tail_spilled_bytes = Gauge(
            "k2_tail_spilled_bytes", "What the tail takes on disk", registry=r
        )
        self.tail_disk_limit_bytes = Gauge(
            "k2_tail_disk_limit_bytes", "What the tail may take on disk", registry=r
        )
        self.tail_held = Gauge(
            "k2_tail_holds_source", "1 while the source waits for room in the tail", registry=r
        )
        self.breakers = {
            name: (
                Gauge(f"k2_{name}_breaker", f"1 for the state: {what}", ["state"], registry=r),
                Counter(
                    f"k2_{name}_breaker_changes",
                    "Changes of its state, by the new one",
                    ["state"],
                    registry=r,
                ),
            )
            for name, what in (
                ("lake", "commits and the catalog"),
                ("store", "queries' reads of an object store"),
            )
        }
        self.stalled = Gauge(
            "k2_log_stalled",
            "1 while an open transaction holds readers back",
            ["partition"],
            registry=r,
        )
        self.freshness_seconds = Histogram(
            "k2_freshness_seconds",
            "From the broker's append of a raw record to its row in the "
            "tail, by the newest row of each checkpoint",
            registry=r,
            buckets=_SECONDS,
        )

        #: What tables and agents count and show: their figures name these.
        self._counters = {"dedup_ids": self.dedup_ids}
        self._gauges = {
            "dedup_held": self.dedup_held,
            "dedup_filter_bytes": self.dedup_filter_bytes,
            "dedup_expected_rate": self.dedup_expected_rate,
        }

    def count(self, epoch: Epoch) -> None:
        """Add what an epoch has brought about, once it is committed.

        Labels are values that K2 or a feed declares, never those of records.
        """
        for verdict, count in epoch.verdicts.items():
            self.verdicts.labels(verdict).inc(count)
        for reason, count in epoch.reasons.items():
            self.dead_letters.labels(reason).inc(count)
        for name, count in epoch.feeds.items():
            self.records.labels(name).inc(count)
        for labels, count in epoch.controls.items():
            self.control.labels(*labels).inc(count)
        for labels, count in epoch.unknown.items():
            self.unknown_attributes.labels(*labels).inc(count)
        self.excess_lines.inc(epoch.excess_lines)
        self.deferred.inc(len(epoch.put_off))
        self.drained.inc(epoch.drained)
        self.accepted_rows.inc(epoch.row_count)

    def add(self, counts: Figures) -> None:
        """Add what tables and agents have counted, once it is committed."""
        for (name, labels), count in counts.items():
            counter = self._counters[name]
            (counter.labels(*labels) if labels else counter).inc(count)

    def show(self, gauges: Figures) -> None:
        """Show what tables say of themselves."""
        for (name, labels), value in gauges.items():
            gauge = self._gauges[name]
            (gauge.labels(*labels) if labels else gauge).set(value)

    def show_lines(self, lines: Iterable[LineReport]) -> None:
        """The lines tracked now; series of lines that are no longer tracked are removed."""
        for gauge in (self.line_messages, self.line_delay_seconds, self.line_loss):
            gauge.clear()
        for line in lines:
            names = (line.exchange, line.line)
            self.line_messages.labels(*names, "received").set(line.received)
            self.line_messages.labels(*names, "first").set(line.first)
            if line.loss is not None:
                self.line_loss.labels(*names).set(line.loss)
            if line.delay_ms is not None:
                self.line_delay_seconds.labels(*names).set(line.delay_ms / 1000)
