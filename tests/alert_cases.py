"""Series by which each alert fires and resolves, in the notation of `promtool test rules`.

Every minute has a sample. The fault begins in minute 11 and ends in minute 40:

    minute   0 ... 10   11 ... 40   41 ... 100
    series     good        bad         good
"""

from dataclasses import dataclass, field

ONSET_MIN, END_MIN, LAST_MIN = 11, 40, 100
#: Samples before, in and after the fault.
_BEFORE, _WITHIN, _AFTER = ONSET_MIN, END_MIN - ONSET_MIN + 1, LAST_MIN - END_MIN
#: At this time an alert with a window of 30 minutes or less has fired, and at that one resolved.
FIRED_MIN, RESOLVED_MIN = END_MIN, LAST_MIN - 5
WEEK_MIN = 7 * 24 * 60


@dataclass(frozen=True)
class AlertCase:
    """One alert: what is scraped, and the labels that it fires with.

    Attributes:
        series: by name and labels.
        labels: of the alert, beside its name and severity.
        offset_min: when minute 0 is, where a rule looks back further.
        resolved_min: when it has resolved.
    """

    series: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    offset_min: int = 0
    resolved_min: int = RESOLVED_MIN


def gauge(good: float, bad: float) -> str:
    """A value that is another one while the fault lasts."""
    return f"{good}x{_BEFORE - 1} {bad}x{_WITHIN - 1} {good}x{_AFTER - 1}"


def counter(good: float, bad: float, before: float = 0) -> str:
    """A count that grows by so much per minute."""
    first = before + good * _BEFORE
    last = first + bad * _WITHIN
    return f"{before}+{good}x{_BEFORE - 1} {first}+{bad}x{_WITHIN - 1} {last}+{good}x{_AFTER - 1}"


def histogram(name: str, labels: str, slow_s: str) -> dict[str, str]:
    """One observation per second: in the bucket of 0.1 s, and in the fault in that of `slow_s`."""
    return {
        f'{name}{{{labels},le="0.1"}}': counter(60, 0),
        f'{name}{{{labels},le="{slow_s}"}}': counter(60, 60),
        f'{name}{{{labels},le="+Inf"}}': counter(60, 60),
    }


_A = 'instance="a"'
_B = 'instance="b"'
_LOG = 'instance="a",stream="trades"'
_ON_A = {"instance": "a"}
_ON_LOG = {"instance": "a", "stream": "trades"}

