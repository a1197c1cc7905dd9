"""The tick of a trade: its price against that of the trade before it, `up`, `down` or `same`.

The tick test of Lee and Ready, "Inferring Trade Direction from Intraday Data", Journal of Finance
46 (1991); there `same` is a zero tick.

The trade before it is the one of the same exchange, symbol, log partition and UTC date with the
highest place in the log below its own. Late trades, cancels and corrections have no tick and come
before nobody. So a tick follows from rows alone, each of which a query can find again: a worker
writes the ticks it knows without looking anything up, and leaves the others null.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.enrich.notional import plain
from k2_streams.core.records.name_numbers import NO_NUMBER, NameNumbers
from k2_streams.core.time_units import DAY_NS

UP, DOWN, SAME = "up", "down", "same"

#: Symbols whose last price a partition remembers: 10 MiB. Above it, all are forgotten.
MAX_REMEMBERED = 65_536

_NAMES = pa.array([DOWN, SAME, UP], pa.string())
_NO_DAY = -1
#: numpy sorts integers of 16 bits by radix, in a twentieth of the time.
_RADIX_SORTED = 2**16
Ints = npt.NDArray[np.int64]


class Ticks:
    """The ticks of one partition's rows, in the order in which they are accepted."""

    def __init__(self) -> None:
        self._number: dict[str, NameNumbers] = {}  # by exchange, of each symbol
        self._count = 0  # of all symbols that have a number
        # The last trade of each symbol, by its number.
        self._day = np.full(MAX_REMEMBERED, _NO_DAY, np.int64)
        self._high = np.empty(MAX_REMEMBERED, np.int64)
        self._low = np.empty(MAX_REMEMBERED, np.uint64)

    def forget(self) -> None:
        """Rows were accepted that `of` has not seen: nothing known before them counts."""
        self._day[: self._count] = _NO_DAY
        self._number.clear()
        self._count = 0

    def of(self, rows: pa.RecordBatch, late: pa.Array) -> pa.Array:
        """The ticks of the next rows; null where the trade before is not known here."""
        counts = has_tick(rows.column("action"), late)
        at = np.flatnonzero(counts.to_numpy(zero_copy_only=False))
        ticks = np.full(rows.num_rows, -1, np.int8)
        if not len(at):
            return _named(ticks)
        exchange, exchanges = _codes(rows.column("exchange"))
        symbol, symbols = _codes(rows.column("symbol"))
        key = (exchange * len(symbols) + symbol)[at]
        if len(exchanges) * len(symbols) < _RADIX_SORTED:
            key = key.astype(np.uint16)
        order = np.argsort(key, kind="stable")
        at, key = at[order], key[order]
        day: Ints = rows.column("exchange_time_ns").to_numpy()[at] // DAY_NS
        high, low = _halves(rows.column("price"))
        high, low = high[at], low[at]
        first = np.append(0, np.flatnonzero(key[1:] != key[:-1]) + 1)
        last = np.append(first[1:], len(key)) - 1
        if len(first) > MAX_REMEMBERED:
            self.forget()
            return _named(ticks)
        numbers = self._numbers(key[first], exchanges.to_pylist(), symbols)
        day_before, high_before, low_before = np.roll(day, 1), np.roll(high, 1), np.roll(low, 1)
        for before, known, now in (
            (day_before, self._day, day),
            (high_before, self._high, high),
            (low_before, self._low, low),
        ):
            before[first] = known[numbers]
            known[numbers] = now[last]
        equal = high == high_before
        above = (high > high_before) | (equal & (low > low_before))
        below = (high < high_before) | (equal & (low < low_before))
        ticks[at] = np.where(day == day_before, above.astype(np.int8) - below + 1, -1)
        return _named(ticks)

    def _numbers(self, keys: Ints, exchanges: list[str], symbols: pa.StringArray) -> Ints:
        """The number of each symbol, of at most `MAX_REMEMBERED`.

        Args:
            keys: of the symbols, each once and ascending.
            exchanges: by `key // len(symbols)`.
            symbols: by the rest, distinct.
        """
        of_exchange, of_symbol = np.divmod(keys, len(symbols))
        ends = np.searchsorted(of_exchange, np.arange(len(exchanges)), side="right").tolist()
        groups = [
            (self._number.setdefault(exchange, NameNumbers()), symbols.take(pa.array(places)))
            for exchange, places in zip(exchanges, np.split(of_symbol, ends), strict=False)
            if len(places)
        ]
        found = _found(groups)
        new = np.count_nonzero(found == NO_NUMBER)
        if new:
            if self._count + new > MAX_REMEMBERED:
                self.forget()
                return self._numbers(keys, exchanges, symbols)
            for known, named in groups:
                for at in np.flatnonzero(known.of(named) == NO_NUMBER).tolist():
                    known.put(named[at].as_py(), self._count)
                    self._count += 1
            found = _found(groups)
        return found


