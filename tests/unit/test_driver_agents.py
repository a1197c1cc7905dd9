"""Agents of a user's own on the test driver: rows in, rows out, tables, timers, errors."""

from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from test_stream_driver import T0_NS

import k2_streams as k2
from k2_streams.testing import DriverError, InputMessage
from k2_streams.topology.builder import TopologyBuilder

pytestmark = pytest.mark.usefixtures("quiet_logs")

ALERTS = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("event_time_ns", pa.int64(), nullable=False),
        pa.field("total", pa.decimal128(38, 18), nullable=False),
        pa.field("prices", pa.list_(pa.decimal128(38, 18))),
    ]
)
KEY = ("exchange", "symbol")


class Total(msgspec.Struct):
    quantity: Decimal = Decimal(0)
    prices: list[Decimal] = []


def trade(number: int, symbol: str = "A", quantity: str = "2", **more: Any) -> dict[str, Any]:
    return {
        "exchange": "X",
        "symbol": symbol,
        "price": f"1.{number}",
        "quantity": quantity,
        "exchange_time_ns": T0_NS + number * 10**9,
        **more,
    }


def totals(on_error: str = "stop", body: Any = None) -> k2.Topology:
    """Emits each symbol's total so far with every trade."""
    app = TopologyBuilder("sums")
    trades = app.stream("trades")
    table = app.table("totals", Total, 1)
    output = app.output("running", ALERTS, KEY, "event_time_ns")

    def add(batch: pa.RecordBatch, ctx: k2.Context) -> None:
        rows = []
        for row in batch.to_pylist():
            if row["quantity"] == 666:
                raise ValueError("666 is no quantity")
            key = f"{row['exchange']}:{row['symbol']}"
            total = ctx.table(table).get(key) or Total()
            total.quantity += row["quantity"]
            total.prices = [*total.prices, row["price"]]
            ctx.table(table).put(key, total)
            rows.append(
                {
                    "exchange": row["exchange"],
                    "symbol": row["symbol"],
                    "event_time_ns": row["exchange_time_ns"],
                    "total": total.quantity,
                    "prices": total.prices[-2:],
                }
            )
        ctx.emit(output, pa.RecordBatch.from_pylist(rows, schema=ALERTS))

    app.agent(
        trades, body(table, output) if body else add, "add", [table], [output], on_error, None
    )
    return app.topology


def test_rows_of_a_log_go_in_and_rows_of_an_output_come_out(k2_driver):
    driver = k2_driver(totals())
    driver.input("trades").send_many([trade(1), trade(2), trade(3, "B", "0.5")])
    driver.input("k2.trades").send(trade(4, "A", "1"))
    found = driver.output("running").read_all().to_pylist()
    assert sorted((row["symbol"], row["total"]) for row in found) == [
        ("A", Decimal(2)),
        ("A", Decimal(4)),
        ("A", Decimal(5)),
        ("B", Decimal("0.5")),
    ]
    assert driver.table("totals")["X:A"] == Total(
        Decimal(5), [Decimal("1.1"), Decimal("1.2"), Decimal("1.4")]
    )
    assert driver.gaps() == []


def test_an_output_is_queried_with_its_proof_from_lake_and_tail(k2_driver):
    driver = k2_driver(totals(), partitions=2)
    driver.input("trades").send_many([trade(n, symbol) for n in (1, 2) for symbol in "AB"])
    driver.commit_lake()
    driver.input("trades").send(trade(3))
    answer = driver.answer("running", symbol="A")
    assert answer.rows.column("total").to_pylist() == [Decimal(2), Decimal(4), Decimal(6)]
    assert answer.rows.column("prices").to_pylist()[-1] == [Decimal("1.2"), Decimal("1.3")]
    assert (answer.meta.rows_lake, answer.meta.rows_tail) == (2, 1)


def test_an_arrow_table_is_sent_as_one_checkpoint(k2_driver):
    driver = k2_driver(totals(), partitions=1)
    table = pa.Table.from_pylist([trade(1), trade(2)])
    sent = driver.input("trades").send_many(table)
    assert [(one.partition, one.offset) for one in sent] == [(0, 0)]
    driver.input("trades").send_many([InputMessage([trade(3)], at=2.0), InputMessage(trade(4))])
    assert driver.output("running").read_all().num_rows == 4


def test_a_row_that_does_not_fit_the_log_says_what_is_wrong(k2_driver):
    driver = k2_driver(totals(), partitions=1)
    with pytest.raises(
        ValueError, match=r"row of k2\.trades: price is missing; prize is no column"
    ):
        driver.input("trades").send({**trade(1), "price": None, "prize": 1})


