"""Every panel of the dashboards, as a table.

An expression names metrics as they are declared; `files` adds the dashboard's variables to each of
them, and refuses a metric that no worker has. In `[@]` stands Grafana's window, which is never
narrower than four scrapes.
"""

from dataclasses import dataclass

#: Grafana's names of units.
RECORDS, PER_S, SECONDS, BYTES, SHARE, COUNT = (
    "short", "cps", "s", "bytes", "percentunit", "none",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """A query of a panel, and what its series are called."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: unique within its dashboard.
        description: what it tells, and when to worry.
        unit: of the values.
        targets: the queries.
    """

    title: str
    description: str
    unit: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class PanelRow:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One file.

    Attributes:
        name: of the file, and Grafana's uid.
        title: as people see it.
        rows: from top to bottom.
    """

    name: str
    title: str
    rows: tuple[PanelRow, ...]


def _panel(title: str, description: str, unit: str, *targets: tuple[str, str]) -> Panel:
    return Panel(title, description, unit, tuple(Target(*each) for each in targets))


def _quantiles(histogram: str, by: str) -> tuple[tuple[str, str], ...]:
    """The median and the 99th percentile of a histogram."""
    return tuple(
        (
            f"histogram_quantile({share}, sum by (le, {by}) (rate({histogram}_bucket[@])))",
            f"{name} {{{{{by}}}}}",
        )
        for share, name in ((0.5, "p50"), (0.99, "p99"))
    )


def _rate(counter: str, *by: str) -> tuple[str, str]:
    return (
        f"sum by ({', '.join(by)}) (rate({counter}[@]))",
        " ".join(f"{{{{{label}}}}}" for label in by),
    )


def _from_memory(counter: str, reader: str) -> tuple[str, str]:
    """The share of the rows that were taken from memory."""
    given = f'sum by (stream) (rate({counter}{{origin="memory"}}[@]))'
    return f"{given} / sum by (stream) (rate({counter}[@]))", f"{reader} {{{{stream}}}}"


INGEST = PanelRow(
    "Ingest",
    (
        _panel(
            "Source records", "Records processed per second. Zero in an open session: no data.",
            PER_S, _rate("k2_source_records_total", "feed"),
        ),
        _panel(
            "Lag", "Records between the tasks and the ends of their source partitions.",
            RECORDS, ("sum by (instance, topic) (k2_lag_records)", "{{instance}} {{topic}}"),
        ),
        _panel(
            "Freshness", "From the append of a source record to its row in the tail.",
            SECONDS, *_quantiles("k2_freshness_seconds", "stream"),
        ),
        _panel(
            "Checkpoints", "Duration of a checkpoint's transaction.",
            SECONDS, *_quantiles("k2_checkpoint_seconds", "instance"),
        ),
        _panel(
            "Degradation", "Level 0 is NORMAL, 4 is CIRCUIT_BREAK; lag in seconds beside it.",
            COUNT, ("max by (instance) (k2_degradation_level)", "level {{instance}}"),
            ("max by (instance) (k2_lag_seconds)", "lag in s {{instance}}"),
        ),
        _panel(
            "Source paused", "1 while a worker does not read its source, by reason.",
            COUNT, ("max by (reason) (k2_source_paused)", "{{reason}}"),
        ),
        _panel(
            "Tasks", "Running tasks; together they must be as many as there are source partitions.",
            COUNT, ("sum by (state) (k2_tasks)", "{{state}}"),
            ("max(k2_source_partitions)", "source partitions"),
        ),
        _panel(
            "Deferred", "The deferral backlog, and how fast it grows and is worked off.",
            RECORDS, ("sum(k2_deferred_backlog_records)", "backlog"),
            ("sum(rate(k2_deferred_records_total[@]))", "deferred per s"),
            ("sum(rate(k2_deferred_processed_records_total[@]))", "processed per s"),
        ),
    ),
)  # fmt: skip

STORAGE = PanelRow(
    "Storage",
    (
        _panel(
            "Rows committed to the lake", "Per second and log, beside the rows accepted.",
            PER_S, _rate("k2_lake_committed_rows_total", "stream"),
            ("sum(rate(k2_accepted_rows_total[@]))", "accepted"),
        ),
        _panel(
            "Lake commits", "Duration of an Iceberg commit, with its data files.",
            SECONDS, *_quantiles("k2_lake_commit_seconds", "stream"),
        ),
        _panel(
            "Failed commits", "Per second, by reason.",
            PER_S, _rate("k2_lake_commit_failures_total", "stream", "reason"),
        ),
        _panel(
            "Circuit breakers", "1 for the state that each breaker has.",
            COUNT,
            (
                'max by (stream, breaker, state) (k2_circuit_breaker_state{state!="closed"})',
                "{{stream}} {{breaker}} {{state}}",
            ),
        ),
        _panel(
            "Tail", "Rows that the lake does not contain yet, and rows that the sink holds.",
            RECORDS, ("sum by (stream) (k2_tail_rows)", "tail {{stream}}"),
            ("sum by (stream) (k2_sink_buffered_rows)", "sink {{stream}}"),
        ),
        _panel(
            "Tail's memory and disk", "The source is paused at four fifths of the disk quota.",
            BYTES, ("sum by (stream) (k2_tail_memory_bytes)", "memory {{stream}}"),
            ("sum by (stream) (k2_tail_spilled_bytes)", "disk {{stream}}"),
            ("sum by (stream) (k2_tail_spill_limit_bytes)", "quota {{stream}}"),
        ),
    ),
)  # fmt: skip

CORRECTNESS = PanelRow(
    "Correctness",
    (
        _panel(
            "Verdicts", "Messages per second by sequencing verdict.",
            PER_S, _rate("k2_verdicts_total", "verdict"),
        ),
        _panel(
            "Sequence events", "Gaps opened, filled and abandoned, and the others, per second.",
            PER_S, _rate("k2_sequence_events_total", "type"),
        ),
        _panel(
            "Dead letters", "Records per second that could not be processed, by reason.",
            PER_S, _rate("k2_dead_letters_total", "reason"),
        ),
        _panel(
            "Lines: loss", "Share of the exchange's messages that a line did not deliver.",
            SHARE,
            ("max by (exchange, line) (k2_line_loss_ratio)", "{{exchange}} {{line}}"),
        ),
        _panel(
            "Lines: delay", "Mean of append time minus event time.",
            SECONDS,
            ("max by (exchange, line) (k2_line_delay_seconds)", "{{exchange}} {{line}}"),
        ),
        _panel(
            "Trade ids", "Per second: new ones, repeated ones, and false positives of the filters.",
            PER_S, _rate("k2_dedup_ids_total", "outcome"),
            ("sum(rate(k2_dedup_false_positives_total[@]))", "false positives"),
        ),
        _panel(
            "Refused, unreadable, stalled", "Each of them needs a person.",
            COUNT, ("sum(k2_refused_partitions)", "refused partitions"),
            ("sum(k2_unreadable_partitions)", "unreadable partitions"),
            ("sum(k2_log_stalled)", "stalled logs"),
            ("sum(k2_sink_refused)", "refused sinks"),
            ("sum(k2_topic_problems)", "settings of topics"),
        ),
    ),
)  # fmt: skip

QUERIES = PanelRow(
    "Queries",
    (
        _panel(
            "Requests", "Per second, by path and status.",
            PER_S, _rate("k2_http_requests_total", "path", "status"),
        ),
        _panel(
            "Request durations", "Until the last byte is written.",
            SECONDS, *_quantiles("k2_http_request_seconds", "path"),
        ),
        _panel(
            "Failed requests", "Per second, with a status of 500 or above.",
            PER_S,
            (
                'sum(rate(k2_http_requests_total{status=~"5.."}[@])) or vector(0)',
                "5xx",
            ),
        ),
        _panel(
            "Connections", "Open ones, and those closed by the limits per second.",
            COUNT, ("sum by (instance) (k2_http_connections)", "open {{instance}}"),
            _rate("k2_http_connections_closed_total", "reason"),
        ),
        _panel(
            "Query memory", "DuckDB's, its limit, and what caches Parquet footers.",
            BYTES, ("sum by (instance) (k2_query_memory_bytes)", "used {{instance}}"),
            ("sum by (instance) (k2_query_memory_limit_bytes)", "limit {{instance}}"),
            ("sum by (instance) (k2_query_footer_cache_bytes)", "footers {{instance}}"),
            ("sum by (instance) (k2_http_response_memory_bytes)", "answers {{instance}}"),
        ),
    ),
)  # fmt: skip

MAINTENANCE = PanelRow(
    "Maintenance",
    (
        _panel(
            "Data files", "Of each table, and those that compaction leaves as they are.",
            COUNT, ("max by (stream) (k2_maintenance_table_files)", "files {{stream}}"),
            ("max by (stream) (k2_maintenance_unfit_files)", "unfit {{stream}}"),
        ),
        _panel(
            "Compaction", "Rows written again and files replaced, per second.",
            PER_S, _rate("k2_maintenance_compacted_rows_total", "stream"),
            ("sum(rate(k2_maintenance_compacted_files_total[@]))", "files"),
        ),
        _panel(
            "Expiry and deletion", "Snapshots expired and files deleted, per second.",
            PER_S, ("sum(rate(k2_maintenance_expired_snapshots_total[@]))", "snapshots"),
            ("sum(rate(k2_maintenance_deleted_files_total[@]))", "files"),
        ),
        _panel(
            "Failed looks", "Looks at a table that ended with an error, per second.",
            PER_S, _rate("k2_maintenance_failures_total", "stream"),
        ),
    ),
)  # fmt: skip

PROCESS = PanelRow(
    "Process",
    (
        _panel(
            "Ready", "1 while a worker answers queries.",
            COUNT, ("max by (instance) (k2_ready)", "{{instance}}"),
        ),
        _panel(
            "Memory", "Share of the limit; at 95 % the source is paused.",
            SHARE, ("max by (instance) (k2_memory_used_ratio)", "{{instance}}"),
        ),
        _panel(
            "RocksDB", "Block cache and memtables of all stores.",
            BYTES, ("sum by (instance) (k2_rocksdb_block_cache_bytes)", "cache {{instance}}"),
            ("sum by (instance) (k2_rocksdb_memtable_bytes)", "memtables {{instance}}"),
        ),
        _panel(
            "Background tasks", "Those that wait for their restart, and how often tasks ended.",
            COUNT, ("sum by (instance) (k2_background_task_up)", "up {{instance}}"),
            ("sum(rate(k2_background_task_failures_total[@])) or vector(0)", "failures per s"),
        ),
        _panel(
            "Take-overs", "Fence the previous owner, restore the tables, seek.",
            SECONDS, *_quantiles("k2_take_over_seconds", "instance"),
        ),
        _panel(
            "Tasks that ended", "Per second, by reason.",
            PER_S, _rate("k2_task_failures_total", "reason"),
        ),
        _panel(
            "Rows from memory", "Share of the rows that tail and sink did not read from Kafka.",
            SHARE,
            _from_memory("k2_tail_rows_read_total", "tail"),
            _from_memory("k2_sink_rows_read_total", "sink"),
        ),
        _panel(
            "Left to Python", "What the native decoder did not decode, per second.",
            PER_S, _rate("k2_native_decoder_fallbacks_total", "kind"),
        ),
    ),
)  # fmt: skip

DASHBOARDS = (
    Dashboard(
        "k2-streams", "K2 Streams", (INGEST, STORAGE, CORRECTNESS, QUERIES, MAINTENANCE)
    ),
    Dashboard("k2-workers", "K2 Streams: workers", (PROCESS,)),
)  # fmt: skip
