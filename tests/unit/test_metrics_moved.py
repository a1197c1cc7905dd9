"""What happens moves the metrics that a scrape shows."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from metric_values import value
from sequencer_world import Raw, canonical, world
from sink_world import T0_MS, FakeLake, SinkWorld

from k2_streams.core.dedup.ids import Memory, Window, hashes_of
from k2_streams.core.ledger.repairs import RepairedRange
from k2_streams.core.lines.stats import reports
from k2_streams.core.load.circuit_breaker import BreakerPolicy, BreakerState
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import TRADES
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.topics import TRADES as TRADES_LOG
from k2_streams.kafka.topics import TopicInfo
from k2_streams.kafka.transactions import OutputRecord
from k2_streams.lake.breaker import Guard
from k2_streams.lake.errors import LakeUnavailableError
from k2_streams.runtime.committed_rows import CommittedRows
from k2_streams.runtime.fetched import Fetched
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.node.log_topics import LogTopics
from k2_streams.runtime.node.tailing import STALLED_AFTER_S, TailReader
from k2_streams.runtime.task import lifecycle
from k2_streams.runtime.task.epoch import Epoch
from k2_streams.runtime.task.outputs import TaskOutputs
from k2_streams.state.dedup_table import DedupTable
from k2_streams.state.ids_store import IdStore

BUCKET = 19_675
BESIDE = LogTopics("k2.dead-letter", "k2.sequence-events")
KRAKEN = (("feed", b"kraken.v1"),)


class RepairsLake(FakeLake):
    stream = TRADES_INPUT.ledger.repairs


async def test_repairs_move_their_metrics() -> None:
    at = SinkWorld(lake=RepairsLake())
    await at.start()
    done = RepairedRange(
        repair_id="r1", started="2026-11-30T10:00:00+00:00", by="me", source="file:x",
        scope="X:A", session="0", first=5, last=9, asked=5, received=4, filled=3, abandoned=1,
        still_missing=[(7, 7)],
    )  # fmt: skip
    for offset in (0, 1):
        found = SimpleNamespace(
            value=msgspec.json.encode(done), key=b"X:A", offset=offset, timestamp=T0_MS, headers=()
        )
        place = TopicPartition(TRADES_LOG, 0)
        at.runner.offer(Fetched(place, offset, offset + 1, [found], offset + 1))
    for name, count in (("k2_repair_asked_total", 10), ("k2_repair_filled_total", 6)):
        assert value(at.metrics.registry, name, stream="trades") == count


def test_records_move_the_metrics_of_the_source(tmp_path: Path) -> None:
    metrics = Metrics()
    kraken_heartbeat = Raw(3, 1_700_000_000_003, b"KRAKEN:A", b'{"event":"heartbeat"}', KRAKEN)
    with world(tmp_path) as at:
        epoch = at.process(
            [
                canonical(0, 1),
                canonical(1, 1),
                canonical(2, 2, side="sideways"),
                kraken_heartbeat,
                Raw(4, 1_700_000_000_004, b"X:A", b"no json"),
            ]
        )
        metrics.count(epoch)
    registry = metrics.registry
    assert value(registry, "k2_verdicts_total", verdict="first") == 1
    assert value(registry, "k2_verdicts_total", verdict="in_order") == 1
    assert value(registry, "k2_verdicts_total", verdict="duplicate") == 1
    assert value(registry, "k2_source_records_total", feed="kraken.v1") == 1
    labels = {"feed": "kraken.v1", "event": "heartbeat"}
    assert value(registry, "k2_control_messages_total", **labels) == 1
    labels = {"feed": "canonical", "attribute": "side"}
    assert value(registry, "k2_unknown_attributes_total", **labels) == 1
    assert value(registry, "k2_dead_letters_total", reason="not-json") == 1
    assert value(registry, "k2_accepted_rows_total") == 2


def test_a_gap_moves_the_metric_of_events(tmp_path: Path) -> None:
    metrics = Metrics()
    with world(tmp_path) as at:
        metrics.count(at.process([canonical(0, 1), canonical(1, 9), canonical(2, 5)]))
    for type_name, count in {"gap_opened": 1, "late": 1, "gap_filled": 0}.items():
        assert value(metrics.registry, "k2_sequence_events_total", type=type_name) == count


def test_lines_move_the_metrics_of_lines(tmp_path: Path) -> None:
    metrics = Metrics()
    with world(tmp_path) as at:
        records = [
            canonical(n, n // 2, headers=(("line", b"AB"[n % 2 : n % 2 + 1]),)) for n in range(20)
        ]
        records += [canonical(20 + n, 10, headers=(("line", b"C%d" % n),)) for n in range(20)]
        epoch = at.process(records)
        metrics.count(epoch)
        assert epoch.progress is not None
        metrics.show_lines(reports(epoch.progress.lines))
    registry, line = metrics.registry, {"exchange": "X", "line": "A"}
    assert value(registry, "k2_line_messages", **line, stage="received") == 10
    assert value(registry, "k2_line_messages", **line, stage="first") == 10
    assert value(registry, "k2_line_loss_ratio", **line) < 0.2
    assert value(registry, "k2_line_delay_seconds", **line) >= 0
    assert value(registry, "k2_untracked_line_records_total") > 0


@pytest.fixture
def dedup(tmp_path: Path) -> Iterator[DedupTable]:
    """A table whose filters are made for 80 ids."""
    topic = TopicInfo("k2-dedup-changelog", "id", 4)
    memory, window = Memory.of(80, 0.01), Window(86_400_000)
    table = DedupTable("dedup", IdStore(tmp_path), topic, 3, memory, window)
    table.open(0)
    yield table
    table.close()


def look_up(table: DedupTable, metrics: Metrics, *ids: str) -> None:
    """One checkpoint of trades with these ids."""
    hashes = hashes_of([each.encode() for each in ids])
    table.ids.add(BUCKET, hashes[~table.ids.held(hashes)])
    sealed = table.seal()
    metrics.add(sealed.counts)
    metrics.show(sealed.gauges)


def test_trade_ids_move_the_metrics_of_the_dedup_table(dedup: DedupTable) -> None:
    metrics = Metrics()
    look_up(dedup, metrics, "a", "b")
    look_up(dedup, metrics, "a", "b", "c")
    registry = metrics.registry
    assert value(registry, "k2_dedup_ids_total", outcome="new") == 3
    assert value(registry, "k2_dedup_ids_total", outcome="duplicate") == 2
    assert value(registry, "k2_dedup_stored_ids", partition="3") == 3
    assert value(registry, "k2_dedup_filter_bytes", partition="3") > 0
    ratio = value(registry, "k2_dedup_estimated_false_positive_ratio", partition="3")
    assert 0 <= ratio < 0.01


def test_a_full_filter_moves_the_metric_of_false_positives(dedup: DedupTable) -> None:
    metrics = Metrics()
    look_up(dedup, metrics, *map(str, range(2_000)))
    look_up(dedup, metrics, *(f"new-{number}" for number in range(2_000)))
    assert value(metrics.registry, "k2_dedup_false_positives_total") > 0


async def test_a_task_that_ends_moves_the_metric_of_its_reason(monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(lifecycle, "TakeOver", broken)
    metrics, ended = Metrics(), []
    context = SimpleNamespace(
        metrics=metrics, clock=SinkWorld().clock, source=TopicInfo("k2.trades.raw", "id", 4)
    )
    task = lifecycle.TaskLifecycle(
        0,
        context,  # type: ignore[arg-type]
        on_pause=lambda _: None,
        on_seek=lambda _: None,
        on_ended=ended.append,
    )
    with pytest.raises(OSError, match="disk full"):
        await task.take_over()
    assert value(metrics.registry, "k2_task_failures_total", reason="failed") == 1
    assert value(metrics.registry, "k2_task_failures_total", reason="fenced") == 0


def test_rows_are_counted_of_the_exchanges_that_have_a_calendar(tmp_path: Path) -> None:
    metrics = Metrics()
    for exchange in ("X", "SILENT"):
        metrics.show_session(exchange, is_open=True)
    with world(tmp_path) as at:
        other = canonical(2, 1)._replace(key=b"Y:A")
        other = other._replace(value=other.value.replace(b'"X"', b'"Y"'))
        metrics.count(at.process([canonical(0, 1), canonical(1, 2), other]))
    for exchange, rows in (("X", 2), ("SILENT", 0)):
        assert value(metrics.registry, "k2_exchange_rows_total", exchange=exchange) == rows
    assert metrics.registry.get_sample_value("k2_exchange_rows_total", {"exchange": "Y"}) is None


def test_deferral_moves_the_metrics_of_the_backlog() -> None:
    metrics, epoch = Metrics(), Epoch(TaskOutputs.of_raw(TRADES_INPUT), 0)
    epoch.newly_deferred += [OutputRecord(TRADES_INPUT.deferred, b"X:A", b"")] * 3
    epoch.drained = 2
    metrics.count(epoch)
    assert value(metrics.registry, "k2_deferred_records_total") == 3
    assert value(metrics.registry, "k2_deferred_processed_records_total") == 2


async def test_commits_move_the_metrics_of_the_lake() -> None:
    at = SinkWorld(commit_rows=6)
    await at.start()
    at.read(2)
    registry, log = at.metrics.registry, {"stream": "trades"}
    assert value(registry, "k2_sink_buffered_rows", **log) == 4
    at.lake.away = True
    at.read()
    await at.look(after_s=1.0)
    assert value(registry, "k2_lake_commit_failures_total", **log, reason="unavailable") == 1
    at.lake.away = False
    await at.look(after_s=60.0)
    assert value(registry, "k2_lake_committed_rows_total", **log) == 6
    assert value(registry, "k2_lake_commit_seconds_count", **log) == 1
    assert value(registry, "k2_sink_buffered_rows", **log) == 0


async def test_a_circuit_breaker_shows_its_state_and_its_changes() -> None:
    metrics = Metrics()
    clock = SinkWorld().clock
    breaker = Guard(BreakerPolicy(failures=1), clock, on_change=metrics.breaker("trades", "lake"))

    def state_of(state: BreakerState) -> float:
        labels = {"stream": "trades", "breaker": "lake", "state": state.value}
        return value(metrics.registry, "k2_circuit_breaker_state", **labels)

    async def fail() -> None:
        raise LakeUnavailableError("away")

    assert (state_of(BreakerState.CLOSED), state_of(BreakerState.OPEN)) == (1, 0)
    with pytest.raises(LakeUnavailableError):
        await breaker.call(fail)
    assert (state_of(BreakerState.CLOSED), state_of(BreakerState.OPEN)) == (0, 1)
    labels = {"stream": "trades", "breaker": "lake", "state": "open"}
    assert value(metrics.registry, "k2_circuit_breaker_changes_total", **labels) == 1


def test_an_open_transaction_shows_that_the_log_is_stalled() -> None:
    metrics, clock = Metrics(), SinkWorld().clock
    tail_metrics = metrics.tail.of("trades")
    reader = TailReader(
        TRADES,
        BESIDE,
        None,  # type: ignore[arg-type]
        1,
        None,  # type: ignore[arg-type]
        None,
        tail_metrics,
        clock,
        vector=None,  # type: ignore[arg-type]
        committed=CommittedRows(clock, 0),
    )
    log = SimpleNamespace(stable_and_end=lambda _topic, _partition: (5, 9))
    reader._watch_stalls(log)
    assert value(metrics.registry, "k2_log_stalled", stream="trades", partition="0") == 0
    clock.now_s += STALLED_AFTER_S + 1
    reader._watch_stalls(log)
    assert value(metrics.registry, "k2_log_stalled", stream="trades", partition="0") == 1
