"""The test driver: each method on the topology of trades, with what it raises."""

import asyncio
import datetime as dt
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from raw_agents import raw_topology

from k2_streams.failpoints import WORKER_POINTS
from k2_streams.query.errors import UnknownSymbolError
from k2_streams.runtime.limits import Limits
from k2_streams.runtime.settings.worker import SettingsError
from k2_streams.testing import DriverError, InputMessage, StreamDriver
from k2_streams.testing.driver import START

pytestmark = pytest.mark.usefixtures("quiet_logs")

TRADES = raw_topology("k2")
RAW = "k2.trades.raw"
T0_NS = int(START.timestamp()) * 10**9


def trade(sequence: int | None, symbol: str = "A", **more: Any) -> dict[str, Any]:
    found = {
        "exchange": "X",
        "symbol": symbol,
        "price": "1.5",
        "quantity": "2",
        "exchange_time_ns": T0_NS + (sequence or 0),
        "sequence": sequence,
    } | more
    return {name: value for name, value in found.items() if value is not None}


def sequences(rows: pa.Table) -> list[int]:
    return rows.column("sequence").to_pylist()


# -- sending ---------------------------------------------------------------------------------------


def test_a_message_comes_out_as_a_row(k2_driver):
    driver = k2_driver(TRADES)
    driver.input(RAW).send(trade(1, price="1.000000000000000001"))
    rows = driver.output("trades").read_all().to_pylist()
    assert [(row["symbol"], row["sequence"], row["price"]) for row in rows] == [
        ("A", 1, Decimal("1.000000000000000001"))
    ]


def test_a_key_decides_the_partition_as_kafka_has_it(k2_driver):
    driver = k2_driver(TRADES, partitions=3)
    sent = [driver.input(RAW).send(trade(1, symbol))[0] for symbol in "ABCDEFGH"]
    assert {one.partition for one in sent} == {0, 1, 2}
    by_bytes = driver.input(RAW).send(b"{}", key="X:A")[0]
    assert (by_bytes.partition, by_bytes.offset) == (sent[0].partition, _count(sent, sent[0]))
    assert driver.input(RAW).send(b"{}", key="X:A", partition=2)[0].partition == 2


def _count(sent: list[Any], like: Any) -> int:
    return sum(one.partition == like.partition for one in sent)


def test_line_and_feed_are_headers_and_text_is_sent_as_it_is(k2_driver):
    driver = k2_driver(TRADES, partitions=1)
    driver.input(RAW).send("text", key="K", line="B", feed="binance.spot")
    record = driver.output(RAW).records()[0]
    assert (record.key, record.value) == (b"K", b"text")
    assert record.headers == (("feed", b"binance.spot"), ("line", b"B"))