def _found(groups: list[tuple[NameNumbers, pa.StringArray]]) -> Ints:
    """The numbers of the exchanges' symbols, one exchange after the other."""
    return np.concatenate([known.of(named) for known, named in groups])


def _codes(column: pa.DictionaryArray) -> tuple[Ints, pa.StringArray]:
    """A column of names as numbers, equal where the names are: a dictionary may hold one twice."""
    once = column.dictionary.dictionary_encode()
    number = once.indices.to_numpy()
    codes: Ints = number[column.indices.to_numpy()].astype(np.int64)
    return codes, once.dictionary


def _halves(prices: pa.Array) -> tuple[Ints, npt.NDArray[np.uint64]]:
    """The upper and lower 64 bits of decimals: a comparison of both is exact."""
    start, count = prices.offset, len(prices)
    words = np.frombuffer(prices.buffers()[1], np.int64).reshape(-1, 2)[start : start + count]
    return words[:, 1], words[:, 0].astype(np.uint64)


def _named(ticks: npt.NDArray[np.int8]) -> pa.Array:
    return _NAMES.take(pa.array(ticks, mask=ticks < 0))


# -- what a query finds again ------------------------------------------------------------------


class Sought(NamedTuple):
    """Rows of an answer whose tick is to be looked up.

    Attributes:
        rows: exchange, symbol, log_partition, day, log_offset, log_row and price of each, with
            `at`, its row in the answer.
        symbols: their symbols.
        exchanges: their exchanges.
        start_ns: the earliest time that a predecessor may have.
        end_ns: the first time behind all that one may have.
        ends: per log partition, the first offset behind all that one may have.
    """

    rows: pa.Table
    symbols: tuple[str, ...]
    exchanges: tuple[str, ...]
    start_ns: int
    end_ns: int
    ends: dict[int, int]


def sought(answer: pa.Table) -> Sought | None:
    """What is to be looked up of an answer in the table's columns; None: nothing."""
    if "tick_direction" not in answer.schema.names:
        return None
    given = answer.column("tick_direction")
    if not given.null_count:
        return None
    missing = pc.and_(given.is_null(), has_tick(answer.column("action"), answer.column("late")))
    at = np.flatnonzero(plain(missing).to_numpy(zero_copy_only=False))
    if not len(at):
        return None
    found = answer.take(pa.array(at))
    day = found.column("exchange_time_ns").to_numpy() // DAY_NS
    names = ("exchange", "symbol", "log_partition", "log_offset", "log_row", "price")
    return Sought(
        pa.table({name: found.column(name) for name in names} | {"day": day, "at": at}),
        tuple(pc.unique(found.column("symbol")).to_pylist()),
        tuple(pc.unique(found.column("exchange")).to_pylist()),
        int(day.min()) * DAY_NS,
        (int(day.max()) + 1) * DAY_NS,
        _ends(found.column("log_partition").to_numpy(), found.column("log_offset").to_numpy()),
    )


def _ends(partition: Ints, offset: Ints) -> dict[int, int]:
    return {int(one): int(offset[partition == one].max()) + 1 for one in np.unique(partition)}


def has_tick(
    action: pa.Array | pa.ChunkedArray, late: pa.Array | pa.ChunkedArray
) -> pa.Array | pa.ChunkedArray:
    """Which rows have a tick and come before others: new trades in their order."""
    return pc.and_(action.is_null(), pc.invert(late))


def with_ticks(answer: pa.Table, found: pa.Table) -> pa.Table:
    """The answer with ticks for its rows `at`, by `sign` of the change: -1, 0, 1.

    Args:
        answer: in the table's columns.
        found: columns `at` and `sign`; other rows keep what they have.
    """
    where = answer.schema.get_field_index("tick_direction")
    ticks = np.full(answer.num_rows, -1, np.int8)
    ticks[found.column("at").to_numpy()] = found.column("sign").to_numpy() + 1
    column = pc.coalesce(plain(answer.column(where)), _named(ticks))
    return answer.set_column(where, answer.schema.field(where), column)
