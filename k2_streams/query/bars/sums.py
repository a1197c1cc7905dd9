"""What the statements of bars give, as what the fold takes: exact integers."""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from k2_streams.core.query.bars import fold
from k2_streams.core.query.bars.fold import BarKey, Carried, Sums
from k2_streams.query.bars.answer import units_of


def carried_of(rows: pa.Table) -> dict[BarKey, Carried]:
    """The rows of `statement.last_prices`, by exchange and symbol."""
    return {
        (exchange, symbol): Carried(price, time_ns)
        for exchange, symbol, price, time_ns in zip(
            rows["exchange"].to_pylist(),
            rows["symbol"].to_pylist(),
            units_of(rows["price"]),
            rows["time_ns"].to_pylist(),
            strict=True,
        )
        if price is not None
    }


def sums_of(rows: pa.Table, added: Mapping[tuple[int, str, str], int | None]) -> Iterator[Sums]:
    """The rows of `statement.sums`, and what the trades without a notional add to the turnover."""
    names = ("bar", "exchange", "symbol", "first_time_ns", "last_time_ns", "first_message_id",
             "last_message_id", "trade_count", "late")  # fmt: skip
    columns = {name: rows[name].to_pylist() for name in names}
    columns |= {name: units_of(rows[name]) for name in ("open", "high", "low", "close")}
    for name in ("held", "volume", "turnover"):
        limbs = zip(units_of(rows[f"{name}_whole"]), units_of(rows[f"{name}_units"]), strict=True)
        columns[name] = [
            None if whole is None or units is None else whole * fold.SCALE + units
            for whole, units in limbs
        ]
    for at in range(rows.num_rows):
        one = {name: values[at] for name, values in columns.items()}
        more = added.get((one["bar"], one["exchange"], one["symbol"]), 0)
        turnover = None if more is None else (one["turnover"] or 0) + more
        yield Sums(**{**one, "volume": one["volume"] or 0, "turnover": turnover})
