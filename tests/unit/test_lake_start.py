"""An app that starts in the lake is the same as one that ran from the beginning, also if killed."""

import random
from dataclasses import replace

import pyarrow as pa
import pytest
from test_driver_agents import totals, trade

import k2_streams as k2
from k2_streams.core.records import log_record
from k2_streams.core.records.expand import expand
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.runtime.history.lake_history import records_of
from k2_streams.testing import DriverError, StreamDriver
from k2_streams.testing.driver_limits import DRIVER_LIMITS
from k2_streams.topology.builder import TopologyBuilder
from k2_streams.topology.errors import TopologyError

pytestmark = pytest.mark.usefixtures("quiet_logs")

LOG = TRADES.log
POINTS = ("checkpoint.begun", "checkpoint.acknowledged", "checkpoint.offsets-sent")


def in_lake(driver: StreamDriver, *, keeps: int = 0) -> None:
    """What was sent lies in the table, and the log has lost it but for the last offsets."""
    run = driver._run
    cluster, fleet = run.cluster, run._fleet
    topic = cluster.topics[LOG]
    batches, ends = [], {}
    for number in range(topic.partitions):
        log = cluster.partitions[LOG, number]
        ends[number] = Range(0, log.end)
        batches += [log_record.decode(one.value, number, one.offset) for one in log.committed()]

    def append() -> None:
        lake = fleet._new_machine(99).catalog.open(TRADES)
        lake.ensure()
        rows = expand(TRADES, batches).cast(TRADES.table_schema)
        lake.append(rows, ends, topic_id=topic.id, commit_id="archived")
        lake.close()

    append()
    for number, range_ in ends.items():
        cluster.partitions[LOG, number].begin = max(0, range_.end - keeps)


def rows_sent(count: int) -> list[dict]:
    return [trade(n, symbol="ABCDE"[n % 5], quantity=str(n % 7 + 1)) for n in range(count)]


def outcome(driver: StreamDriver) -> tuple:
    """What the app has made of its input."""
    emitted = driver.output("running").read_all().to_pylist()
    by_symbol = sorted(emitted, key=lambda row: (row["symbol"], row["event_time_ns"]))
    return by_symbol, driver.table("totals")


def from_the_lake() -> k2.Topology:
    declared = totals()
    (source,) = declared.sources
    object.__setattr__(source, "start", "lake")
    return declared


@pytest.fixture(scope="module")
def from_the_beginning():
    with StreamDriver(totals(), partitions=2) as driver:
        for row in rows_sent(60):
            driver.input("trades").send(row)
        return outcome(driver)


@pytest.mark.parametrize("keeps", [0, 3])
def test_an_app_started_in_the_lake_equals_one_that_ran_from_the_beginning(
    from_the_beginning, keeps
):
    with StreamDriver(from_the_lake(), partitions=2) as driver:
        driver.crash()
        for row in rows_sent(60)[:40]:
            driver.input("trades").send(row)
        in_lake(driver, keeps=keeps)
        driver.restart(empty_disks=True)
        driver.advance(5)
        for row in rows_sent(60)[40:]:
            driver.input("trades").send(row)
        assert outcome(driver) == from_the_beginning


@pytest.mark.slow
def test_it_equals_that_through_ten_crashes_in_history_and_after(from_the_beginning):
    chance = random.Random(7)
    limits = replace(DRIVER_LIMITS, history_rows=3)
    with StreamDriver(from_the_lake(), partitions=2, limits=limits) as driver:
        driver.crash()
        for row in rows_sent(60)[:40]:
            driver.input("trades").send(row)
        in_lake(driver)
        driver.restart(empty_disks=True)
        for number in range(10):
            if number == 3:
                driver.rebalance(workers=2)
            if number == 6:
                for row in rows_sent(60)[40:]:
                    driver.input("trades").send(row)
            try:
                driver.crash(at=chance.choice(POINTS))
            except DriverError:
                driver.crash()  # all was processed before
            driver.restart(empty_disks=chance.random() < 0.5)
        assert outcome(driver) == from_the_beginning


def test_a_hole_between_lake_and_log_stops_the_partition_and_is_named():
    with StreamDriver(from_the_lake(), partitions=1) as driver:
        driver.crash()
        for row in rows_sent(5):
            driver.input("trades").send(row)
        log = driver._run.cluster.partitions[LOG, 0]
        log.begin = 3
        with pytest.raises(DriverError, match="the lake holds it up to offset 0"):
            driver.restart(empty_disks=True)


def test_records_are_made_again_as_they_were():
    batches = []
    with StreamDriver(totals(), partitions=1) as driver:
        driver.crash()
        for row in rows_sent(9):
            driver.input("trades").send(row)
        driver.input("trades").send_many(pa.Table.from_pylist(rows_sent(4)))
        log = driver._run.cluster.partitions[LOG, 0]
        batches = [log_record.decode(one.value, 0, one.offset) for one in log.committed()]
    table = expand(TRADES, batches).cast(TRADES.table_schema)
    again = records_of(TRADES, table)
    assert [one.offset for one in again] == [one.log_offset for one in batches]
    for one, batch in zip(again, batches, strict=True):
        made = log_record.decode(one.value, 0, one.offset)
        assert made.rows.to_pylist() == batch.rows.to_pylist()
        assert made.accepted_time_us == batch.accepted_time_us


def test_where_an_app_starts_is_checked():
    app = TopologyBuilder("surveillance")
    assert app.stream("trades", "lake").start == "lake"
    assert app.stream("trades", "lake").start == "lake"
    with pytest.raises(TopologyError, match="declared before"):
        app.stream("trades")
    with pytest.raises(TopologyError, match="expected start"):
        app.stream("quotes", "somewhere")
