"""`/v1/status` of any topology: one block per log, partitions by topic where there are several."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pytest
from metric_values import value
from raw_agents import raw_topology
from sink_world import HandClock

from k2_streams.core.load.degradation import Level, Signals
from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.partition_faults import PartitionFault
from k2_streams.kafka.topics import TopicProblem
from k2_streams.lake.breaker import Guard
from k2_streams.query.engine import EngineMemory
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.committed_rows import CommittedRows
from k2_streams.runtime.control.status import Monitors, Status
from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.output import AnsweredLog, WrittenLog
from k2_streams.runtime.settings.groups import Role
from k2_streams.runtime.settings.worker import Settings
from k2_streams.runtime.task.lifecycle import TaskState
from k2_streams.state.position import Position, RowSum
from k2_streams.state.rocks import StoresMemory
from k2_streams.topology.declarations import Agent, Output, StreamSource, Topology

FOUND = pa.schema(
    [
        pa.field("account", pa.string(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
    ]
)
ALERTS = Output.of("alerts", FOUND, key=("account",), time="time_ns")
TOTALS = Output.of("totals", FOUND, key=("account",), time="time_ns")
OF_TRADES, OF_QUOTES = StreamSource(TRADES), StreamSource(QUOTES)


def agent(name: str, source: StreamSource, *outputs: Output) -> Agent:
    return Agent(name, source, function=lambda batch, ctx: None, outputs=outputs)


ONE = Topology("one", (OF_TRADES,), (agent("find", OF_TRADES, ALERTS),), outputs=(ALERTS,))
TWO = Topology(
    "two",
    (OF_TRADES, OF_QUOTES),
    (agent("find", OF_TRADES, ALERTS), agent("add", OF_QUOTES, TOTALS)),
    outputs=(ALERTS, TOTALS),
)
NO_LOG = Topology("none", (OF_TRADES,), (agent("count", OF_TRADES),))
RAW = raw_topology("k2", feeds={})


class Log(NamedTuple):
    """Sink and node of a log, as a status reads them."""

    stream: Any
    sink: Any
    node: Any


def log_of(stream: Any, rows: int) -> Log:
    tail = Tail(stream)
    tail.seek(0, rows)
    sink = SimpleNamespace(
        positions={0: rows}, buffered_rows=0, retrying=None, error=None, guard=Guard()
    )
    node = SimpleNamespace(
        report=lambda lag_records, level: None,
        tail=tail,
        guard=sink.guard,
        source=None,
        quota=SimpleNamespace(limit_bytes=0, is_source_paused=False),
        reads=None,
        reader=SimpleNamespace(
            error=None,
            faults=[],
            dead_letters=SimpleNamespace(total=rows),
            source_lag_records=0,
        ),
    )
    return Log(stream, sink, node)


def task(topic: str, lag_records: int) -> Any:
    position = Position(
        source_id="id", partitions=1, next_offset=5, tables={"recent": RowSum(rows=3)}
    )
    return SimpleNamespace(
        topic=topic,
        partition=0,
        state=TaskState.RUNNING,
        position=position,
        next_offset=5,
        lag_records=lag_records,
        deferred_records=0,
        deferral=None,
        error=None,
        failures=SimpleNamespace(last=None),
    )


def status_of(
    topology: Topology, metrics: Metrics | None = None, role: Role = "all"
) -> tuple[Status, Any, list[Log]]:
    """The status, the owner whose tasks it reads, and the logs."""
    settings = Settings(app_id=topology.name, role=role)
    tasks = {
        TopicPartition(source.topic, 0): task(source.topic, lag_records=number)
        for number, source in enumerate(topology.sources, start=1)
        if settings.processes
    }
    owner = SimpleNamespace(tasks=tasks, refused={})
    load = SimpleNamespace(
        level=Level.NORMAL,
        signals=Signals(),
        memory=SimpleNamespace(used_bytes=1, limit_bytes=2),
        retry_after_s=1,
    )
    overload = SimpleNamespace(tiers=SimpleNamespace(table={}, error=None), worked=0)
    monitors = Monitors(
        SimpleNamespace(as_dict=dict, failing={}),  # type: ignore[arg-type]
        SimpleNamespace(problems=[], unread_records=10 * settings.processes),  # type: ignore[arg-type]
        list,
        lambda: StoresMemory(0, 0),
        lambda: EngineMemory(7, 3),
    )
    logs = [log_of(stream, 10 + number) for number, stream in enumerate(topology.streams)]
    written = [
        WrittenLog(log.stream, log.sink, CommittedRows(HandClock(), 0))
        for log in logs
        if settings.processes
    ]
    answered = [AnsweredLog(log.stream, log.node) for log in logs if settings.answers]
    status = Status(
        topology,
        settings,
        owner,  # type: ignore[arg-type]
        load,  # type: ignore[arg-type]
        overload,  # type: ignore[arg-type]
        metrics or Metrics(),
        HandClock(),
        written=written,
        answered=answered,
        monitors=monitors,
    )
    return status, owner, logs


def test_status_has_one_block_per_log_and_the_first_ones_fields_at_the_top() -> None:
    found = status_of(TWO)[0].as_dict()
    msgspec.json.encode(found)
    assert list(found["streams"]) == ["alerts", "totals"]
    assert [one["sink"]["positions"] for one in found["streams"].values()] == [{"0": 10}, {"0": 11}]
    assert [one["dead_letters"] for one in found["streams"].values()] == [10, 11]
    alerts = found["streams"]["alerts"]
    assert {name: found[name] for name in alerts} == alerts
    assert found["query"] == {"memory_bytes": 7, "footers_bytes": 3}


def test_partitions_of_several_sources_are_named_by_topic_and_the_lag_is_of_all() -> None:
    status, owner, _ = status_of(TWO)
    assert set(status.as_dict()["partitions"]) == {"k2.trades-0", "k2.quotes-0"}
    assert status.lag_records == 1 + 2 + 10
    owner.refused = {TopicPartition("k2.quotes", 0): "failed: agent add: no"}
    assert list(status.as_dict()["refused"]) == ["k2.quotes-0"]
    assert status.ready().reason == "partition k2.quotes-0: failed: agent add: no"


def test_partitions_of_one_source_are_named_by_their_number() -> None:
    assert set(status_of(ONE)[0].as_dict()["partitions"]) == {"0"}


def test_only_a_raw_source_has_scopes_and_deduplication() -> None:
    raw, stream = (status_of(topology)[0].as_dict() for topology in (RAW, ONE))
    assert {"dedup", "dedup_ttl_s"} <= set(raw)
    assert not {"dedup", "dedup_ttl_s"} & set(stream)
    assert {"scopes", "ids"} <= set(raw["partitions"]["0"])
    assert stream["partitions"]["0"]["tables"] == {"recent": 3}


def test_a_topology_without_a_log_has_a_status() -> None:
    status, _, _ = status_of(NO_LOG)
    found = status.as_dict()
    assert found["streams"] == {}
    assert "sink" not in found
    assert status.ready().ok


@pytest.mark.parametrize(("topology", "where"), [(ONE, ""), (TWO, "k2.alerts: ")])
def test_a_reason_names_the_log_where_there_are_several(topology: Topology, where: str) -> None:
    status, _, (first, *_) = status_of(topology)
    first.sink.error = "refused"
    assert status.ready().reason == f"sink: {where}refused"
    first.node.reader.error = "starting"
    assert status.ready().reason == f"tail: {where}starting"


def test_a_tick_moves_the_metrics_of_what_keeps_a_worker_from_being_ready() -> None:
    metrics = Metrics()
    status, owner, (first, second) = status_of(TWO, metrics)
    status.tick()
    registry, gauges = metrics.registry, ("refused_partitions", "unreadable_partitions")
    assert value(registry, "k2_ready") == 1
    assert value(registry, "k2_source_partitions") == 2 * Settings().partitions
    assert [value(registry, f"k2_{name}") for name in (*gauges, "topic_problems")] == [0, 0, 0]

    owner.refused = {TopicPartition("k2.quotes", 0): "failed: agent add: no"}
    fault = PartitionFault("k2.alerts", 0, 7, "CorruptRecordException", 0.0, 1, 1.0, "restore it")
    first.node.reader.faults.append(fault)
    second.node.reader.faults.append(fault)
    status._topics.problems.append(TopicProblem("k2.alerts", "partitions", "expected 4, found 8"))
    status.tick()
    assert value(registry, "k2_ready") == 0
    assert value(registry, "k2_refused_partitions") == 1
    assert value(registry, "k2_unreadable_partitions") == 2
    assert value(registry, "k2_topic_problems") == 1


def test_a_status_has_what_the_role_of_the_process_has() -> None:
    metrics = Metrics()
    status, _, _ = status_of(TWO, metrics, role="query")
    status.tick()
    found = status.as_dict()
    assert (found["role"], found["worker"]) == ("query", "two-query-0")
    assert found["partitions"] == {}
    assert "tail" in found["streams"]["alerts"]
    assert "sink" not in found["streams"]["alerts"]
    assert value(metrics.registry, "k2_source_partitions") == 0  # no task is to be expected of it

    work = status_of(TWO, role="work")[0].as_dict()
    assert "sink" in work["streams"]["alerts"]
    assert "tail" not in work["streams"]["alerts"]


def test_a_query_node_is_ready_when_its_tails_are_and_knows_the_lag_from_its_logs() -> None:
    status, _, (alerts, totals) = status_of(TWO, role="query")
    for log, source, lag in ((alerts, "k2.trades", 3), (totals, "k2.quotes", 4)):
        log.node.source, log.node.reader.source_lag_records = source, lag
    assert status.lag_records == 3 + 4
    totals.node.source, totals.node.reader.source_lag_records = "k2.trades", 3
    assert status.lag_records == 3  # of one source, whose rows are in two logs
    assert status.ready().ok
    totals.node.reader.error = "starting"
    assert status.ready().reason == "tail: k2.totals: starting"
