"""Which quote a trade takes, in plain Python: all of them are looked at."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from k2_streams.core.query.asof.strategy import AsOfRule

ORDER = ("exchange_time_ns", "log_partition", "log_offset", "log_row")
PRICES = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
Row = Mapping[str, Any]


def quote_of(trade: Row, quotes: Sequence[Row], rule: AsOfRule) -> Row | None:
    """The quote of a trade; `quotes` are in the order of rows."""
    time_ns = trade["exchange_time_ns"]
    same = [
        quote
        for quote in quotes
        if (quote["exchange"], quote["symbol"]) == (trade["exchange"], trade["symbol"])
        and abs(quote["exchange_time_ns"] - time_ns) <= rule.tolerance_ns
        and (rule.allow_exact_matches or quote["exchange_time_ns"] != time_ns)
    ]
    before = [quote for quote in same if quote["exchange_time_ns"] <= time_ns]
    after = [quote for quote in same if quote["exchange_time_ns"] >= time_ns]
    last = before[-1] if before else None
    first = after[0] if after else None
    if rule.strategy == "backward" or (rule.strategy == "nearest" and first is None):
        return last
    if rule.strategy == "forward" or last is None:
        return first
    assert first is not None
    nearer = time_ns - last["exchange_time_ns"] <= first["exchange_time_ns"] - time_ns
    return last if nearer else first


def mid_of(quote: Row | None) -> Fraction | None:
    if quote is None or quote["bid_price"] is None or quote["ask_price"] is None:
        return None
    return (Fraction(quote["bid_price"]) + Fraction(quote["ask_price"])) / 2


def joined(
    trades: Sequence[Row], quotes: Sequence[Row], rule: AsOfRule, markouts: Mapping[str, int]
) -> list[dict[str, Any]]:
    """What the join adds to each trade, but `quote_complete`; ratios in 18th decimals."""
    ordered = sorted(quotes, key=lambda quote: tuple(quote[name] for name in ORDER))
    back = AsOfRule("backward", rule.tolerance_ns)
    rows = []
    for trade in trades:
        quote = quote_of(trade, ordered, rule)
        mid = mid_of(quote)
        time_ns = None if quote is None else quote["exchange_time_ns"]
        row: dict[str, Any] = {name: None if quote is None else quote[name] for name in PRICES}
        row["quote_time_ns"] = time_ns
        row["quote_age_ns"] = None if time_ns is None else trade["exchange_time_ns"] - time_ns
        row["mid"] = _units(mid)
        row["markouts"] = {}
        row["spread"] = row["effective_spread"] = None
        if quote is not None and mid is not None:
            row["spread"] = _units(Fraction(quote["ask_price"]) - Fraction(quote["bid_price"]))
            row["effective_spread"] = _units(abs(Fraction(trade["price"]) - mid) * 2)
        for name, later_ns in markouts.items():
            later = {**trade, "exchange_time_ns": trade["exchange_time_ns"] + later_ns}
            row["markouts"][name] = _units(mid_of(quote_of(later, ordered, back)))
        rows.append(row)
    return rows


def plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of a join as the model has them."""
    found = []
    for row in rows:
        one = {name: value for name, value in row.items() if name != "quote_complete"}
        made = [name for name in one if name.startswith("mid") or name.endswith("spread")]
        found.append(
            one
            | {name: _exact(row[name]) for name in made}
            | {"markouts": {name: _exact(mid) for name, mid in row["markouts"]}}
        )
    return found


def _exact(value: Any) -> int | None:
    return None if value is None else _units(Fraction(value))


def _units(value: Fraction | None) -> int | None:
    return None if value is None else round(value * 10**18)
