"""Metrics are declared once: their names, units, labels and series follow from the table."""

import ast
import math
from pathlib import Path
from shutil import disk_usage

import pytest
from metric_values import samples, value
from prometheus_client import CollectorRegistry, generate_latest
from sequencer_world import canonical, world

from k2_streams.runtime.metrics import Metrics
from k2_streams.runtime.metrics.declaration import Label, MetricGroup, counter, gauge, or_unknown
from k2_streams.runtime.metrics.reference import declarations, groups
from k2_streams.runtime.metrics.table import LakeMetrics, TailMetrics, TaskMetrics
from k2_streams.runtime.task.lifecycle import TaskState

ROOT = Path(__file__).resolve().parents[2]
#: Sets or adds to a metric; `labels` stands before them, `set_function` reads at a scrape.
MOVERS = {"inc", "set", "observe", "labels", "set_function"}
#: What is measured in these has the unit in its name, as Prometheus asks.
BASE_UNITS = {"seconds", "bytes", "ratio", "info"}
BY_NAME = {each.name: each for each in declarations()}


class Example(MetricGroup):
    """Of this file."""

    example_rows = gauge("Rows", unit="rows")
    example_changes_total = counter("Changes", Label("to", ("on", "off")), unit="changes")
    example_failures_total = counter("Failures", Label("reason", bound="five"), unit="failures")


def test_an_attribute_is_named_like_its_metric():
    registry = CollectorRegistry()
    metrics = Example(registry)
    metrics.example_rows.set(3)
    assert value(registry, "k2_example_rows") == 3


def test_what_the_system_does_not_say_costs_no_other_metric(tmp_path):
    registry = CollectorRegistry()
    metrics = Example(registry)
    metrics.example_changes_total.labels("on").inc()
    metrics.example_rows.set_function(or_unknown(lambda: disk_usage(tmp_path / "away").free))
    assert math.isnan(value(registry, "k2_example_rows"))
    assert value(registry, "k2_example_changes_total", to="on") == 1
    (tmp_path / "away").mkdir()
    assert value(registry, "k2_example_rows") > 0


def test_a_metric_whose_label_values_are_listed_is_exposed_from_the_start():
    registry = CollectorRegistry()
    Example(registry)
    assert value(registry, "k2_example_changes_total", to="on") == 0
    assert value(registry, "k2_example_changes_total", to="off") == 0
    assert "k2_example_failures_total{" not in generate_latest(registry).decode()


def test_two_workers_in_a_process_do_not_share_metrics():
    one, other = Metrics(), Metrics()
    one.lines.untracked_line_records_total.inc()
    assert value(other.registry, "k2_untracked_line_records_total") == 0


def test_what_two_logs_have_alike_does_not_overwrite_each_other():
    metrics = Metrics()
    trades, alerts = metrics.tail.of("trades"), metrics.tail.of("alerts")
    trades.tail_rows.set(3)
    alerts.tail_rows.set(4)
    alerts.log_stalled.labels("0").set(1)
    registry = metrics.registry
    assert value(registry, "k2_tail_rows", stream="trades") == 3
    assert value(registry, "k2_tail_rows", stream="alerts") == 4
    assert value(registry, "k2_log_stalled", stream="alerts", partition="0") == 1
    other = {"stream": "trades", "partition": "0"}
    assert registry.get_sample_value("k2_log_stalled", other) is None


def test_series_of_a_log_are_exposed_from_its_start():
    metrics = Metrics()
    metrics.lake.of("alerts")
    labels = {"stream": "alerts", "reason": "moved"}
    assert value(metrics.registry, "k2_lake_commit_failures_total", **labels) == 0
    assert value(metrics.registry, "k2_lake_committed_rows_total", stream="alerts") == 0


@pytest.mark.parametrize("group", [LakeMetrics, TailMetrics])
def test_all_metrics_of_a_group_per_log_have_the_stream_first(group):
    assert {each.labels[0].name for each in group.declarations()} == {"stream"}


def test_a_label_without_a_bound_is_refused():
    with pytest.raises(ValueError, match="expected either"):
        Label("symbol")
    with pytest.raises(ValueError, match="expected either"):
        Label("state", ("on",), "two")