@pytest.mark.parametrize(
    "point",
    [
        *("checkpoint.sealed", "checkpoint.acknowledged", "checkpoint.committed"),
        "checkpoint.handed-over",
    ],
)
def test_a_crash_leaves_tables_and_outputs_as_one(k2_driver, point):
    driver = k2_driver(totals(), partitions=1)
    driver.input("trades").send_many([trade(1), trade(2)])
    driver.checkpoint()
    driver.input("trades").send(trade(3))
    driver.crash(at=point)
    driver.restart(empty_disks=point == "checkpoint.committed")
    driver.input("trades").send(trade(4))
    totals_of = [row["total"] for row in driver.output("running").read_all().to_pylist()]
    assert totals_of == [Decimal(2), Decimal(4), Decimal(6), Decimal(8)]


def test_an_agent_that_stops_raises_with_its_text(k2_driver):
    driver = k2_driver(totals(), partitions=1)
    driver.input("trades").send_many([trade(1), trade(2, "A", "666")])
    with pytest.raises(
        DriverError, match=r"k2\.trades-0 is refused: failed: agent add: ValueError"
    ):
        driver.output("running").read_all()


def test_an_agent_that_sends_to_the_dead_letters_goes_on(k2_driver):
    driver = k2_driver(totals("dead-letter"), partitions=1)
    driver.input("trades").send_many([trade(1), trade(2, "A", "666"), trade(3)])
    assert driver.output("running").read_all().num_rows == 2
    (letter,) = driver.dead_letters()
    assert (letter.reason, letter.key, letter.topic) == ("agent-error", "X:A", "k2.trades")


def late_bars() -> k2.Topology:
    """Counts trades, and emits the count a second behind the first of them, in event time."""
    app = TopologyBuilder("counts")
    trades = app.stream("trades")
    table = app.table("open", int, 1)
    schema = pa.schema([*list(ALERTS)[:3], pa.field("count", pa.int64(), nullable=False)])
    output = app.output("counted", schema, KEY, "event_time_ns")

    def count(batch: pa.RecordBatch, ctx: k2.Context) -> None:
        for row in batch.to_pylist():
            key = row["symbol"]
            if ctx.table(table).get(key) is None:
                ctx.timers.set(key, row["exchange_time_ns"] + 10**9)
            ctx.table(table).put(key, (ctx.table(table).get(key) or 0) + 1)

    def emit(key: str, time_ns: int, ctx: k2.Context) -> None:
        found = ctx.table(table).get(key)
        ctx.table(table).delete(key)
        row = {"exchange": "X", "symbol": key, "event_time_ns": time_ns, "count": found}
        ctx.emit(output, pa.RecordBatch.from_pylist([row], schema=schema))

    app.agent(trades, count, None, [table], [output], "stop", emit)
    return app.topology


def test_timers_in_event_time_are_seen_and_fire(k2_driver):
    driver = k2_driver(late_bars(), partitions=1)
    half = T0_NS + 10**9 // 2
    driver.input("trades").send_many([trade(0), trade(0, exchange_time_ns=half), trade(0, "B")])
    assert driver.table("open") == {"A": 2, "B": 1}
    assert driver.table("timers") == {"count\0A": T0_NS + 10**9, "count\0B": T0_NS + 10**9}
    driver.restart(empty_disks=True)
    driver.input("trades").send(trade(3, "A"))
    rows = driver.rows("counted").to_pylist()
    assert sorted((row["symbol"], row["count"]) for row in rows) == [("A", 2), ("B", 1)]
    assert driver.table("open") == {"A": 1}


def records() -> list[Any]:
    return [trade(n, "ABC"[n % 3], str(n)) for n in range(1, 30)]


@pytest.mark.parametrize("topology", [totals, late_bars])
@pytest.mark.slow
def test_a_pure_agent_does_not_depend_on_how_its_rows_are_cut(k2_driver, topology):
    k2_driver(topology(), partitions=2).check_splits(records())


def per_batch(table: Any, output: Any) -> Any:
    """Planted: one row per batch instead of per trade."""

    def add(batch: pa.RecordBatch, ctx: k2.Context) -> None:
        (row, *_) = batch.to_pylist()
        found = {**{name: row[name] for name in KEY}, "event_time_ns": row["exchange_time_ns"]}
        ctx.emit(
            output, pa.RecordBatch.from_pylist([{**found, "total": len(batch)}], schema=ALERTS)
        )

    return add


def outside_of_tables(table: Any, output: Any) -> Any:
    """Planted: what is remembered is neither in a table nor per partition, and ends in a crash."""
    seen: dict[str, int] = {}

    def add(batch: pa.RecordBatch, ctx: k2.Context) -> None:
        for row in batch.to_pylist():
            key = row["symbol"]
            seen[key] = seen.get(key, 0) + 1
            ctx.table(table).put(key, Total(Decimal(seen[key])))

    return add


def last_of_batch(table: Any, output: Any) -> Any:
    """Planted: of two trades of a symbol in one batch the first is not looked at."""

    def add(batch: pa.RecordBatch, ctx: k2.Context) -> None:
        last = {row["symbol"]: row for row in batch.to_pylist()}
        for key, row in last.items():
            total = ctx.table(table).get(key) or Total()
            ctx.table(table).put(key, Total(total.quantity + row["quantity"]))

    return add


