"""Instruments: what a symbol's prices and quantities mean, and since when.

A reference table says of each instrument its currency, how much of the underlying one unit of its
quantity is (the multiplier), and whether it is quoted inversely. The notional of a trade follows:

    linear    price * quantity * multiplier      in the currency of the price
    inverse   quantity * multiplier / price      in the underlying; the multiplier is in currency

Both are exact decimals of 18 places, rounded half to even where more would be needed; null where
the result does not fit, and where the table does not know the instrument at the trade's time. A
price below zero makes a linear notional below zero; an inverse one is null at or below zero.

The table also says which prices an instrument may have: as a rule those above zero.
"""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Context, Decimal
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.enrich.notional import notional, plain
from k2_streams.core.records.schema import DECIMAL

#: Wide enough that nothing done with a `DECIMAL` rounds.
_EXACT = Context(prec=2 * DECIMAL.precision)
_LIMIT = 10**DECIMAL.precision
_ONE = Decimal(1)
#: The symbol of an entry that holds for every instrument of its exchange that has no entry of its
#: own at that time.
EVERY_SYMBOL = "*"


class PriceDomain(enum.StrEnum):
    """Which prices an instrument may have."""

    POSITIVE = "positive"
    NON_NEGATIVE = "non-negative"
    ANY = "any"

    def admits(self, price: Decimal) -> bool:
        """Whether the instrument may have this price."""
        if price > 0 or self is PriceDomain.ANY:
            return True
        return self is PriceDomain.NON_NEGATIVE and price == 0


#: The domain of an instrument's prices, by exchange, symbol and event time in ns.
PriceDomains = Callable[[str, str, int], PriceDomain]