def test_at_lets_time_pass_until_then(k2_driver):
    driver = k2_driver(TRADES, partitions=1)
    source = driver.input(RAW)
    source.send(trade(1), at=2.5)
    source.send(trade(2), at=START + dt.timedelta(seconds=4))
    assert driver.time_ns == T0_NS + 4 * 10**9
    times = [record.timestamp_ms for record in driver.output(RAW).records()]
    assert times == [T0_NS // 10**6 + 2_500, T0_NS // 10**6 + 4_000]
    with pytest.raises(ValueError, match="is over"):
        source.send(trade(3), at=1.0)


def test_many_messages_are_sent_in_their_order(k2_driver):
    driver = k2_driver(TRADES)
    table = pa.Table.from_pylist([trade(2), trade(3)])
    driver.input(RAW).send_many([trade(1)])
    driver.input(RAW).send_many(table)
    driver.input(RAW).send_many([InputMessage(trade(4), at=1.0)])
    assert sequences(driver.rows("trades")) == [1, 2, 3, 4]


def test_a_topic_that_is_not_there_is_named_with_those_that_are(k2_driver):
    driver = k2_driver(TRADES, partitions=1)
    with pytest.raises(ValueError, match=r"does not read k2\.orders: it reads k2\.trades\.raw"):
        driver.input("k2.orders")
    with pytest.raises(ValueError, match=r"no topic k2\.orders: there are .*k2\.trades"):
        driver.output("k2.orders")
    with pytest.raises(ValueError, match="no partition 7"):
        driver.input(RAW).send(trade(1), partition=7)


# -- reading ---------------------------------------------------------------------------------------


def test_other_topics_are_read_as_records(k2_driver):
    driver = k2_driver(TRADES, partitions=1)
    driver.input(RAW).send_many([trade(1), trade(4)])
    found = driver.output("k2.sequence-events").read_all()
    assert [(one.json()["type"], one.json()["first"]) for one in found] == [("gap_opened", 2)]


def test_a_log_without_rows_is_an_empty_table_of_its_columns(k2_driver):
    found = k2_driver(TRADES).output("trades").read_all()
    assert (found.num_rows, found.schema.field("symbol").type) == (0, pa.string())


def test_a_table_shows_its_committed_rows(k2_driver):
    driver = k2_driver(TRADES)
    driver.input(RAW).send_many([trade(1), trade(2), trade(7, "B")])
    driver.input(RAW).send(trade(None, "C", trade_id="t1"))
    found = driver.table("sequence")
    assert {scope: state.sessions[0].expected for scope, state in found.items()} == {
        "X:A": 3,
        "X:B": 8,
    }
    ids = driver.table("dedup")
    assert [len(hashes) for hashes in ids.values()] == [1]
    assert driver.table("timers") == driver.table("deferral") == {}
    with pytest.raises(ValueError, match="no table totals: there are sequence, dedup"):
        driver.table("totals")


def test_a_key_in_two_partitions_is_asked_for_by_partition(k2_driver):
    driver = k2_driver(TRADES, partitions=2, settings={"K2_CHECK_PARTITION": 0})
    driver.input(RAW).send(trade(1), partition=0)
    driver.input(RAW).send(trade(5), partition=1)
    with pytest.raises(ValueError, match="'X:A' is a key in partition 1 and in another one"):
        driver.table("sequence")
    assert driver.table("sequence", 1)["X:A"].sessions[0].expected == 6


def test_rows_are_of_lake_and_tail_and_asked_for_as_over_http(k2_driver):
    driver = k2_driver(TRADES)
    driver.input(RAW).send_many([trade(n, symbol) for n in (1, 2) for symbol in "AB"])
    driver.commit_lake()
    driver.input(RAW).send_many([trade(3), trade(5)])
    answer = driver.answer("trades", symbol="A")
    assert sequences(answer.rows) == [1, 2, 3, 5]
    assert (answer.meta.rows_lake, answer.meta.rows_tail) == (2, 2)
    assert answer.meta.complete is False
    assert sequences(driver.rows("trades", symbol=["A", "B"], exchange="X", limit=3)) == [1, 1, 2]
    assert sequences(driver.rows("trades", descending=True, symbol="A")) == [5, 3, 2, 1]
    assert sequences(driver.rows("trades", start_ns=T0_NS + 2, end_ns=T0_NS + 4)) == [2, 2, 3]
    driver.input(RAW).send(trade(4))
    assert sequences(driver.rows("trades", symbol="A", as_of=answer.meta.token)) == [1, 2, 3, 5]
    with pytest.raises(UnknownSymbolError):
        driver.rows("trades", symbol="NONE")
    with pytest.raises(ValueError, match="no output quotes: it has trades"):
        driver.rows("quotes")


def test_gaps_are_found_and_filled(k2_driver):
    driver = k2_driver(TRADES)
    driver.input(RAW).send_many([trade(1), trade(4), trade(1, "B"), trade(3, "B")])
    assert [(gap.symbol, gap.first, gap.last, gap.state) for gap in driver.gaps()] == [
        ("A", 2, 3, "open"),
        ("B", 2, 2, "open"),
    ]
    driver.input(RAW).send_many([trade(2), trade(3)])
    assert [gap.state for gap in driver.gaps(symbols=("A",))] == ["filled"]


def test_dead_letters_come_with_reason_and_bytes(k2_driver):
    driver = k2_driver(TRADES)
    driver.input(RAW).send("nonsense", key="X:A")
    driver.input(RAW).send(trade(1, price="-1"))
    found = driver.dead_letters()
    assert [(letter.reason, letter.field) for letter in found] == [
        ("not-json", None),
        ("not-positive", "price"),
    ]
    assert {letter.key for letter in found} == {"X:A"}


# -- time ------------------------------------------------------------------------------------------


def test_time_passes_only_when_it_is_told_to_or_for_what_is_read(k2_driver):
    driver = k2_driver(TRADES, start=dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
    began_ns = int(dt.datetime(2030, 1, 1, tzinfo=dt.UTC).timestamp()) * 10**9
    driver.input(RAW).send(trade(1))
    assert driver.time_ns == began_ns
    driver.advance(60)
    assert driver.time_ns == began_ns + 60 * 10**9
    driver.output("trades").read_all()
    assert driver.time_ns == began_ns + 60 * 10**9, "it was processed in that minute"


def test_time_alone_abandons_a_gap_of_a_silent_scope(k2_driver):
    driver = k2_driver(TRADES, partitions=1, settings={"K2_LATE_HORIZON_S": 60})
    driver.input(RAW).send_many([trade(1), trade(3)])
    assert [gap.state for gap in driver.gaps()] == ["open"]
    driver.advance(120)
    assert [gap.state for gap in driver.gaps()] == ["abandoned"]


def test_a_start_needs_a_time_zone():
    with pytest.raises(ValueError, match="has no time zone"):
        StreamDriver(TRADES, start=dt.datetime(2030, 1, 1))  # noqa: DTZ001 - that is the fault


# -- crashes and groups ----------------------------------------------------------------------------


def test_what_was_sent_while_no_worker_ran_is_processed_after_the_restart(k2_driver):
    driver = k2_driver(TRADES)
    driver.input(RAW).send(trade(1))
    driver.checkpoint()
    driver.crash()
    driver.input(RAW).send(trade(2))
    assert sequences(driver.output("trades").read_all()) == [1]
    with pytest.raises(DriverError, match=r"no worker runs: call restart\(\)"):
        driver.checkpoint()
    driver.restart()
    assert sequences(driver.rows("trades")) == [1, 2]


def test_tables_are_restored_from_their_changelogs_on_empty_disks(k2_driver):
    driver = k2_driver(TRADES)
    driver.input(RAW).send_many([trade(1), trade(2), trade(None, "C", trade_id="t1")])
    before = driver.table("sequence")
    driver.restart(empty_disks=True)
    driver.input(RAW).send_many([trade(2), trade(3), trade(None, "C", trade_id="t1")])
    assert sequences(driver.rows("trades", symbol="A")) == [1, 2, 3]
    assert driver.rows("trades", symbol="C").num_rows == 1
    assert driver.table("sequence")["X:A"].counters.duplicates == 1
    assert before["X:A"].counters.duplicates == 0


#: No worker in memory expires or maintains its tables: test_maintenance_exact does.
OTHERS = ("lake.expiring", "maintenance.")
REACHED = [one for one in WORKER_POINTS if not one.startswith(OTHERS)]


@pytest.mark.parametrize("point", REACHED)
@pytest.mark.slow
def test_a_crash_at_any_failpoint_loses_and_doubles_nothing(k2_driver, point):
    """Also where the process dies in the middle of a step: no line of it runs any more."""
    driver = k2_driver(TRADES, partitions=1, settings={"K2_LAKE_COMMIT_INTERVAL_S": 1})
    driver.input(RAW).send_many([trade(1), trade(2)])
    driver.commit_lake()
    driver.crash()
    driver.restart()
    driver.input(RAW).send_many([trade(3), trade(5), trade(5)])
    if point == "take-over.replaying":
        driver.crash(at="checkpoint.committed")  # now the store is behind its changelog
    driver.crash(at=point)
    driver.restart()
    driver.input(RAW).send_many([trade(4)])
    driver.commit_lake()
    assert sequences(driver.rows("trades")) == [1, 2, 3, 4, 5]
    assert sequences(driver.output("trades").read_all()) == [1, 2, 3, 5, 4]
    assert driver.answer("trades").meta.rows_lake == 5
    assert [(gap.first, gap.state) for gap in driver.gaps()] == [(4, "filled")]
    assert driver.table("sequence")["X:A"].counters.duplicates == 1


def test_a_failpoint_that_no_worker_comes_to_is_an_error(k2_driver):
    driver = k2_driver(TRADES, partitions=1)
    with pytest.raises(DriverError, match=r"no worker came to checkpoint\.committed within"):
        driver.crash(at="checkpoint.committed")
    with pytest.raises(ValueError, match=r"no failpoint checkpoint\.done: there are "):
        driver.crash(at="checkpoint.done")


def test_partitions_move_between_workers(k2_driver):
    driver = k2_driver(TRADES, partitions=4)
    source = driver.input(RAW)
    source.send_many([trade(1, symbol) for symbol in "ABCDEFGH"])
    driver.rebalance(workers=3)
    source.send_many([trade(2, symbol) for symbol in "ABCDEFGH"])
    driver.crash(at="checkpoint.sent")
    source.send_many([trade(4, symbol) for symbol in "ABCDEFGH"])
    assert sorted(sequences(driver.output("trades").read_all())) == [1] * 8 + [2] * 8 + [4] * 8
    driver.restart()
    driver.rebalance(workers=1)
    source.send_many([trade(3, symbol) for symbol in "ABCDEFGH"])
    assert sequences(driver.rows("trades", symbol="C")) == [1, 2, 3, 4]
    assert {gap.state for gap in driver.gaps()} == {"filled"}
    with pytest.raises(ValueError, match="one worker or more"):
        driver.rebalance(workers=0)


# -- errors ----------------------------------------------------------------------------------------


def test_a_setting_that_cannot_be_used_is_named():
    with pytest.raises(SettingsError, match="K2_LATE_HORIZON_SECONDS"):
        StreamDriver(TRADES, settings={"K2_LATE_HORIZON_SECONDS": 3})


def test_a_refused_partition_raises_with_its_text(k2_driver):
    """Records that the source never had: the state belongs to another topic."""
    driver = k2_driver(TRADES, partitions=1)
    driver.input(RAW).send_many([trade(1), trade(2)])
    driver.checkpoint()
    driver.crash()
    del driver._run.cluster.partitions[RAW, 0].entries[1:]
    with pytest.raises(DriverError, match=r"worker-0: partition k2\.trades\.raw-0 is refused: "):
        driver.restart()


def test_what_is_never_processed_says_where_the_tasks_are(k2_driver, monkeypatch):
    driver = k2_driver(TRADES, partitions=1, settings={"K2_LAKE_COMMIT_INTERVAL_S": 1})
    monkeypatch.setattr("k2_streams.testing.driver_run.SETTLED_WITHIN_S", 0.0)
    driver.input(RAW).send(trade(1))
    with pytest.raises(DriverError, match=r"(?s)everything processed.*k2\.trades\.raw-0.*running"):
        driver.checkpoint()


async def test_in_a_test_with_async_it_says_what_is_wrong():
    with pytest.raises(DriverError, match="use it in a test without async"):
        StreamDriver(TRADES)


# -- the same each time ----------------------------------------------------------------------------


def outputs(seed: int) -> list[Any]:
    with StreamDriver(TRADES, seed=seed, limits=Limits(batch_records=3)) as driver:
        driver.input(RAW).send_many([trade(n, s) for n in (1, 2, 5, 4) for s in "ABC"])
        driver.crash(at="checkpoint.acknowledged")
        driver.restart()
        driver.rebalance(workers=2)
        driver.input(RAW).send_many([trade(n, s) for n in (3, 3, 6) for s in "ABC"])
        topics = ("trades", "k2.sequence-events", "k2-sequence-changelog")
        return [driver.output(topic).records() for topic in topics]


def test_the_same_calls_give_the_same_bytes():
    assert outputs(1) == outputs(1)


@pytest.mark.slow
def test_the_fixture_is_there_by_the_entry_point_alone(tmp_path: Path):
    """Without a conftest.py, as in a test of somebody who has installed K2."""
    (tmp_path / "test_mine.py").write_text(
        "def test_mine(k2_driver):\n"
        "    from test_stream_driver import TRADES\n"
        "    assert k2_driver(TRADES, partitions=1).time_ns > 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "k2_streams.testing.pytest_plugin",
         "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"PYTHONPATH": ":".join(map(str, (*Path(__file__).parents[:3],)))},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_more_than_a_worker_takes_at_once_is_deferred_and_not_lost(k2_driver):
    """With triggers so low that a burst of a hundred calls for a level."""
    driver = k2_driver(
        TRADES,
        partitions=2,
        settings={
            "K2_LAG_TRIGGERS_RECORDS": "10,20,40",
            "K2_MAX_RATE_PER_S": 20,
            "K2_COOL_DOWN_S": 1,
        },
    )
    driver.input(RAW).send_many([trade(n, f"Q{n % 7}") for n in range(1, 101)])
    driver.advance(1.0)
    levels = {one.json()["level"] for one in driver.output("k2.levels").records()}
    assert "AGGRESSIVE" in levels
    assert driver.output("k2.trades.deferred").records()
    assert driver.rows("trades").num_rows == 100
    assert driver.table("deferral") == {}


WITHOUT_GREENLET = """
import sys
sys.modules["greenlet"] = None  # as if it were not installed
import k2_streams.cli.main, k2_streams.testing.local.up
from k2_streams.testing import fuzz_feed
try:
    from k2_streams.testing import StreamDriver
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.slow
def test_what_the_driver_needs_nothing_else_needs():
    """Commands and feeds' authors get along without the extra `testing`."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_GREENLET],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "StreamDriver needs greenlet: install k2-streams[testing]\n"


def test_a_worker_that_dies_while_it_is_asked_is_an_error(k2_driver, monkeypatch):
    driver = k2_driver(TRADES, partitions=1)

    async def never(*_: Any) -> Any:
        driver._run._fleet.kill(0)
        await asyncio.sleep(0)

    monkeypatch.setattr(driver._run.output_of("trades").node.query, "rows", never)
    with pytest.raises(DriverError, match="worker-0 gave no answer within 60 s"):
        driver.rows("trades")
