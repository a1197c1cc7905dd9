"""What a worker does about its memory without being asked."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from metric_values import value
from pyiceberg.io.pyarrow import PyArrowFileIO

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.load.degradation import Level
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.client import KafkaConfig
from k2_streams.lake.config import LakeConfig
from k2_streams.runtime.control.load_monitor import (
    COLLECT_AT_REST_EVERY_S,
    TRIM_EVERY_S,
    LoadMonitor,
)
from k2_streams.runtime.control.memory import ProcessMemory
from k2_streams.runtime.deferral.overload import Overload
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.settings.worker import Settings, from_environment
from k2_streams.runtime.task.lifecycle import TaskState


@pytest.mark.parametrize(
    ("share", "collect_every_s"), [(0.1, COLLECT_AT_REST_EVERY_S), (0.99, TRIM_EVERY_S)]
)
async def test_what_is_free_goes_back_soon_and_what_refers_to_itself_now_and_then(
    share, collect_every_s
):
    """Where memory is tight both go back as often."""
    trimmed: list[float] = []
    collected: list[float] = []
    clock = SimpleNamespace(now_s=1_000.0, monotonic=lambda: clock.now_s, time_ns=lambda: 0)
    memory = SimpleNamespace(
        measure=lambda: share,
        release_arrow=lambda: None,
        trim=lambda: trimmed.append(clock.now_s),
        release=lambda: collected.append(clock.now_s),
        limit_bytes=1,
    )
    settings = Settings(kafka=KafkaConfig(), lake=LakeConfig("sqlite://", "memory://"))
    with ThreadPoolExecutor(1) as pool:
        monitor = LoadMonitor(
            TRADES_INPUT.levels,
            settings,
            SimpleNamespace(tasks={}),
            Overload(settings.overload, clock),
            Metrics(),
            clock,
            memory,
            pool,
            downstream_full=lambda: False,
            hold_source=lambda held: None,
        )
        for _ in range(int(2 * COLLECT_AT_REST_EVERY_S)):
            clock.now_s += 1.0
            await monitor.look()
    assert len(collected) == 2 * COLLECT_AT_REST_EVERY_S / collect_every_s
    assert len(trimmed) + len(collected) == 2 * COLLECT_AT_REST_EVERY_S / TRIM_EVERY_S


async def test_load_moves_the_metrics_of_the_backlog_and_the_degradation_level():
    settings = from_environment({"K2_LAG_TRIGGERS_RECORDS": "1,1000,2000"})
    metrics, partition = Metrics(), TopicPartition(TRADES_INPUT.raw, 0)
    task = SimpleNamespace(
        state=TaskState.RUNNING, deferred_records=5, lag_records=7, end_offset=0, wake=lambda: None
    )
    with ThreadPoolExecutor(1) as pool:
        monitor = LoadMonitor(
            TRADES_INPUT.levels,
            settings,
            SimpleNamespace(tasks={partition: task}),
            Overload(settings.overload, SYSTEM_CLOCK),
            metrics,
            SYSTEM_CLOCK,
            ProcessMemory(None),
            pool,
            downstream_full=lambda: False,
            hold_source=lambda held: None,
        )

        async def ends(_partitions):
            return {partition: 12}

        monitor._ends = SimpleNamespace(of=ends)
        await monitor.look()
    registry = metrics.registry
    assert value(registry, "k2_deferred_backlog_records") == 5
    assert value(registry, "k2_degradation_level") == Level.SOFT
    assert value(registry, "k2_degradation_level_changes_total", level="SOFT") == 1
    assert 0 < value(registry, "k2_memory_used_ratio") < 1
    assert value(registry, "k2_lag_seconds") == (monitor.signals.lag_s or 0.0)


def test_file_access_that_a_commit_has_left_behind_goes_as_well():
    gc.disable()  # as good as: a worker's collector comes to old objects once in days
    try:
        left = PyArrowFileIO({})
        left.fs_by_scheme("file", None)
        seen = weakref.ref(left)
        del left
        assert seen() is not None  # it refers to itself
        ProcessMemory(None).release()
        assert seen() is None
    finally:
        gc.enable()