CASES = {
    "K2WorkerDown": AlertCase(
        {'up{job="k2",instance="a"}': gauge(1, 0)}, {"job": "k2", "instance": "a"}
    ),
    "K2NoWorkers": AlertCase(
        {'up{job="k2",instance="a"}': f"1x{_BEFORE - 1} _x{_WITHIN} 1x{_AFTER}"}, {"job": "k2"}
    ),
    "K2WorkerNotReady": AlertCase({f"k2_ready{{{_A}}}": gauge(1, 0)}, _ON_A),
    "K2BackgroundTaskDown": AlertCase(
        {f'k2_background_task_up{{{_A},task="sink"}}': gauge(1, 0)}, _ON_A | {"task": "sink"}
    ),
    "K2BackgroundTaskFailing": AlertCase(
        {f'k2_background_task_failures_total{{{_A},task="sink"}}': counter(0, 1)},
        _ON_A | {"task": "sink"},
    ),
    "K2PartitionRefused": AlertCase({f"k2_refused_partitions{{{_A}}}": gauge(0, 1)}, _ON_A),
    # The tasks of another app's workers make up for none.
    "K2PartitionUnowned": AlertCase(
        {
            f'k2_build_info{{{_A},app="k2"}}': gauge(1, 1),
            f'k2_tasks{{{_A},state="running"}}': gauge(4, 3),
            f'k2_tasks{{{_A},state="recovering"}}': gauge(0, 1),
            f"k2_source_partitions{{{_A}}}": gauge(4, 4),
            f'k2_build_info{{{_B},app="bars"}}': gauge(1, 1),
            f'k2_tasks{{{_B},state="running"}}': gauge(4, 4),
            f"k2_source_partitions{{{_B}}}": gauge(4, 4),
        },
        {"app": "k2"},
    ),
    "K2PartitionUnreadable": AlertCase({f"k2_unreadable_partitions{{{_A}}}": gauge(0, 2)}, _ON_A),
    "K2TopicAltered": AlertCase({f"k2_topic_problems{{{_A}}}": gauge(0, 1)}, _ON_A),
    "K2LagHigh": AlertCase({f"k2_lag_seconds{{{_A}}}": gauge(0, 90)}, _ON_A),
    "K2LagGrowing": AlertCase(
        {f'k2_lag_records{{{_A},topic="k2.trades.raw",partition="0"}}': counter(0, 12_000)},
        {"topic": "k2.trades.raw"},
    ),
    "K2RetentionRisk": AlertCase({f"k2_lag_seconds{{{_A}}}": gauge(10, 90_000)}, _ON_A),
    "K2FreshnessSlow": AlertCase(histogram("k2_freshness_seconds_bucket", _LOG, "5.0"), _ON_LOG),
    "K2NoData": AlertCase(
        {
            f'k2_source_records_total{{{_A},feed="canonical"}}': (
                f"0+600x{WEEK_MIN + ONSET_MIN - 1} "
                f"{600 * (WEEK_MIN + ONSET_MIN - 1)}x{_WITHIN - 1} "
                f"{600 * (WEEK_MIN + ONSET_MIN)}+600x{_AFTER}"
            )
        },
        offset_min=WEEK_MIN,
    ),
    "K2ExchangeSilent": AlertCase(
        {
            f'k2_exchange_rows_total{{{_A},exchange="X"}}': counter(60, 0),
            f'k2_exchange_rows_total{{{_A},exchange="Y"}}': counter(60, 60),
            f'k2_session_open{{{_A},exchange="X"}}': gauge(1, 1),
            f'k2_session_open{{{_A},exchange="Y"}}': gauge(1, 1),
        },
        {"exchange": "X"},
    ),
    "K2SourcePaused": AlertCase(
        {f'k2_source_paused{{{_A},reason="tail_full"}}': gauge(0, 1)},
        _ON_A | {"reason": "tail_full"},
    ),
    "K2TransactionStalled": AlertCase(
        {f'k2_log_stalled{{{_LOG},partition="2"}}': gauge(0, 1)}, _ON_LOG | {"partition": "2"}
    ),
    "K2TaskFailing": AlertCase(
        {f'k2_task_failures_total{{{_A},reason="failed"}}': counter(0, 1)},
        _ON_A | {"reason": "failed"},
    ),
    "K2TaskFenced": AlertCase(
        {f'k2_task_failures_total{{{_A},reason="fenced"}}': counter(0, 1)},
        _ON_A | {"reason": "fenced"},
    ),
    "K2CheckpointSlow": AlertCase(histogram("k2_checkpoint_seconds_bucket", _A, "5.0"), _ON_A),
    "K2TakeOverSlow": AlertCase(histogram("k2_take_over_seconds_bucket", _A, "60.0"), _ON_A),
    "K2RebalancingOften": AlertCase(
        {
            f"k2_take_over_seconds_count{{{_A}}}": counter(0, 12),
            f"k2_source_partitions{{{_A}}}": gauge(4, 4),
        },
        _ON_A,
    ),
    "K2LakeCommitStalled": AlertCase(
        {
            f"k2_sink_buffered_rows{{{_LOG}}}": gauge(0, 900),
            f"k2_lake_committed_rows_total{{{_LOG}}}": counter(600, 0),
        },
        _ON_LOG,
    ),
    "K2LakeCommitFailing": AlertCase(
        {f'k2_lake_commit_failures_total{{{_LOG},reason="unavailable"}}': counter(0, 1)},
        _ON_LOG | {"reason": "unavailable"},
    ),
    "K2LakeCommitSlow": AlertCase(
        histogram("k2_lake_commit_seconds_bucket", _LOG, "30.0"), _ON_LOG
    ),
    "K2LakeContention": AlertCase(
        {f'k2_lake_commit_failures_total{{{_LOG},reason="moved"}}': counter(0, 6)}, _ON_LOG
    ),
    "K2LakeBreakerOpen": AlertCase(
        {f'k2_circuit_breaker_state{{{_LOG},breaker="lake",state="closed"}}': gauge(1, 0)}, _ON_LOG
    ),
    "K2StoreBreakerOpen": AlertCase(
        {f'k2_circuit_breaker_state{{{_LOG},breaker="store",state="closed"}}': gauge(1, 0)}, _ON_LOG
    ),
    "K2SinkRefused": AlertCase({f"k2_sink_refused{{{_LOG}}}": gauge(0, 1)}, _ON_LOG),
    "K2TailRoomLow": AlertCase(
        {
            f"k2_tail_spilled_bytes{{{_LOG}}}": gauge(0, 800),
            f"k2_tail_spill_limit_bytes{{{_LOG}}}": gauge(1000, 1000),
        },
        _ON_LOG,
    ),
    "K2MaintenanceFailing": AlertCase(
        {f"k2_maintenance_failures_total{{{_LOG}}}": counter(0, 1)}, _ON_LOG, resolved_min=100
    ),
    "K2UnfitFiles": AlertCase(
        {f"k2_maintenance_unfit_files{{{_LOG}}}": f"0x{_BEFORE - 1} 2x80 0x60"},
        _ON_LOG,
        resolved_min=120,
    ),
    "K2GapsOpening": AlertCase(
        {f'k2_sequence_events_total{{{_A},type="gap_opened"}}': counter(1, 20)}
    ),
    "K2NumbersAbandoned": AlertCase(
        {f'k2_sequence_events_total{{{_A},type="gap_abandoned"}}': counter(0, 1)}
    ),
    "K2LineLoss": AlertCase(
        {
            f'k2_line_messages{{{_A},exchange="X",line="A",stage="received"}}': counter(100, 80),
            f'k2_line_messages{{{_A},exchange="X",line="B",stage="received"}}': counter(100, 100),
            f'k2_line_messages{{{_A},exchange="X",line="A",stage="first"}}': counter(50, 40),
            f'k2_line_messages{{{_A},exchange="X",line="B",stage="first"}}': counter(50, 60),
        },
        {"exchange": "X", "line": "A"},
    ),
    "K2LineSilent": AlertCase(
        {
            f'k2_line_messages{{{_A},exchange="X",line="A",stage="received"}}': counter(9, 0),
            f'k2_line_messages{{{_A},exchange="X",line="B",stage="received"}}': counter(9, 9),
        },
        _ON_A | {"exchange": "X", "line": "A", "stage": "received"},
    ),
    "K2DeadLetters": AlertCase(
        {f'k2_dead_letters_total{{{_A},reason="not-json"}}': counter(0, 5)},
        _ON_A | {"reason": "not-json"},
    ),
    "K2ProcessingErrors": AlertCase(
        {
            f'k2_dead_letters_total{{{_A},reason="processing-error"}}': (
                f"0x{_BEFORE - 1} 1x{_WITHIN + _AFTER}"
            )
        },
        _ON_A,
    ),
    "K2ConflictingMessages": AlertCase(
        {f'k2_verdicts_total{{{_A},verdict="conflicting"}}': counter(0, 1)}, _ON_A
    ),
    "K2DuplicateRateHigh": AlertCase(
        {
            f'k2_verdicts_total{{{_A},verdict="duplicate"}}': counter(10, 90),
            f'k2_verdicts_total{{{_A},verdict="in_order"}}': counter(90, 10),
        },
        _ON_A,
    ),
    "K2UnknownFeed": AlertCase(
        {f'k2_source_records_total{{{_A},feed="other"}}': counter(0, 5)}, _ON_A | {"feed": "other"}
    ),
    "K2DedupFilterFull": AlertCase(
        {f'k2_dedup_estimated_false_positive_ratio{{{_A},partition="1"}}': gauge(0.001, 0.1)},
        _ON_A | {"partition": "1"},
    ),
    "K2LevelRaised": AlertCase({f"k2_degradation_level{{{_A}}}": gauge(0, 3)}, _ON_A),
    "K2CircuitBreak": AlertCase({f"k2_degradation_level{{{_A}}}": gauge(1, 4)}, _ON_A),
    "K2BacklogNotDraining": AlertCase(
        {
            f"k2_deferred_backlog_records{{{_A}}}": f"0x{_BEFORE - 1} 7x120 0x60",
            f"k2_deferred_processed_records_total{{{_A}}}": "0x200",
        },
        _ON_A,
        resolved_min=160,
    ),
    "K2HttpErrors": AlertCase(
        {f'k2_http_requests_total{{{_A},path="/v1/trades",status="500"}}': counter(0, 1)},
        _ON_A | {"path": "/v1/trades"},
    ),
    "K2HttpUnavailable": AlertCase(
        {
            f'k2_http_requests_total{{{_A},path="/v1/trades",status="503"}}': counter(0, 30),
            f'k2_http_requests_total{{{_A},path="/v1/trades",status="200"}}': counter(60, 60),
        },
        _ON_A,
    ),
    "K2HttpSlow": AlertCase(
        histogram("k2_http_request_seconds_bucket", f'{_A},path="/v1/trades"', "5.0"),
        _ON_A | {"path": "/v1/trades"},
    ),
    "K2ConnectionsRefused": AlertCase(
        {f'k2_http_connections_closed_total{{{_A},reason="refused"}}': counter(0, 5)}, _ON_A
    ),
    "K2MemoryHigh": AlertCase({f"k2_memory_used_ratio{{{_A}}}": gauge(0.5, 0.9)}, _ON_A),
    "K2DiskLow": AlertCase({f"k2_disk_free_bytes{{{_A}}}": gauge(10**11, 10**9)}, _ON_A),
    "K2QueryMemoryHigh": AlertCase(
        {
            f"k2_query_memory_bytes{{{_A}}}": gauge(10, 95),
            f"k2_query_memory_limit_bytes{{{_A}}}": gauge(100, 100),
        },
        _ON_A,
    ),
}
