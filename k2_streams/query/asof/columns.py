"""The columns of a join: quotes by the trade that took them, and exact prices made of both."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.query.bars.fold import ratio
from k2_streams.core.records.schema import DECIMAL
from k2_streams.query.asof.statement import PRICES
from k2_streams.query.bars.answer import decimals_of, units_of

Indices = npt.NDArray[np.int64]


def rows_by_moment(found: pa.Table, count: int) -> Indices:
    """The row of each moment in what `statement.nearest_quotes` gave; -1: it has none."""
    rows = np.full(count, -1, np.int64)
    rows[found["at"].to_numpy()] = np.arange(found.num_rows)
    return rows


def times_by_moment(found: pa.Table, rows: Indices, none: Indices) -> Indices:
    """The time of the quote of each moment; `none` where it has none."""
    times = np.append(found["exchange_time_ns"].to_numpy(), 0)  # so that -1 is a row
    return np.where(rows >= 0, times[rows], none)


def taken(found: pa.Table, rows: Indices) -> pa.Table:
    """The quotes of these rows; null where a row is -1."""
    return found.take(pa.array(rows, mask=rows < 0))


def prices_of(quotes: pa.Table, prices: pa.ChunkedArray) -> dict[str, pa.Array]:
    """The quotes' prices, and what they make of the prices of the trades.

    The mid is rounded half to even at the 18th decimal, the effective spread (twice the distance
    from the mid) is exact. Of a quote with one side there is none of the three.
    """
    bids, asks = (units_of(quotes[name]) for name in ("bid_price", "ask_price"))
    sides = list(zip(bids, asks, strict=True))
    spreads = [None if bid is None or ask is None else ask - bid for bid, ask in sides]
    effective = [
        None if bid is None or ask is None or price is None else abs(2 * price - bid - ask)
        for (bid, ask), price in zip(sides, units_of(prices), strict=True)
    ]
    return {
        **{name: quotes[name].combine_chunks() for name in PRICES},
        "mid": decimals_of(_mids(sides)),
        "spread": decimals_of(spreads),
        "effective_spread": decimals_of(effective),
    }


def mids_of(quotes: pa.Table) -> pa.Array:
    """The mids of quotes."""
    return decimals_of(
        _mids(zip(units_of(quotes["bid_price"]), units_of(quotes["ask_price"]), strict=True))
    )


def markouts_of(mids: Mapping[str, pa.Array], count: int) -> pa.Array:
    """Mids by their names, as one map per trade."""
    names = pa.array(list(mids), pa.string())
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * len(mids))
    keys = names.take(pa.array(np.tile(np.arange(len(mids)), count)))
    by_name = pa.concat_arrays([*mids.values(), pa.nulls(0, DECIMAL)])
    by_trade = np.arange(count * len(mids)).reshape(len(mids), count).T.ravel()
    return pa.MapArray.from_arrays(offsets, keys, by_name.take(pa.array(by_trade)))


def _mids(sides: Iterable[tuple[int | None, int | None]]) -> list[int | None]:
    return [None if bid is None or ask is None else ratio(bid + ask, 2) for bid, ask in sides]