@pytest.mark.parametrize(
    ("planted", "shown"),
    [
        (per_batch, r"against as they come: log k2\.running"),
        (outside_of_tables, "against as they come: table totals, partition"),
        (last_of_batch, "against as they come: table totals, partition"),
    ],
)
@pytest.mark.slow
def test_an_agent_that_depends_on_its_batches_is_found(k2_driver, planted, shown):
    with pytest.raises(AssertionError, match=shown):
        k2_driver(totals(body=planted), partitions=2).check_splits(records())


def test_an_app_is_driven_as_it_is_declared(k2_driver):
    """`k2.App`, with the settings of the test and not of the process."""
    app = k2.App("surveillance")
    alerts = app.output("alerts", schema=ALERTS, key=KEY, time="event_time_ns")

    @app.agent(app.stream("trades"), outputs=[alerts])
    def all_of_them(batch: pa.RecordBatch, ctx: k2.Context) -> None:
        rows = [
            {
                "exchange": row["exchange"],
                "symbol": row["symbol"],
                "event_time_ns": row["exchange_time_ns"],
                "total": row["quantity"],
            }
            for row in batch.to_pylist()
        ]
        ctx.emit(alerts, pa.RecordBatch.from_pylist(rows, schema=ALERTS))

    driver = k2_driver(app, settings={"K2_LAKE_COMMIT_INTERVAL_S": 1})
    driver.input("trades").send_many([trade(n) for n in range(1, 4)])
    driver.rebalance(workers=2)
    driver.input("trades").send_many([trade(n) for n in range(4, 7)])
    driver.commit_lake()
    assert driver.answer("alerts").meta.rows_lake == 6
    assert driver.settings.app_id == "surveillance"


def test_an_app_of_two_sources_has_inputs_outputs_and_dead_letters_of_each(k2_driver):
    """Trades and quotes, each with an agent, a table and an output."""
    app = TopologyBuilder("both")
    outputs = {}
    for name in ("trades", "quotes"):
        outputs[name] = app.output(f"seen_{name}", ALERTS, KEY, "event_time_ns")
        table = app.table(f"count_{name}", int, 1)

        def see(batch: pa.RecordBatch, ctx: k2.Context, name=name, table=table) -> None:
            for number, row in enumerate(batch.to_pylist()):
                if row["symbol"] == "BAD":
                    ctx.dead_letter(number, "bad-symbol")
                    continue
                ctx.table(table).put(row["symbol"], (ctx.table(table).get(row["symbol"]) or 0) + 1)
                found = {one: row[one] for one in KEY} | {"event_time_ns": row["exchange_time_ns"]}
                rows = [{**found, "total": 1}]
                ctx.emit(outputs[name], pa.RecordBatch.from_pylist(rows, schema=ALERTS))

        app.agent(app.stream(name), see, f"see_{name}", [table], [outputs[name]], "stop", None)
    driver = k2_driver(app.topology, partitions=2)
    quote = {name: one for name, one in trade(1).items() if name not in {"price", "quantity"}}
    quote |= {"bid_price": "1", "crossed": False, "locked": False, "one_sided": True}
    driver.input("trades").send_many([trade(1), trade(2), trade(3, "BAD")])
    driver.input("quotes").send_many([quote, {**quote, "symbol": "BAD"}])
    assert driver.rows("seen_trades").num_rows == 2
    assert driver.rows("seen_quotes").num_rows == 1
    assert (driver.table("count_trades"), driver.table("count_quotes")) == ({"A": 2}, {"A": 1})
    letters = [(one.topic, one.key) for one in driver.dead_letters()]
    assert letters == [("k2.trades", "X:BAD"), ("k2.quotes", "X:BAD")]
    with pytest.raises(ValueError, match=r"reads k2\.trades, k2\.quotes: name one with topic="):
        driver.check_splits([trade(1)])
    driver.check_splits([trade(n) for n in range(5)], topic="trades")


def test_what_one_app_emits_another_reads(k2_driver):
    first = totals()
    second = TopologyBuilder("next")
    output = second.output("doubled", ALERTS, KEY, "event_time_ns")

    def double(batch: pa.RecordBatch, ctx: k2.Context) -> None:
        rows = [{**row, "total": 2 * row["total"]} for row in batch.to_pylist()]
        ctx.emit(output, pa.RecordBatch.from_pylist(rows, schema=ALERTS))

    second.agent(second.stream(first.outputs[0]), double, None, [], [output], "stop", None)
    before, after = k2_driver(first, partitions=2), k2_driver(second.topology, partitions=2)
    before.input("trades").send_many([trade(n) for n in (1, 2, 3)])
    after.input("running").send_many(before.output("running").read_all())
    assert after.rows("doubled").column("total").to_pylist() == [4, 8, 12]
