"""The example `surveillance`: every alert that a comparison of all trades gives, and no other."""

import random
from decimal import Decimal
from typing import Any

import pytest

from k2_streams.testing import InputMessage
from topologies.examples.surveillance import KEPT, WASH_WITHIN_NS, app

pytestmark = pytest.mark.usefixtures("quiet_logs")

NOON_NS = 1_767_614_400_000_000_000


def trade(
    time_ns: int, quantity: int = 10, side: str | None = "buy", **more: Any
) -> dict[str, Any]:
    return {
        "exchange": "X",
        "symbol": "A",
        "price": Decimal(100),
        "quantity": Decimal(quantity),
        "side": side,
        "exchange_time_ns": NOON_NS + time_ns,
        **more,
    }


def trades(seed: int, count: int) -> list[dict[str, Any]]:
    chance, now_ns, found = random.Random(seed), 0, []
    for _ in range(count):
        now_ns += chance.choice([0, 10**9, 4 * 10**9, 11 * 10**9])
        found.append(
            trade(
                now_ns - chance.choice([0, 0, 2 * 10**9]),
                chance.choice([1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 400]),
                chance.choice(["buy", "sell", None]),
                symbol=chance.choice("AAAB"),
                price=Decimal(chance.choice([100, 101])),
            )
        )
    return [*found, trade(now_ns, 10**6, symbol="A")]


def expected(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Row by row against the 50 rows of the symbol in front of it."""
    found: list[tuple[Any, ...]] = []
    for number, row in enumerate(rows):
        before = [one for one in rows[:number] if one["symbol"] == row["symbol"]][-KEPT:]
        time_ns = row["exchange_time_ns"]
        others = [
            one["exchange_time_ns"]
            for one in before
            if {one["side"], row["side"]} == {"buy", "sell"}
            and (one["price"], one["quantity"]) == (row["price"], row["quantity"])
            and -WASH_WITHIN_NS <= one["exchange_time_ns"] - time_ns <= WASH_WITHIN_NS
        ]
        if others:
            found.append((row["symbol"], time_ns, "wash", row["quantity"], others[-1]))
        if len(before) == 50 and row["quantity"] > 10 * sum(r["quantity"] for r in before) / 50:
            found.append((row["symbol"], time_ns, "large", row["quantity"], None))
    return found


def alerts_of(driver: Any) -> list[tuple[Any, ...]]:
    names = ("symbol", "exchange_time_ns", "kind", "quantity", "other_time_ns")
    found = driver.output("alerts").read_all().to_pylist()
    return [tuple(row[name] for name in names) for row in found]


@pytest.mark.parametrize("seed", range(3))
def test_alerts_are_those_that_a_comparison_of_all_trades_gives(k2_driver: Any, seed: int) -> None:
    rows = trades(seed, 150)
    driver = k2_driver(app, partitions=1, seed=seed)
    driver.input("trades").send_many(rows[:90])
    driver.crash()
    driver.restart(empty_disks=True)
    driver.input("trades").send_many(rows[90:])
    found = alerts_of(driver)
    assert found == expected(rows)
    assert {one[2] for one in found} == {"wash", "large"}


def test_alerts_do_not_depend_on_how_trades_are_cut(k2_driver: Any) -> None:
    k2_driver(app, partitions=2).check_splits([InputMessage(row) for row in trades(5, 70)])


@pytest.mark.parametrize(
    ("second", "kinds"),
    [
        (trade(WASH_WITHIN_NS, side="sell"), ["wash"]),
        (trade(WASH_WITHIN_NS + 1, side="sell"), []),
        (trade(1, side="buy"), []),
        (trade(1, side=None), []),
        (trade(1, quantity=11, side="sell"), []),
        (trade(1, side="sell", price=Decimal("100.01")), []),
        (trade(1, side="sell", symbol="B"), []),
        (trade(1, side="sell", action="cancel", ref_trade_id="1"), []),
    ],
)
def test_a_wash_trade_is_the_same_from_the_other_side_soon(
    k2_driver: Any, second: dict[str, Any], kinds: list[str]
) -> None:
    driver = k2_driver(app, partitions=1)
    driver.input("trades").send_many([trade(0), second])
    assert [one[2] for one in alerts_of(driver)] == kinds


def test_the_page_names_the_newest_alerts() -> None:
    (page,) = app.pages
    assert page.path == "/alerts"
