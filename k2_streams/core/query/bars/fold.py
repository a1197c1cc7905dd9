"""From what a statement adds up of each bar to bars: prices carried on, empty bars, exact ratios.

Every price and amount is an integer of units of the 18th decimal, so that nothing is rounded but
the two ratios, half to even: turnover by volume, and price over time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from k2_streams.core.query.bars.grid import Grid
from k2_streams.core.time_units import DAY_NS

Fill = Literal["none", "null", "prev"]
BarKey = tuple[str, str]  # exchange and symbol
SCALE = 10**18
#: Of the amounts that a decimal of 38 digits holds.
LIMIT = 10**38
#: A price is carried over no more time without a trade: over a closed week, and not over a
#: suspension. How far back is looked for it must not depend on where a page begins.
MAX_CARRY_NS = 7 * DAY_NS


class Carried(NamedTuple):
    """The last price before a time, and when it was traded."""

    price: int
    time_ns: int


class Sums(NamedTuple):
    """What the trades of one bar add up to.

    `open` to `held` are of the trades that may set open and close; None: there is none.
    """

    bar: int
    exchange: str
    symbol: str
    open: int | None
    high: int | None
    low: int | None
    close: int | None
    first_time_ns: int | None
    last_time_ns: int | None
    held: int | None  # each price times the ns until the next one, or the bar's end
    first_message_id: str | None
    last_message_id: str | None
    volume: int
    turnover: int | None  # None: of some trade it has no room in a decimal
    trade_count: int
    late: int


class BarValues(NamedTuple):
    """One bar; its index in the grid instead of its times."""

    bar: int
    exchange: str
    symbol: str
    open: int | None
    high: int | None
    low: int | None
    close: int | None
    volume: int
    turnover: int | None
    vwap: int | None
    twap: int | None
    trade_count: int
    first_message_id: str | None
    last_message_id: str | None
    late: int


@dataclass(frozen=True, slots=True)
class Filling:
    """Which bars without a trade there are, and what they hold.

    Attributes:
        fill: as the caller wants it.
        before_ns: none begins at or after it: what has not begun yet is not empty.
    """

    fill: Fill
    before_ns: int


def bars_of(
    found: Sequence[Sums],
    grid: Grid,
    carried: Mapping[BarKey, Carried],
    filling: Filling,
) -> Iterator[BarValues]:
    """Bars by time, exchange and symbol.

    A bar without a trade is given of a symbol of which a price was traded before it, within
    `MAX_CARRY_NS`.

    Args:
        found: bars with trades, by bar, exchange and symbol.
        grid: of the bars.
        carried: the last price before the grid.
        filling: of bars without a trade.
    """
    last = dict(carried)
    at = 0
    for bar in _to_visit(found, len(grid), filling.fill):
        start_ns, end_ns = int(grid.starts_ns[bar]), int(grid.ends_ns[bar])
        here: dict[BarKey, Sums] = {}
        while at < len(found) and found[at].bar == bar:
            here[found[at].exchange, found[at].symbol] = found[at]
            at += 1
        keys: Iterable[BarKey] = here
        if filling.fill != "none" and start_ns < filling.before_ns:
            keys = sorted({*here, *last})
        for key in keys:
            price = last.get(key)
            if price is not None and start_ns - price.time_ns > MAX_CARRY_NS:
                price = None
            if key in here:
                yield _of_trades(here[key], price, start_ns, end_ns)
            elif price is not None:
                yield _empty(bar, key, price.price, filling.fill)
        for key, sums in here.items():
            if sums.close is not None and sums.last_time_ns is not None:
                last[key] = Carried(sums.close, sums.last_time_ns)


def ratio(numerator: int, denominator: int) -> int:
    """A quotient, rounded half to even; the denominator is above 0."""
    quotient, rest = divmod(numerator, denominator)
    doubled = 2 * rest
    if doubled > denominator or (doubled == denominator and quotient % 2):
        quotient += 1
    return quotient


def _with_room(units: int | None) -> int | None:
    """An amount, where a decimal has room for it."""
    return None if units is None or abs(units) >= LIMIT else units


def _to_visit(found: Sequence[Sums], bars: int, fill: Fill) -> Iterable[int]:
    """The bars that may have rows, in order."""
    if fill != "none":
        return range(bars)
    return dict.fromkeys(sums.bar for sums in found)


def _of_trades(sums: Sums, before: Carried | None, start_ns: int, end_ns: int) -> BarValues:
    turnover = _with_room(sums.turnover)
    vwap = None
    if turnover is not None and sums.volume > 0:
        vwap = _with_room(ratio(turnover * SCALE, sums.volume))
    return BarValues(
        bar=sums.bar,
        exchange=sums.exchange,
        symbol=sums.symbol,
        open=sums.open,
        high=sums.high,
        low=sums.low,
        close=sums.close,
        volume=sums.volume,
        turnover=turnover,
        vwap=vwap,
        twap=_twap(sums, before, start_ns, end_ns),
        trade_count=sums.trade_count,
        first_message_id=sums.first_message_id,
        last_message_id=sums.last_message_id,
        late=sums.late,
    )


def _twap(sums: Sums, before: Carried | None, start_ns: int, end_ns: int) -> int | None:
    """The price over the time of a bar in which there was one."""
    if sums.held is None or sums.first_time_ns is None:
        return None if before is None else before.price
    if before is None:
        return ratio(sums.held, end_ns - sums.first_time_ns)
    carried = before.price * (sums.first_time_ns - start_ns)
    return ratio(carried + sums.held, end_ns - start_ns)


def _empty(bar: int, key: BarKey, carried: int, fill: Fill) -> BarValues:
    price = carried if fill == "prev" else None
    return BarValues(bar, *key, price, price, price, price, 0, 0, None, carried, 0, None, None, 0)
