"""The example `vwap`: what all trades of the day give, for any split and crash."""

import datetime as dt
import random
from decimal import Decimal, localcontext
from typing import Any

import pytest

from k2_streams.testing import InputMessage
from topologies.examples.vwap import app

pytestmark = pytest.mark.usefixtures("quiet_logs")

MONDAY = dt.date(2026, 1, 5)
NOON_NS = 1_767_614_400_000_000_000


def trade(number: int, days: int = 0, symbol: str = "A", **more: Any) -> dict[str, Any]:
    return {
        "exchange": "X",
        "symbol": symbol,
        "price": Decimal("0.1") * (100 + number * 7 % 13),
        "quantity": Decimal(number % 5 + 1) / 8,
        "exchange_time_ns": NOON_NS + number,
        "trading_date": MONDAY + dt.timedelta(days),
        **more,
    }


def trades(seed: int, count: int = 80) -> list[dict[str, Any]]:
    """Of two symbols over three days; some come after their day, and some cancel others."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        more = {"action": "cancel", "ref_trade_id": "1"} if chance.random() < 0.05 else {}
        late = chance.choice([0, 0, 0, 1])
        found.append(trade(number, number * 3 // count - late, chance.choice("AB"), **more))
    return found


def expected(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Behind each trade from all trades of its day so far."""
    found, newest = [], {}
    for number, row in enumerate(rows):
        symbol, date = row["symbol"], row["trading_date"]
        if row.get("action") is not None or newest.get(symbol, date) > date:
            continue
        newest[symbol] = date
        day = [
            one
            for one in rows[: number + 1]
            if (one["symbol"], one["trading_date"]) == (symbol, date) and not one.get("action")
        ]
        with localcontext(prec=200):
            volume = sum(one["quantity"] for one in day)
            average = sum(one["price"] * one["quantity"] for one in day) / volume
            rounded = average.quantize(Decimal(1).scaleb(-18))
        found.append((symbol, row["exchange_time_ns"], date, rounded, volume, len(day)))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_average_is_that_of_all_trades_of_the_day(k2_driver: Any, seed: int) -> None:
    rows = trades(seed)
    driver = k2_driver(app, partitions=1, seed=seed)
    driver.input("trades").send_many(rows[:40])
    driver.commit_lake()
    driver.crash()
    driver.restart()
    driver.input("trades").send_many(rows[40:])
    names = ("symbol", "exchange_time_ns", "trading_date", "vwap", "volume", "trades")
    emitted = driver.output("vwap").read_all().to_pylist()
    assert [tuple(row[name] for name in names) for row in emitted] == expected(rows)
    assert len(driver.table("day")) == 2, "one day per symbol is kept"


def test_averages_do_not_depend_on_how_trades_are_cut(k2_driver: Any) -> None:
    k2_driver(app, partitions=2).check_splits([InputMessage(row) for row in trades(7, 40)])


def test_a_sum_of_more_digits_than_a_column_has_is_exact(k2_driver: Any) -> None:
    """Price times quantity has up to 76 digits; the average fits again."""
    large = Decimal("12345678901234567890.000000000000000001")
    above = Decimal("12345678901234567892.000000000000000001")
    driver = k2_driver(app, partitions=1)
    rows = [trade(0, price=large, quantity=large), trade(1, price=above, quantity=large)]
    driver.input("trades").send_many(rows)
    last = driver.output("vwap").read_all().to_pylist()[-1]
    assert last["vwap"] == Decimal("12345678901234567891.000000000000000001")
