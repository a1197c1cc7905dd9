"""What `/v1/bars` must answer, in plain Python: fractions, and a clock looked at every minute."""

import itertools
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Any

MINUTE_NS = 60 * 10**9
WEEK_NS = 7 * 86_400 * 10**9
FIELDS = ("updates_open_close", "updates_high_low", "updates_volume")
ORDER = ("exchange_time_ns", "log_partition", "log_offset", "log_row")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)

Row = Mapping[str, Any]
Edges = list[tuple[int, int]]


def zone_edges(length_ns: int, zone: tzinfo, start_ns: int, end_ns: int) -> Edges:
    """Bars that begin in a range: what a person finds who watches the clock of a zone.

    For lengths of whole minutes, and clocks that change at a whole minute.
    """
    length = timedelta(microseconds=length_ns // 1000)
    midnight = datetime(1970, 1, 1)  # noqa: DTZ001 - a local time

    def shows_multiple(local: datetime) -> bool:
        return not (local - midnight) % length

    found: list[int] = []
    before: datetime | None = None
    latest = datetime(1, 1, 1)  # noqa: DTZ001 - the latest local time that was shown
    set_back = timedelta()
    minute = start_ns // MINUTE_NS * MINUTE_NS - 2 * 86_400 * 10**9
    while minute < end_ns + 3 * 86_400 * 10**9:
        moment = _EPOCH + timedelta(microseconds=minute // 1000)
        local = moment.astimezone(zone).replace(tzinfo=None)
        step = _MINUTE if before is None else local - before
        if step < _MINUTE:
            set_back = _MINUTE - step
        shown_before = local <= latest
        if step > _MINUTE and before is not None:
            jumped = [before + n * _MINUTE for n in range(1, step // _MINUTE + 1)]
            is_edge = any(map(shows_multiple, jumped))
        else:
            is_edge = shows_multiple(local) and (not shown_before or length <= set_back)
        if is_edge:
            found.append(minute)
        before, latest = local, max(latest, local)
        minute += MINUTE_NS
    pairs = itertools.pairwise(found)
    return [(low, high) for low, high in pairs if start_ns <= low < end_ns]


def bars_of_rows(
    rows: Sequence[Row],
    edges: Edges,
    *,
    fill: str,
    now_ns: int,
    excluded: Mapping[str, set[tuple[str, str]]] | None = None,
) -> list[dict[str, Any]]:
    """Each bar by itself, from all trades.

    Args:
        rows: trades as they stand.
        edges: of the bars, side by side.
        fill: of bars without a trade.
        now_ns: when it was asked.
        excluded: per field of a rule the conditions (with their exchange) that exclude a trade.
    """
    excluded = excluded or {}

    def counts(row: Row, what: str) -> bool:
        named = {(row["exchange"], one) for one in row["conditions"] or ()}
        return not named & excluded.get(what, set())

    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in ORDER))
    keys = sorted({(row["exchange"], row["symbol"]) for row in rows})
    by_key = {
        key: [row for row in ordered if (row["exchange"], row["symbol"]) == key] for key in keys
    }
    last = {key: [row for row in by_key[key] if counts(row, "updates_open_close")] for key in keys}
    bars = []
    for start_ns, end_ns in edges:
        for key in keys:
            inside = [row for row in by_key[key] if start_ns <= row["exchange_time_ns"] < end_ns]
            before = [
                row for row in last[key] if start_ns - WEEK_NS <= row["exchange_time_ns"] < start_ns
            ]
            carried = before[-1] if before else None
            pricing = [row for row in inside if counts(row, "updates_open_close")]
            range_ = [row["price"] for row in inside if counts(row, "updates_high_low")]
            adding = [row for row in inside if counts(row, "updates_volume")]
            is_bar = bool(pricing or range_ or adding)
            if not is_bar and (fill == "none" or carried is None or start_ns >= now_ns):
                continue
            flat = carried["price"] if not is_bar and fill == "prev" and carried else None
            volume = sum((Fraction(row["quantity"]) for row in adding), Fraction())
            amounts = [row["notional"] for row in adding]
            turnover = None if None in amounts else sum(map(Fraction, amounts), Fraction())
            bars.append(
                {
                    "exchange": key[0],
                    "symbol": key[1],
                    "bar_start_ns": start_ns,
                    "bar_end_ns": end_ns,
                    "open": pricing[0]["price"] if pricing else flat,
                    "high": max(range_) if range_ else flat,
                    "low": min(range_) if range_ else flat,
                    "close": pricing[-1]["price"] if pricing else flat,
                    "volume": _units(volume),
                    "turnover": _with_room(turnover),
                    "vwap": _with_room(
                        turnover / volume
                        if turnover is not None and volume and _with_room(turnover) is not None
                        else None
                    ),
                    "twap": _twap(pricing, carried, start_ns, end_ns),
                    "trade_count": len(adding),
                    "first_message_id": pricing[0]["message_id"] if pricing else None,
                    "last_message_id": pricing[-1]["message_id"] if pricing else None,
                    "late": sum(
                        row["late"] and any(counts(row, what) for what in FIELDS) for row in inside
                    ),
                }
            )
    return bars


def _between(rows: list[Row], start_ns: int, end_ns: int) -> list[Row]:
    """Rows of a range, of rows by time."""

    def place(time_ns: int) -> int:
        return bisect_left(rows, time_ns, key=lambda row: row["exchange_time_ns"])

    return rows[place(start_ns) : place(end_ns)]


def plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """An answer's rows as the model has them: ratios and sums in units of the 18th decimal."""
    found = []
    for row in rows:
        one = {
            name: value
            for name, value in row.items()
            if name not in {"bar_start", "missing", "complete"}
        }
        for name in ("volume", "turnover", "vwap", "twap"):
            one[name] = None if one[name] is None else _units(Fraction(one[name]))
        found.append(one)
    return found


def _twap(pricing: list[Row], carried: Row | None, start_ns: int, end_ns: int) -> int | None:
    if not pricing:
        return None if carried is None else _units(Fraction(carried["price"]))
    steps = [(row["exchange_time_ns"], Fraction(row["price"])) for row in pricing]
    if carried is not None:
        steps.insert(0, (start_ns, Fraction(carried["price"])))
    ends = [time_ns for time_ns, _ in steps[1:]] + [end_ns]
    held = sum(
        (price * (until - since) for (since, price), until in zip(steps, ends, strict=True)),
        Fraction(),
    )
    return _units(held / (end_ns - steps[0][0]))


def _with_room(value: Fraction | None) -> int | None:
    """Null where 38 digits do not do."""
    number = None if value is None else _units(value)
    return None if number is None or abs(number) >= 10**38 else number


def _units(value: Fraction) -> int:
    """Units of the 18th decimal; Python rounds a fraction half to even."""
    return round(value * 10**18)
