"""The example `bars`: equal to an independent computation, for any order, split and crash."""

import random
from decimal import Decimal
from typing import Any

import pytest
from bars_model import NAMES, bars_of

from k2_streams.testing import InputMessage
from topologies.examples.bars import LATE_NS, MINUTE_NS, app

pytestmark = pytest.mark.usefixtures("quiet_logs")

T0_NS = 1_767_225_600_000_000_000


def trade(number: int, time_ns: int, symbol: str = "A", **more: Any) -> dict[str, Any]:
    return {
        "exchange": "X",
        "symbol": symbol,
        "price": Decimal(100 + number * 7 % 13),
        "quantity": Decimal(number % 5 + 1),
        "exchange_time_ns": time_ns,
        **more,
    }


def trades(seed: int, count: int = 120) -> list[dict[str, Any]]:
    """Of two symbols; some come minutes late, some more than a day, and some cancel others."""
    chance = random.Random(seed)
    found, now_ns = [], T0_NS
    for number in range(count):
        now_ns += chance.choice([0, 1, 10**9, 20 * 10**9, LATE_NS // 50])
        late_ns = chance.choice([0, 0, 0, MINUTE_NS, 5 * MINUTE_NS, 2 * LATE_NS])
        more = {"action": "cancel", "ref_trade_id": "1"} if chance.random() < 0.05 else {}
        found.append(trade(number, now_ns - late_ns, chance.choice("AB"), **more))
    return found


def columns(table: Any) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in NAMES) for row in table.to_pylist()]


@pytest.mark.parametrize("seed", range(3))
def test_bars_are_what_all_their_trades_give(k2_driver: Any, seed: int) -> None:
    """In the topic in this order, and in answers, of the lake and the tail."""
    rows = trades(seed)
    driver = k2_driver(app, partitions=1, seed=seed)
    driver.input("trades").send_many(rows[:60])
    driver.commit_lake()
    driver.crash()
    driver.restart()
    driver.input("trades").send_many(rows[60:])
    found = columns(driver.output("bars_1m").read_all())
    assert found == bars_of(rows)
    assert any(row[-1] > 0 for row in found), "no bar was revised"
    assert sorted(columns(driver.rows("bars_1m"))) == sorted(found)


def test_bars_do_not_depend_on_how_trades_are_cut(k2_driver: Any) -> None:
    k2_driver(app, partitions=2).check_splits([InputMessage(row) for row in trades(7, 60)])


def test_a_volume_of_more_than_28_digits_is_exact(k2_driver: Any) -> None:
    """As many as a quantity may have."""
    large = Decimal("12345678901234567890.000000000000000001")
    driver = k2_driver(app, partitions=1)
    driver.input("trades").send_many(
        [trade(0, T0_NS) | {"quantity": large}, trade(1, T0_NS + 1), trade(2, T0_NS + MINUTE_NS)]
    )
    (bar,) = driver.output("bars_1m").read_all().to_pylist()
    assert bar["volume"] == Decimal("12345678901234567892.000000000000000001")