def positive_prices(_exchange: str, _symbol: str, _time_ns: int) -> PriceDomain:
    """The domain of every instrument's prices where no reference table says otherwise."""
    return PriceDomain.POSITIVE


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument, for as long as this description of it holds."""

    exchange: str
    symbol: str
    currency: str
    asset_class: str
    multiplier: Decimal = _ONE
    inverse: bool = False
    zone: str = "UTC"  # of its trading days
    calendar: str | None = None  # of its trading days, as the venue names it
    price_domain: PriceDomain = PriceDomain.POSITIVE
    valid_from_ns: int | None = None  # inclusive; None: always was
    valid_to_ns: int | None = None  # exclusive; None: still is


class OverlapError(ValueError):
    """Two entries speak of one instrument at the same time: fix the table."""

    def __init__(self, one: Instrument) -> None:
        super().__init__(
            f"{one.exchange}:{one.symbol}: two entries hold from {one.valid_from_ns} ns"
        )


class _Periods(NamedTuple):
    """The entries of one instrument, by time."""

    starts_ns: npt.NDArray[np.int64]
    ends_ns: npt.NDArray[np.int64]
    entries: list[int]  # index into the table


class Instruments:
    """A reference table.

    Raises:
        OverlapError: see there.
    """

    def __init__(self, entries: Iterable[Instrument]) -> None:
        self._entries = list(entries)
        by_name: dict[tuple[str, str], list[int]] = {}
        for index, entry in enumerate(self._entries):
            by_name.setdefault((entry.exchange, entry.symbol), []).append(index)
        self._periods = {name: self._in_order(found) for name, found in by_name.items()}

    def _in_order(self, indices: list[int]) -> _Periods:
        limits = np.iinfo(np.int64)

        def start(index: int) -> int:
            start_ns = self._entries[index].valid_from_ns
            return int(limits.min) if start_ns is None else start_ns

        def end(index: int) -> int:
            end_ns = self._entries[index].valid_to_ns
            return int(limits.max) if end_ns is None else end_ns

        order = sorted(indices, key=start)
        for before, after in pairwise(order):
            if end(before) > start(after):
                raise OverlapError(self._entries[after])
        return _Periods(
            np.array([start(index) for index in order], np.int64),
            np.array([end(index) for index in order], np.int64),
            order,
        )

    def __len__(self) -> int:
        """How many entries."""
        return len(self._entries)

    def at(self, exchange: str, symbol: str, time_ns: int) -> Instrument | None:
        """What is known of an instrument at a time."""
        (index,) = self._indices(exchange, symbol, np.array([time_ns], np.int64)).tolist()
        return None if index < 0 else self._entries[index]

    def price_domain(self, exchange: str, symbol: str, time_ns: int) -> PriceDomain:
        """Which prices an instrument may have at a time; above zero, where nothing is known."""
        entry = self.at(exchange, symbol, time_ns)
        return PriceDomain.POSITIVE if entry is None else entry.price_domain

    def _indices(
        self, exchange: str, symbol: str, times_ns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Of each time, the entry that holds; -1: none."""
        own = self._own(exchange, symbol, times_ns)
        if (exchange, EVERY_SYMBOL) not in self._periods or (own >= 0).all():
            return own
        return np.where(own >= 0, own, self._own(exchange, EVERY_SYMBOL, times_ns))

    def _own(
        self, exchange: str, symbol: str, times_ns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        periods = self._periods.get((exchange, symbol))
        if periods is None:
            return np.full(len(times_ns), -1, np.int64)
        place = np.searchsorted(periods.starts_ns, times_ns, side="right") - 1
        holds = (place >= 0) & (times_ns < periods.ends_ns[place])
        return np.where(holds, np.array(periods.entries, np.int64)[place], -1)

    def notional(self, rows: pa.RecordBatch | pa.Table) -> pa.Array:
        """The notional of trades, as the module says."""
        entries = self._of_rows(rows)
        price, quantity = (plain(rows.column(name)) for name in ("price", "quantity"))
        known = np.unique(entries)
        if all(i >= 0 and self._is_plain(self._entries[i]) for i in known.tolist()):
            return notional(price, quantity)
        made = pa.nulls(len(price), DECIMAL)
        for index in known.tolist():
            if index < 0:
                continue
            mask = pa.array(entries == index)
            entry = self._entries[index]
            made = pc.replace_with_mask(
                made, mask, _notional(entry, price.filter(mask), quantity.filter(mask))
            )
        return made

    @staticmethod
    def _is_plain(entry: Instrument) -> bool:
        return entry.multiplier == _ONE and not entry.inverse

    def _of_rows(self, rows: pa.RecordBatch | pa.Table) -> npt.NDArray[np.int64]:
        """Of each row, its entry; -1: none."""
        exchange, symbol = (_encoded(rows.column(name)) for name in ("exchange", "symbol"))
        times_ns = plain(rows.column("exchange_time_ns")).to_numpy()
        exchanges, symbols = exchange.dictionary.to_pylist(), symbol.dictionary.to_pylist()
        codes = exchange.indices.to_numpy().astype(np.int64) * len(symbols)
        codes += symbol.indices.to_numpy()
        found = np.full(len(codes), -1, np.int64)
        for code in np.unique(codes).tolist():
            own = codes == code
            names = divmod(code, len(symbols))
            found[own] = self._indices(exchanges[names[0]], symbols[names[1]], times_ns[own])
        return found


def _notional(entry: Instrument, price: pa.Array, quantity: pa.Array) -> pa.Array:
    if not entry.inverse:
        return notional(price, quantity, pa.array([entry.multiplier] * len(price), DECIMAL))
    multiplier = _units(entry.multiplier)
    pairs = zip(price.to_pylist(), quantity.to_pylist(), strict=True)
    return pa.array([_inverse(p, q, multiplier) for p, q in pairs], DECIMAL)


def _inverse(price: Decimal, quantity: Decimal, multiplier: int) -> Decimal | None:
    """Quantity times multiplier (in units of 10^-18) over price, in whole numbers throughout."""
    over = _units(price)
    if over <= 0:
        return None
    units, rest = divmod(_units(quantity) * multiplier, over)
    units += 2 * rest > over or (2 * rest == over and units % 2 == 1)
    return Decimal(units).scaleb(-DECIMAL.scale, _EXACT) if units < _LIMIT else None


def _units(value: Decimal) -> int:
    """A `DECIMAL` in units of 10^-18."""
    return int(value.scaleb(DECIMAL.scale, _EXACT))


def _encoded(column: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    column = plain(column)
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
