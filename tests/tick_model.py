"""The plain model of ticks: a row at a time, in the order of the log."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from k2_streams.core.time_units import DAY_NS


class Trade(NamedTuple):
    """What a tick depends on."""

    key: tuple[str, str, int]  # exchange, symbol, log partition
    time_ns: int
    price: Decimal
    action: str | None
    late: bool


def ticks(trades: Iterable[Trade]) -> list[str | None]:
    last: dict[tuple, Decimal] = {}
    found: list[str | None] = []
    for trade in trades:
        if trade.action is not None or trade.late:
            found.append(None)
            continue
        of_day = (trade.key, trade.time_ns // DAY_NS)
        before, last[of_day] = last.get(of_day), trade.price
        if before is None:
            found.append(None)
        elif trade.price == before:
            found.append("same")
        else:
            found.append("up" if trade.price > before else "down")
    return found


def with_ticks(rows: list[dict]) -> list[dict]:
    """Rows of an answer, in any order, as far as they are all there are."""
    ordered = sorted(
        rows, key=lambda row: (row["log_partition"], row["log_offset"], row["log_row"])
    )
    found = ticks(
        Trade(
            (row["exchange"], row["symbol"], row["log_partition"]),
            row["exchange_time_ns"],
            row["price"],
            row["action"],
            row["late"],
        )
        for row in ordered
    )
    for row, tick in zip(ordered, found, strict=True):
        row["tick_direction"] = tick
    return rows


def without(row: dict) -> dict:
    """A row as a worker made it but for its tick: what a worker does not know is null there."""
    return {name: value for name, value in row.items() if name != "tick_direction"}
