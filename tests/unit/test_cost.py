"""`k2 cost`: rows, total and unit cost agree, and a model in which they do not is found."""

import json

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bench.cost import FILE
from k2_streams.cli.cost import MEASURED, PRICES
from k2_streams.cli.main import main
from k2_streams.core.cost.inputs import MeasuredFigures, Prices, Workload
from k2_streams.core.cost.model import (
    MONTH_S,
    CostReport,
    CostRow,
    Growth,
    contradictions,
    estimate,
)
from k2_streams.core.cost.triggers import TRIGGERS, fired

LOAD = Workload(
    rate_per_s=1e6, message_bytes=150, retention_days=7, lake_days=365, replication=3,
    queries_per_s=5, query_nodes=2, commit_interval_s=10,
)  # fmt: skip
SHIPPED = msgspec.json.decode(MEASURED.read_bytes(), type=MeasuredFigures)
LIST = msgspec.json.decode(PRICES.read_bytes(), type=Prices)
RATES = st.floats(1, 1e8)


def by_name(report: CostReport) -> dict[str, CostRow]:
    return {row.name: row for row in report.rows}


def report_of(**changes: float) -> CostReport:
    return estimate(msgspec.structs.replace(LOAD, **changes), SHIPPED, LIST)


@given(RATES, st.floats(0, 1e4), st.integers(1, 5), st.floats(0, 4000))
def test_rows_sum_to_the_total_and_the_unit_cost_gives_it_too(rate, queries, copies, days):
    report = report_of(rate_per_s=rate, queries_per_s=queries, replication=copies, lake_days=days)
    assert contradictions(report) == []


@given(RATES)
def test_twice_the_rate_doubles_exactly_the_rows_that_are_linear(rate):
    one, two = by_name(report_of(rate_per_s=rate)), by_name(report_of(rate_per_s=2 * rate))
    for name, row in one.items():
        other = two[name].cost
        if row.growth is Growth.LINEAR:
            assert other == 2 * row.cost > 0
        elif row.growth is Growth.STEPS:
            assert row.cost <= other <= 2 * row.cost
        else:
            assert other == row.cost


def test_twice_the_queries_doubles_the_rows_of_queries_alone():
    one, two = by_name(report_of()), by_name(report_of(queries_per_s=10))
    grown = {name for name in one if two[name].cost != one[name].cost}
    assert grown == {name for name, row in one.items() if row.growth is Growth.QUERIES and row.cost}
    assert all(two[name].cost == 2 * one[name].cost for name in grown)


def test_storage_is_bytes_by_days_by_price():
    """By hand: 1 M rows per second of 40 bytes for ten days are 34,560 GB."""
    measured = msgspec.structs.replace(SHIPPED, lake_bytes=40.0)
    prices = msgspec.structs.replace(LIST, object_gb_month=0.02)
    load = msgspec.structs.replace(LOAD, lake_days=10)
    assert by_name(estimate(load, measured, prices))["lake storage"].cost == pytest.approx(691.2)


def test_worker_processors_are_seconds_per_million_by_the_rate():
    """By hand: 1 M messages per second at 6 CPU seconds per million keep 6 cores busy."""
    measured = msgspec.structs.replace(SHIPPED, worker_cpu_s_per_million=6.0)
    report = estimate(LOAD, measured, LIST)
    assert report.worker_cores == pytest.approx(6)
    assert by_name(report)["worker processors"].quantity == pytest.approx(6 / 0.6 * MONTH_S / 3600)


def wrong(**changes: object) -> list[str]:
    return contradictions(msgspec.structs.replace(report_of(), **changes))


def test_a_model_known_to_be_wrong_is_found():
    """As an earlier design was: a unit cost 100 times too high, a sum that left rows out."""
    good = report_of()
    assert "per million cost" in wrong(per_million=good.per_million * 100)[0]
    assert "the rows sum to" in wrong(rows=good.rows[1:])[0]
    assert "the rows sum to" in wrong(total=good.total * 1.01)[0]
    one = msgspec.structs.replace(good.rows[0], cost=good.rows[0].cost * 2)
    assert "worker processors" in wrong(rows=(one, *good.rows[1:]))[0]


#: A figure above its bound, by what makes it so.
PROVOKED = {
    "lake storage, share of the cost": {"lake_days": 4_000},
    "broker disks, share of the cost": {"retention_days": 90, "lake_days": 1},
    "traffic between zones, share of the cost": {"retention_days": 0, "lake_days": 0},
    "store requests, share of the cost": {"rate_per_s": 10, "commit_interval_s": 0.05},
    "queries, share of the processors": {"queries_per_s": 100_000},
    "commits per second to one table": {"commit_interval_s": 0.5},
}


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda one: one.name)
def test_a_trigger_fires_above_its_bound(trigger):
    report = report_of(**PROVOKED[trigger.name])
    assert trigger.name in {one.name for one in fired(report)}
    assert all(one.value > one.bound for one in fired(report))


def test_no_trigger_of_requests_or_queries_fires_at_an_ordinary_load():
    names = {one.name for one in fired(report_of())}
    assert not names & {"store requests, share of the cost", "queries, share of the processors"}


@pytest.mark.parametrize(
    ("text", "rate"), [("10k", 1e4), ("1M", 1e6), ("10M", 1e7), ("2500", 2500)]
)
def test_the_command_gives_the_model_s_numbers(text, rate):
    done = CliRunner().invoke(main, ["cost", "--rate", text, "--format", "json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["report"] == json.loads(msgspec.json.encode(report_of(rate_per_s=rate)))
    assert told["measured"] == msgspec.to_builtins(SHIPPED)


def test_the_printed_rows_add_up_to_the_printed_total():
    done = CliRunner().invoke(main, ["cost", "--rate", "1M"])
    assert done.exit_code == 0, done.output
    costs = [
        float(line.split("|")[5].replace(",", ""))
        for line in done.output.splitlines()
        if line.count("|") == 8 and line.split("|")[5].strip()[:1].isdigit()
    ]
    assert len(costs) == len(report_of().rows) + 1
    assert costs[-1] == pytest.approx(sum(costs[:-1]), abs=0.005)
    for part in (LIST.region, LIST.date, LIST.source, SHIPPED.machine, SHIPPED.date):
        assert part in done.output


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--rate", "much"], "expected 10k, 1M or 2500"),
        (["--rate", "1M", "--replication", "0"], "an option is out of range"),
        (["--rate", "1M", "--lake-days", "-1"], "an option is out of range"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(options, expected):
    done = CliRunner().invoke(main, ["cost", *options])
    assert (done.exit_code, expected in done.output) == (2, True), done.output


@pytest.mark.parametrize("change", [{"region": ""}, {"date": "soon"}, {"zone_gb": -1}, {"more": 1}])
def test_a_price_list_that_cannot_be_used_is_refused(tmp_path, change):
    file = tmp_path / "prices.json"
    file.write_bytes(msgspec.json.encode(msgspec.to_builtins(LIST) | change))
    done = CliRunner().invoke(main, ["cost", "--rate", "1M", "--prices", str(file)])
    assert done.exit_code == 2, done.output
    assert str(file) in done.output


def test_the_benchmark_writes_the_file_that_the_command_reads():
    assert FILE == MEASURED
