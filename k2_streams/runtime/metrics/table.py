"""Every metric of a worker: name, type, meaning, labels with their bounds, unit.

`docs/reference/metrics.md` is generated from this file. A label's value is one that K2, a setting
or a feed's description declares, never a record's or a caller's: the number of series has a bound.

To add a metric: declare it here, set it where it happens, move it in a test by its full name.
"""

from typing import get_args

from k2_streams.core.load.circuit_breaker import BreakerState
from k2_streams.core.load.degradation import Level
from k2_streams.core.records import events
from k2_streams.core.sequence.step import Verdict
from k2_streams.native import Fallback
from k2_streams.runtime.metrics.declaration import (
    Label,
    MetricGroup,
    counter,
    gauge,
    histogram,
)

_PARTITION = Label("partition", bound="partitions of the source topic (K2_PARTITIONS)")
_FEED = Label("feed", bound="feeds of the topology, and `other`")
_EXCHANGE = Label("exchange", bound="exchanges whose feeds have lines; 64 lines per partition")
_LINE = Label("line", bound="15 per exchange and partition, 64 per partition")
_TASK = Label("task", bound="background tasks of a worker, about 10 and 5 per log")
_PATH = Label("path", bound="routes of the server, and `unmatched`")
#: First label of all metrics of a group: what every log has. `group.of(stream.name)` sets it.
_STREAM = Label("stream", bound="logs of the topology")
_ORIGIN = Label("origin", ("memory", "log"))
_BREAKER = Label("breaker", ("lake", "store"))
_BREAKER_STATE = Label("state", tuple(state.value for state in BreakerState))

#: Why the source is paused: the lake is far behind the log, the tail's quota is used up, or the
#: degradation level is CIRCUIT_BREAK.
PAUSE_REASONS = ("lake_behind", "tail_full", "circuit_break")


class ProcessMetrics(MetricGroup):
    """The process, and what runs in it."""

    build_info = gauge(
        "1, with the versions that run, and the app",
        Label("version", bound="1"),
        Label("python_version", bound="1"),
        Label("app", bound="1 (K2_APP_ID)"),
        unit="info",
    )
    ready = gauge("1 while /health/ready answers 200", unit="state")
    topic_problems = gauge(
        "Topics' settings that are not what they must be; /v1/status names them", unit="settings"
    )
    session_open = gauge(
        "1 while the exchange's calendar has a session, and no break in it (K2_CALENDARS)",
        Label("exchange", bound="exchanges of K2_CALENDARS"),
        unit="state",
    )
    disk_free_bytes = gauge("Free space of the disk with the data directory", unit="bytes")
    memory_used_ratio = gauge("Resident memory over the memory limit of the process", unit="ratio")
    rocksdb_block_cache_bytes = gauge("Block cache of all RocksDB stores", unit="bytes")
    rocksdb_memtable_bytes = gauge(
        "Memtables of all RocksDB stores: writes that are not in a file yet", unit="bytes"
    )
    background_task_up = gauge(
        "1 while the background task runs, 0 while it waits for its restart", _TASK, unit="state"
    )
    background_task_failures_total = counter(
        "Background tasks that ended with an error", _TASK, unit="failures"
    )


class SourceMetrics(MetricGroup):
    """Source records: decoding and sequencing. Counted once committed, so a replay counts once."""

    source_records_total = counter(
        "Source records processed; feed `other`: all feeds that the worker does not know",
        _FEED,
        unit="records",
    )
    lag_records = gauge(
        "Source records between a task's position and the end offset",
        Label("topic", bound="sources of the topology"),
        _PARTITION,
        unit="records",
    )
    source_paused = gauge(
        "1 while the worker does not read its source, by reason",
        Label("reason", PAUSE_REASONS),
        unit="state",
    )
    verdicts_total = counter(
        "Messages by sequencing verdict",
        Label("verdict", tuple(verdict.name.lower() for verdict in Verdict)),
        unit="messages",
    )
    control_messages_total = counter(
        "Known messages without a trade; event `other`: names that the feed does not declare",
        _FEED,
        Label("event", bound="message names that the feed declares, and `other`"),
        unit="messages",
    )
    unknown_attributes_total = counter(
        "Rows whose optional attribute has a value that the feed does not know",
        _FEED,
        Label("attribute", bound="optional attributes of a row: `side`"),
        unit="rows",
    )
    sequence_events_total = counter(
        "Events of the sequencer written to k2.sequence-events, by type",
        Label("type", events.TYPES),
        unit="events",
    )
    dead_letters_total = counter(
        "Records written to the dead-letter topic",
        Label("reason", bound="reasons listed in docs/reference/feeds.md"),
        unit="records",
    )
    accepted_rows_total = counter("Rows written to the log", unit="rows")
    exchange_rows_total = counter(
        "Rows of an exchange of K2_CALENDARS written to the log",
        Label("exchange", bound="exchanges of K2_CALENDARS"),
        unit="rows",
    )