#: Words of what is traded, sent or asked: no label has a value per such thing.
UNBOUNDED = {
    "symbol",
    "id",
    "key",
    "offset",
    "scope",
    "session",
    "query",
    "user",
    "client",
    "trace",
}


def test_no_label_has_a_value_per_symbol_or_caller():
    named = {label.name for each in declarations() for label in each.labels}
    assert not {word for name in named for word in name.split("_")} & UNBOUNDED


def test_ten_thousand_symbols_add_no_series(tmp_path):
    """Records of as many symbols as a large venue has, and requests of as many callers."""
    metrics = Metrics()

    def series_after(count: int) -> set[str]:
        with world(tmp_path / str(count)) as at:
            values = [canonical(n, 1, symbol=f"S{n}", trade_id=f"T{n}") for n in range(count)]
            metrics.count(at.process(values))
        for n in range(count):
            metrics.web.request_answered("GET", "/v1/trades", 200, 0.01, f"{n:032x}")
        scrape = generate_latest(metrics.registry).decode()
        return {line.rpartition(" ")[0] for line in scrape.splitlines() if line[0] != "#"}

    few = series_after(10)
    assert series_after(10_000) == few


def test_the_build_is_known():
    found = samples(generate_latest(Metrics().registry).decode())
    assert found["k2_build_info"] == 1


@pytest.mark.parametrize("name", BY_NAME)
def test_a_name_follows_prometheus_conventions(name):
    metric = BY_NAME[name]
    assert (metric.type_name == "counter") is name.endswith("_total")
    if metric.unit in BASE_UNITS:
        assert name.removesuffix("_total").endswith(f"_{metric.unit}")
    if metric.type_name == "histogram":
        assert metric.unit == "seconds"
    assert not set(name.split("_")) & {"ms", "percent", "count", "share"}
    assert metric.description[0].isupper() or metric.description[0].isdigit()
    assert not metric.description.endswith("."), "HELP is a phrase"


def test_every_metric_of_the_table_is_exposed_by_a_worker():
    exposed = {family.name for family in Metrics().registry.collect()}
    assert {name.removesuffix("_total") for name in BY_NAME} == exposed


def test_the_states_of_tasks_are_those_of_the_product():
    [label] = TaskMetrics.tasks.labels
    assert set(label.values) == {state.value for state in TaskState}


def moved_in(folder: Path) -> set[str]:
    """Attributes of metrics that the code of a folder sets: `x.tail_rows.set(...)`."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_mover = isinstance(node, ast.Attribute) and node.attr in MOVERS
            if is_mover and isinstance(node.value, ast.Attribute):
                found.add(node.value.attr)
            if isinstance(node, ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Constant):
                found.add(node.elts[0].value)  # a figure of a table: (metric, labels)
    return found


def named_in(folder: Path) -> set[str]:
    """Texts of the tests, among them the names of samples; this file moves nothing."""
    found = set()
    for path in set(folder.rglob("*.py")) - {Path(__file__)}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_every_metric_is_set_by_the_product():
    moved = moved_in(ROOT / "k2_streams")
    assert [each.name for each in declarations() if each.attribute not in moved] == []


def test_every_metric_is_moved_by_a_test():
    """By its full name; a histogram by its count."""
    named = named_in(ROOT / "tests")
    wanted = [
        f"{each.name}_count" if each.type_name == "histogram" else each.name
        for each in declarations()
    ]
    assert [name for name in wanted if name not in named] == []


def test_a_metric_that_nobody_sets_or_moves_is_found(tmp_path):
    (tmp_path / "a.py").write_text("metrics.tail.tail_rows.set(1)\nprint(tail.tail_bytes)\n")
    assert moved_in(tmp_path) == {"tail_rows"}
    (tmp_path / "a.py").write_text("value(registry, 'k2_tail_rows')\n")
    assert named_in(tmp_path) == {"k2_tail_rows"}


def test_every_group_says_what_it_is_of():
    assert all(group.__doc__ for group in groups())
