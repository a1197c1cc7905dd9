"""The example `positions`: exact from the fills alone, or a dead letter."""

import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from k2_streams.testing import InputMessage
from topologies.examples.positions import app

pytestmark = pytest.mark.usefixtures("quiet_logs")

NOON_NS = 1_767_614_400_000_000_000


def fill(number: int, **more: Any) -> dict[str, Any]:
    return {
        "exchange": "X",
        "symbol": "A",
        "price": Decimal("100.25"),
        "quantity": Decimal(3),
        "side": "buy",
        "exchange_time_ns": NOON_NS + number,
        "vendor": [("account", "desk-1"), ("venue-note", "x")],
        **more,
    }


def fills(seed: int, count: int = 80) -> list[dict[str, Any]]:
    """Of two accounts and two symbols, between trades of others; a few without a side."""
    chance, found = random.Random(seed), []
    for number in range(count):
        account = chance.choice(["desk-1", "desk-2", None])
        more = {"action": "correct", "ref_trade_id": "1"} if chance.random() < 0.05 else {}
        found.append(
            fill(
                number,
                symbol=chance.choice("AB"),
                price=Decimal(chance.randint(1, 10**6)) / 10**4,
                quantity=Decimal(chance.randint(1, 10**6)) / 10**8,
                side=chance.choice(["buy", "sell", "buy", "sell", "buy", None]),
                vendor=None if account is None else [("account", account)],
                **more,
            )
        )
    return found


def expected(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Behind each fill from all fills of the account in the symbol, as fractions."""
    own: dict[tuple[str, str], list[tuple[Fraction, Fraction]]] = {}
    found: list[tuple[Any, ...]] = []
    for row in rows:
        if row["vendor"] is None or row["side"] is None or row.get("action"):
            continue
        account, price = row["vendor"][0][1], Fraction(row["price"])
        signed = Fraction(row["quantity"]) * (1 if row["side"] == "buy" else -1)
        taken = own.setdefault((account, row["symbol"]), [])
        taken.append((price, signed))
        position = sum(quantity for _, quantity in taken)
        cash = -sum(paid * quantity for paid, quantity in taken)
        profit = cash + position * price
        found.append((account, row["symbol"], position, cash, profit, len(taken)))
    return found


def positions_of(driver: Any) -> list[tuple[Any, ...]]:
    found = driver.output("positions").read_all().to_pylist()
    return [
        (
            row["account"],
            row["symbol"],
            *(Fraction(row[name]) for name in ("position", "cash", "profit")),
            row["fills"],
        )
        for row in found
    ]


@pytest.mark.parametrize("seed", range(3))
def test_positions_are_what_all_fills_give(k2_driver: Any, seed: int) -> None:
    rows = fills(seed)
    driver = k2_driver(app, partitions=1, seed=seed)
    driver.input("trades").send_many(rows[:40])
    driver.crash()
    driver.restart(empty_disks=True)
    driver.input("trades").send_many(rows[40:])
    assert positions_of(driver) == expected(rows)
    letters = [row for row in rows if row["vendor"] and row["side"] is None and "action" not in row]
    assert [one.reason for one in driver.dead_letters()] == ["no-side"] * len(letters)
    assert letters


def test_positions_do_not_depend_on_how_fills_are_cut(k2_driver: Any) -> None:
    k2_driver(app, partitions=2).check_splits([InputMessage(row) for row in fills(5, 40)])


def test_a_fill_that_cannot_be_held_exactly_is_a_dead_letter_and_no_other_is(
    k2_driver: Any,
) -> None:
    """18 places times 18 places are 36: more than a column has."""
    tiny = Decimal("0.000000000000000001")
    rows = [fill(0), fill(1, price=tiny, quantity=tiny), fill(2, side="sell")]
    driver = k2_driver(app, partitions=1)
    driver.input("trades").send_many(rows)
    assert positions_of(driver) == expected([rows[0], rows[2]])
    (letter,) = driver.dead_letters()
    assert letter.reason == "agent-error"


def test_an_account_finds_its_positions_by_its_name(k2_driver: Any) -> None:
    driver = k2_driver(app, partitions=1)
    driver.input("trades").send_many([fill(0), fill(1, vendor=[("account", "desk-2")])])
    (row,) = driver.rows("positions", account="desk-2").to_pylist()
    assert (row["account"], row["fills"]) == ("desk-2", 1)
