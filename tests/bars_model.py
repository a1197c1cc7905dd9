"""What bars are: each from all of its trades so far, with nothing of the example's."""

from collections.abc import Mapping, Sequence
from typing import Any

from topologies.examples.bars import LATE_NS, MINUTE_NS

#: The columns of a bar.
NAMES = (
    "exchange",
    "symbol",
    "start_ns",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "trades",
    "revision",
)

#: Exchange, symbol, start.
BarKey = tuple[str, str, int]


def bars_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Bar after bar from all of its trades so far, with nothing of the example's."""
    taken: dict[BarKey, list[Mapping[str, Any]]] = {}
    revisions: dict[BarKey, int] = {}
    found: list[tuple[Any, ...]] = []
    watermark_ns = -(2**63)

    def emit(key: BarKey) -> None:
        ordered = sorted(taken[key], key=lambda row: row["exchange_time_ns"])  # stable
        prices = [row["price"] for row in ordered]
        revisions[key] = revisions.get(key, -1) + 1
        found.append(
            (
                *key, prices[0], max(prices), min(prices), prices[-1],
                sum(row["quantity"] for row in ordered), len(ordered), revisions[key],
            )
        )  # fmt: skip

    for row in rows:
        time_ns = row["exchange_time_ns"]
        reached_ns = max(watermark_ns, time_ns)
        due = [key for key in taken if key not in revisions and key[2] + MINUTE_NS <= reached_ns]
        for key in sorted(due, key=lambda key: (key[2], key[:2])):
            emit(key)
        key = (row["exchange"], row["symbol"], time_ns - time_ns % MINUTE_NS)
        if row.get("action") is None and key[2] + MINUTE_NS + LATE_NS > watermark_ns:
            taken.setdefault(key, []).append(row)
            if key in revisions:
                emit(key)
        watermark_ns = reached_ns
    return found
