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
#: Without a bound.
_FIRST_NS, _LAST_NS = -(2**63), 2**63 - 1
#: Kinds of entries: of a multiplier of 1, of another one, quoted inversely; and no entry.
_PLAIN, _LINEAR, _INVERSE, _UNKNOWN = range(4)

Int64s = npt.NDArray[np.int64]

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
        self._names = {name: number for number, name in enumerate(by_name)}
        # The entries by name, and of one name by time.
        order = [index for found in by_name.values() for index in self._in_order(found)]
        self._entry = np.array(order, np.int64)
        self._ends_ns = np.array([self._end_ns(index) for index in order], np.int64)
        self._name = np.repeat(np.arange(len(by_name)), list(map(len, by_name.values())))
        starts_ns = np.array([self._start_ns(index) for index in order], np.int64)
        self._starts_ns = np.unique(starts_ns)
        self._places = self._place(self._name, starts_ns)
        self._kind = np.array([_kind(entry) for entry in self._entries], np.int8)

    def _in_order(self, indices: list[int]) -> list[int]:
        order = sorted(indices, key=self._start_ns)
        for before, after in pairwise(order):
            if self._end_ns(before) > self._start_ns(after):
                raise OverlapError(self._entries[after])
        return order

    def _start_ns(self, index: int) -> int:
        start_ns = self._entries[index].valid_from_ns
        return _FIRST_NS if start_ns is None else start_ns

    def _end_ns(self, index: int) -> int:
        end_ns = self._entries[index].valid_to_ns
        return _LAST_NS if end_ns is None else end_ns

    def __len__(self) -> int:
        """How many entries."""
        return len(self._entries)

    def at(self, exchange: str, symbol: str, time_ns: int) -> Instrument | None:
        """What is known of an instrument at a time."""
        names = np.array([self._number(exchange, symbol)]), np.array([self._number(exchange)])
        (index,) = self._holding(*names, np.array([time_ns], np.int64)).tolist()
        return None if index < 0 else self._entries[index]

    def price_domain(self, exchange: str, symbol: str, time_ns: int) -> PriceDomain:
        """Which prices an instrument may have at a time; above zero, where nothing is known."""
        entry = self.at(exchange, symbol, time_ns)
        return PriceDomain.POSITIVE if entry is None else entry.price_domain

    def _number(self, exchange: str, symbol: str = EVERY_SYMBOL) -> int:
        return self._names.get((exchange, symbol), -1)

    def _place(self, name: Int64s, times_ns: Int64s) -> Int64s:
        """Numbers in the order of name and time, equal for times between the same two starts."""
        rank = np.searchsorted(self._starts_ns, times_ns, side="right")
        place: Int64s = name * (len(self._starts_ns) + 1) + rank
        return place

    def _holding(self, own: Int64s, every: Int64s, times_ns: Int64s) -> Int64s:
        """Of each name and time, the entry that holds; -1: none.

        Args:
            own: the number of the instrument's name; -1: it has no entry.
            every: that of its exchange's `EVERY_SYMBOL`.
            times_ns: the times.
        """
        found = self._holding_of(own, times_ns)
        if (every < 0).all() or (found >= 0).all():
            return found
        return np.where(found >= 0, found, self._holding_of(every, times_ns))

    def _holding_of(self, name: Int64s, times_ns: Int64s) -> Int64s:
        if not self._entries:
            return np.full(len(times_ns), -1, np.int64)
        last = np.searchsorted(self._places, self._place(name, times_ns), side="right") - 1
        holds = (last >= 0) & (self._name[last] == name) & (times_ns < self._ends_ns[last])
        return np.where(holds, self._entry[last], -1)

    def notional(self, rows: pa.RecordBatch | pa.Table) -> pa.Array:
        """The notional of trades, as the module says."""
        entries = self._of_rows(rows)
        price, quantity = (plain(rows.column(name)) for name in ("price", "quantity"))
        kind = np.where(entries >= 0, np.append(self._kind, _UNKNOWN)[entries], _UNKNOWN)
        if (kind == _PLAIN).all():
            return notional(price, quantity)
        made = pa.nulls(len(price), DECIMAL)
        for of_kind in (_PLAIN, _LINEAR, _INVERSE):
            if not (kind == of_kind).any():
                continue
            mask = pa.array(kind == of_kind)
            factors = price.filter(mask), quantity.filter(mask)
            held = [self._entries[index] for index in entries[kind == of_kind].tolist()]
            made = pc.replace_with_mask(made, mask, _NOTIONAL[of_kind](*factors, held))
        return made

    def _of_rows(self, rows: pa.RecordBatch | pa.Table) -> Int64s:
        """Of each row, its entry; -1: none."""
        exchange, symbol = (_encoded(rows.column(name)) for name in ("exchange", "symbol"))
        exchanges, symbols = exchange.dictionary.to_pylist(), symbol.dictionary.to_pylist()
        of_exchange = exchange.indices.to_numpy().astype(np.int64)
        codes, at = np.unique(
            of_exchange * len(symbols) + symbol.indices.to_numpy(), return_inverse=True
        )
        own = [
            self._number(exchanges[code // len(symbols)], symbols[code % len(symbols)])
            for code in codes.tolist()
        ]
        every = np.array([self._number(name) for name in exchanges], np.int64)
        times_ns = plain(rows.column("exchange_time_ns")).to_numpy()
        return self._holding(np.array(own, np.int64)[at], every[of_exchange], times_ns)


def _kind(entry: Instrument) -> int:
    if entry.inverse:
        return _INVERSE
    return _PLAIN if entry.multiplier == _ONE else _LINEAR


def _of_plain(price: pa.Array, quantity: pa.Array, _held: list[Instrument]) -> pa.Array:
    return notional(price, quantity)


def _of_linear(price: pa.Array, quantity: pa.Array, held: list[Instrument]) -> pa.Array:
    return notional(price, quantity, pa.array([entry.multiplier for entry in held], DECIMAL))


def _of_inverse(price: pa.Array, quantity: pa.Array, held: list[Instrument]) -> pa.Array:
    rows = zip(price.to_pylist(), quantity.to_pylist(), held, strict=True)
    return pa.array([_inverse(p, q, _units(entry.multiplier)) for p, q, entry in rows], DECIMAL)


#: By kind of an entry, the notional of rows whose entries are of it.
_NOTIONAL = {_PLAIN: _of_plain, _LINEAR: _of_linear, _INVERSE: _of_inverse}


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
