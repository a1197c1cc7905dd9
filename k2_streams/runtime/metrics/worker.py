"""All metrics of a worker, in one registry of its own; and what is counted in several places."""

import collections
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

import pyarrow.compute as pc
from prometheus_client import CollectorRegistry, Counter, Gauge

from k2_streams.core.lines.stats import LineReport
from k2_streams.core.load.circuit_breaker import BreakerState
from k2_streams.core.records import events
from k2_streams.native import Fallback
from k2_streams.runtime.metrics import table
from k2_streams.runtime.metrics.web import WebMetrics
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.state.state_table import Figures

_DISTRIBUTION = "k2-streams"
_EXCHANGE = "exchange"


class Metrics:
    """A worker's metrics, one attribute per group.

    Args:
        app_id: of the app that the worker runs: one Prometheus may scrape several.
    """

    def __init__(self, app_id: str = "k2") -> None:
        registry = self.registry = CollectorRegistry()
        self.process = table.ProcessMetrics(registry)
        self.source = table.SourceMetrics(registry)
        self.decoding = table.DecodingMetrics(registry)
        self.agents = table.AgentMetrics(registry)
        self.dedup = table.DedupMetrics(registry)
        self.lines = table.LineMetrics(registry)
        self.task = table.TaskMetrics(registry)
        self.load = table.LoadMetrics(registry)
        self.lake = table.LakeMetrics(registry)
        self.maintenance = table.MaintenanceMetrics(registry)
        self.tail = table.TailMetrics(registry)
        self.query = table.QueryMetrics(registry)
        self.web = WebMetrics(registry)
        groups = (
            self.process,
            self.source,
            self.agents,
            self.dedup,
            self.lines,
            self.task,
            self.load,
        )
        declared = [each for group in groups for each in vars(group).items()]
        self._with_calendar: frozenset[str] = frozenset()
        self._counters = {name: each for name, each in declared if isinstance(each, Counter)}
        self._gauges = {name: each for name, each in declared if isinstance(each, Gauge)}
        self.process.build_info.labels(_version(), platform.python_version(), app_id).set(1)

    def count(self, epoch: Epoch) -> None:
        """Add what an epoch has brought about, once it is committed."""
        source, load = self.source, self.load
        for verdict, count in epoch.verdicts.items():
            source.verdicts_total.labels(verdict).inc(count)
        for reason, count in epoch.reasons.items():
            source.dead_letters_total.labels(reason).inc(count)
        for name, count in epoch.feeds.items():
            source.source_records_total.labels(name).inc(count)
        for labels, count in epoch.controls.items():
            source.control_messages_total.labels(*labels).inc(count)
        for labels, count in epoch.unknown.items():
            source.unknown_attributes_total.labels(*labels).inc(count)
        for name, count in collections.Counter(map(events.type_of, epoch.events)).items():
            source.sequence_events_total.labels(name).inc(count)
        source.accepted_rows_total.inc(epoch.row_count)
        if self._with_calendar:
            self._count_by_exchange(epoch)
        self.add(epoch.figures)
        self.lines.untracked_line_records_total.inc(epoch.excess_lines)
        load.deferred_records_total.inc(len(epoch.newly_deferred))
        load.deferred_processed_records_total.inc(epoch.drained)

    def _count_by_exchange(self, epoch: Epoch) -> None:
        for batches in epoch.rows.values():
            for batch in batches:
                if _EXCHANGE not in batch.schema.names:
                    continue
                for found in pc.value_counts(batch.column(_EXCHANGE)).to_pylist():
                    if found["values"] in self._with_calendar:
                        counter = self.source.exchange_rows_total.labels(found["values"])
                        counter.inc(found["counts"])

    def left_to_python(self, kind: Fallback, count: int) -> None:
        """Add what the native decoder did not take; from any thread."""
        self.decoding.native_decoder_fallbacks_total.labels(kind).inc(count)

    def add(self, counts: Figures) -> None:
        """Add what tables and agents have counted, once it is committed.

        Figures name a metric by its attribute in the table.

        Raises:
            KeyError: there is no such counter.
        """
        for (name, labels), count in counts.items():
            counter = self._counters[name]
            (counter.labels(*labels) if labels else counter).inc(count)

    def show(self, gauges: Figures) -> None:
        """Show what tables measure of themselves.

        Raises:
            KeyError: there is no such gauge.
        """
        for (name, labels), value in gauges.items():
            gauge = self._gauges[name]
            (gauge.labels(*labels) if labels else gauge).set(value)

    def show_session(self, exchange: str, is_open: bool) -> None:
        """Show whether an exchange has a session, and count its rows from now on.

        From any thread.
        """
        self.process.session_open.labels(exchange).set(is_open)
        self.source.exchange_rows_total.labels(exchange).inc(0)
        self._with_calendar |= {exchange}

    def show_lines(self, lines: Iterable[LineReport]) -> None:
        """The lines tracked now; series of lines that are no longer tracked are removed."""
        metrics = self.lines
        for gauge in (metrics.line_messages, metrics.line_delay_seconds, metrics.line_loss_ratio):
            gauge.clear()
        for line in lines:
            names = (line.exchange, line.line)
            metrics.line_messages.labels(*names, "received").set(line.received)
            metrics.line_messages.labels(*names, "first").set(line.first)
            if line.loss is not None:
                metrics.line_loss_ratio.labels(*names).set(line.loss)
            if line.delay_ms is not None:
                metrics.line_delay_seconds.labels(*names).set(line.delay_ms / 1000)

    def breaker(self, stream: str, name: str) -> Callable[[BreakerState], None]:
        """What shows the states of a log's circuit breaker, which begins closed."""
        lake = self.lake.of(stream)

        def show(state: BreakerState) -> None:
            for each in BreakerState:
                lake.circuit_breaker_state.labels(name, each.value).set(each is state)

        def changed(state: BreakerState) -> None:
            lake.circuit_breaker_changes_total.labels(name, state.value).inc()
            show(state)

        show(BreakerState.CLOSED)
        return changed


def _version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:  # run from sources that are not installed
        return "unknown"