class DecodingMetrics(MetricGroup):
    """The native decoder, where it is used. A replay counts again."""

    native_decoder_fallbacks_total = counter(
        "What the native decoder left to Python: a partition's answers to a fetch, records, and "
        "calls in which it had a defect",
        Label("kind", get_args(Fallback)),
        unit="fallbacks",
    )


class AgentMetrics(MetricGroup):
    """Declared agents."""

    agent_rows_total = counter(
        "Rows of a log processed by an agent",
        Label("agent", bound="agents of the topology"),
        unit="rows",
    )


class DedupMetrics(MetricGroup):
    """Deduplication by trade id, of feeds without sequence numbers."""

    dedup_ids_total = counter(
        "Trade ids by lookup: not in the dedup table, or there already; repeats within a batch are "
        "found before the lookup",
        Label("outcome", ("new", "duplicate")),
        unit="ids",
    )
    dedup_false_positives_total = counter(
        "Bloom filter false positives: new ids that needed a lookup in RocksDB", unit="ids"
    )
    dedup_stored_ids = gauge("Trade ids in the dedup table", _PARTITION, unit="ids")
    dedup_filter_bytes = gauge("Memory of the Bloom filters", _PARTITION, unit="bytes")
    dedup_estimated_false_positive_ratio = gauge(
        "Estimated false-positive rate of the Bloom filters at their fill", _PARTITION, unit="ratio"
    )


class LineMetrics(MetricGroup):
    """Redundant lines of an exchange, as in `/v1/lines`."""

    line_messages = gauge(
        "Messages of the line since it was first seen: all, and those that were the first copy",
        _EXCHANGE,
        _LINE,
        Label("stage", ("received", "first")),
        unit="messages",
    )
    line_loss_ratio = gauge(
        "Share of the exchange's accepted messages of which the line delivered no copy",
        _EXCHANGE,
        _LINE,
        unit="ratio",
    )
    line_delay_seconds = gauge(
        "Mean of append time minus event time", _EXCHANGE, _LINE, unit="seconds"
    )
    untracked_line_records_total = counter(
        "Source records of lines beyond the limit per partition; processed as without a line",
        unit="records",
    )


class TaskMetrics(MetricGroup):
    """Tasks and their checkpoints."""

    tasks = gauge(
        "Tasks of the worker",
        Label("state", ("created", "recovering", "running", "fenced", "failed", "closed")),
        unit="tasks",
    )
    source_partitions = gauge(
        "Partitions of all sources, of which every one needs a running task in some worker",
        unit="partitions",
    )
    refused_partitions = gauge(
        "Partitions that wait for a person; /v1/status has the reason", unit="partitions"
    )
    unreadable_partitions = gauge(
        "Partitions that the consumer or the tail cannot read; /v1/status has offset and error",
        unit="partitions",
    )
    checkpoint_seconds = histogram("Duration of a checkpoint's transaction")
    task_failures_total = counter(
        "Tasks that ended because they were fenced or failed",
        Label("reason", ("fenced", "failed")),
        unit="tasks",
    )
    take_over_seconds = histogram(
        "Duration of a take-over: fence the previous owner, restore the tables, seek"
    )


class LoadMetrics(MetricGroup):
    """Degradation under load, and the deferral backlog."""

    degradation_level = gauge(
        "0 NORMAL, 1 SOFT, 2 GRACEFUL, 3 AGGRESSIVE, 4 CIRCUIT_BREAK", unit="level"
    )
    degradation_level_changes_total = counter(
        "Changes of the degradation level, by the new level",
        Label("level", tuple(level.name for level in Level)),
        unit="changes",
    )
    lag_seconds = gauge(
        "Lag and backlog over the processing rate of the last 10 s; 0 while both are small",
        unit="seconds",
    )
    deferred_records_total = counter("Source records deferred", unit="records")
    deferred_processed_records_total = counter(
        "Deferred records processed from the backlog", unit="records"
    )
    deferred_backlog_records = gauge("Deferred records in the backlog", unit="records")


class LakeMetrics(MetricGroup):
    """Per log its sink, its Iceberg commits, and its circuit breakers."""

    lake_commit_seconds = histogram(
        "Duration of an Iceberg commit, its data files included", _STREAM
    )
    lake_committed_rows_total = counter("Rows committed to Iceberg", _STREAM, unit="rows")
    lake_commit_failures_total = counter(
        "Iceberg commits that failed: catalog or store unavailable, table not writable, or the "
        "table's offset vector moved",
        _STREAM,
        Label("reason", ("unavailable", "config", "moved")),
        unit="commits",
    )
    sink_buffered_rows = gauge("Rows in the sink that are not committed yet", _STREAM, unit="rows")
    sink_rows_read_total = counter(
        "Rows read by the sink: given by a task of this worker at its commit, or fetched",
        _STREAM,
        _ORIGIN,
        unit="rows",
    )
    repair_asked_total = counter(
        "Missing numbers that repairs asked for, as the sink of the repairs' log reads it",
        _STREAM,
        unit="numbers",
    )
    repair_filled_total = counter("Of them those that were filled", _STREAM, unit="numbers")
    sink_refused = gauge(
        "1 while the sink refuses to write to its table; /v1/status has the reason",
        _STREAM,
        unit="state",
    )
    circuit_breaker_state = gauge(
        "1 for the current state of the circuit breaker: `lake` protects commits and the catalog, "
        "`store` the queries' reads of an object store",
        _STREAM,
        _BREAKER,
        _BREAKER_STATE,
        unit="state",
    )
    circuit_breaker_changes_total = counter(
        "State changes of the circuit breaker, by the new state",
        _STREAM,
        _BREAKER,
        _BREAKER_STATE,
        unit="changes",
    )


class MaintenanceMetrics(MetricGroup):
    """Per log the maintenance of its table, where this worker does it."""

    maintenance_compaction_seconds = histogram(
        "Duration of one compaction: files read, one written, proven and committed", _STREAM
    )
    maintenance_compacted_files_total = counter(
        "Data files that compaction has replaced", _STREAM, unit="files"
    )
    maintenance_compacted_rows_total = counter(
        "Rows that compaction has written again", _STREAM, unit="rows"
    )
    maintenance_table_files = gauge(
        "Data files of the table at the last look at what is to be compacted",
        _STREAM,
        unit="files",
    )
    maintenance_unfit_files = gauge(
        "Data files that compaction leaves as they are: another engine wrote them otherwise, or "
        "their rows could not be proven; the log says why",
        _STREAM,
        unit="files",
    )
    maintenance_expired_snapshots_total = counter(
        "Snapshots that maintenance has removed; a sink removes the oldest of 200 by itself",
        _STREAM,
        unit="snapshots",
    )
    maintenance_deleted_files_total = counter(
        "Files deleted some time after the last snapshot that reached them has expired",
        _STREAM,
        unit="files",
    )
    maintenance_failures_total = counter(
        "Looks at a table that ended with an error: catalog or store unavailable, or a table that "
        "K2 cannot write to",
        _STREAM,
        unit="looks",
    )


class TailMetrics(MetricGroup):
    """Per log its tail: rows of the log that the lake does not contain yet."""

    tail_rows = gauge("Rows in the tail", _STREAM, unit="rows")
    tail_rows_read_total = counter(
        "Rows read by the tail: given by a task of this worker at its commit, or fetched",
        _STREAM,
        _ORIGIN,
        unit="rows",
    )
    tail_memory_bytes = gauge("Memory of the tail, its index included", _STREAM, unit="bytes")
    tail_spilled_bytes = gauge("Disk space of the tail", _STREAM, unit="bytes")
    tail_spill_limit_bytes = gauge("Disk quota of the tail", _STREAM, unit="bytes")
    log_stalled = gauge(
        "1 while an open transaction keeps committed readers from the end of the log",
        _STREAM,
        _PARTITION,
        unit="state",
    )
    freshness_seconds = histogram(
        "From the append time of a source record to its row in the tail, for the newest row of "
        "each checkpoint; of a log without `ingest_time` from the checkpoint",
        _STREAM,
    )


class QueryMetrics(MetricGroup):
    """The query engine, which all logs of the worker share."""

    query_memory_bytes = gauge("Memory of DuckDB, limited by K2_QUERY_MEMORY_BYTES", unit="bytes")
    query_memory_limit_bytes = gauge("The limit of that memory", unit="bytes")
    query_footer_cache_bytes = gauge(
        "Part of it that caches Parquet footers; evicted when a statement needs memory",
        unit="bytes",
    )


class HttpMetrics(MetricGroup):
    """The HTTP server."""

    http_requests_total = counter(
        "HTTP requests answered; status 499: the client closed the connection first",
        Label("method", bound="7 methods, and `other`"),
        _PATH,
        Label("status", bound="statuses of docs/reference/http.md"),
        unit="requests",
    )
    http_request_seconds = histogram("Duration of a request until its last byte is written", _PATH)
    http_connections = gauge("Open connections", unit="connections")
    http_connections_closed_total = counter(
        "Connections closed by the connection limits",
        Label("reason", ("evicted", "timed_out", "refused")),
        unit="connections",
    )
    http_response_memory_bytes = gauge("Memory reserved for responses in progress", unit="bytes")
    streams = gauge("Open streams, limited by K2_STREAMS_MAX", unit="streams")
    streams_refused_total = counter(
        "Streams refused because K2_STREAMS_MAX were open", unit="streams"
    )
    stream_rows_total = counter("Rows given to streams", unit="rows")
    stream_fallbacks_total = counter(
        "Times that a stream's reader fell behind the tail and was served from the lake",
        unit="fallbacks",
    )
    stream_pace_error_seconds = histogram(
        "Of rows of a paced stream: time between when they were due and when they were given"
    )
