"""What an answer of bars is: its columns, and the proof of how complete it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.query.bars.fold import LIMIT, BarValues
from k2_streams.core.query.bars.grid import Grid
from k2_streams.core.records.schema import DECIMAL
from k2_streams.query.answer import PageProof, about
from k2_streams.query.errors import TooMuchError

BARS = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("bar_start", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("bar_start_ns", pa.int64(), nullable=False),
        pa.field("bar_end_ns", pa.int64(), nullable=False),
        pa.field("open", DECIMAL),
        pa.field("high", DECIMAL),
        pa.field("low", DECIMAL),
        pa.field("close", DECIMAL),
        pa.field("volume", DECIMAL, nullable=False),
        pa.field("turnover", DECIMAL),
        pa.field("vwap", DECIMAL),
        pa.field("twap", DECIMAL),
        pa.field("trade_count", pa.int64(), nullable=False),
        pa.field("first_message_id", pa.string()),
        pa.field("last_message_id", pa.string()),
        pa.field("late", pa.int64(), nullable=False),
        pa.field("missing", pa.int64(), nullable=False),
        pa.field("complete", pa.bool_(), nullable=False),
    ]
)
_DECIMALS = tuple(field.name for field in BARS if field.type == DECIMAL)


class BarsMeta(PageProof, frozen=True, kw_only=True):
    """The proof of an answer of bars.

    Bars asked again with `as_of=token` hold the same trades. Gaps are as known now. It is complete
    if every bar is; while a record is deferred none is.
    """

    start_ns: Annotated[int, about("Start of the range as it was resolved, inclusive.")]
    end_ns: Annotated[int, about("End of the range as it was resolved, exclusive.")]
    interval: Annotated[str, about("As it was asked.")]
    align: Annotated[Literal["utc", "tz", "session"], about("What the bars begin by.")]
    tz: Annotated[str | None, about("The zone that was named.")]
    calendar: Annotated[str | None, about("The exchange calendar that was named.")]
    fill: Annotated[Literal["none", "null", "prev"], about("What a bar without a trade holds.")]
    conditions: Annotated[
        Literal["eligible", "all"], about("Whether the conditions of trades were applied.")
    ]
    bars: Annotated[int, about("Bars of the answer.")]


@dataclass(frozen=True, slots=True)
class BarsAnswer:
    """Bars in the columns of `BARS`, by time, exchange and symbol, with their proof."""

    rows: pa.Table
    meta: BarsMeta


def table_of_bars(
    bars: Sequence[BarValues], grid: Grid, missing: Iterable[int], complete: Iterable[bool]
) -> pa.Table:
    """Bars in the columns of `BARS`.

    Args:
        bars: with the index of each in the grid.
        grid: of the bars.
        missing: of each bar.
        complete: of each bar.

    Raises:
        TooMuchError: a sum has no room in a decimal.
    """
    at = np.array([bar.bar for bar in bars], np.int64)
    columns = {
        "bar_start": pa.array(grid.starts_ns[at]).cast(pa.timestamp("ns", tz="UTC")),
        "bar_start_ns": pa.array(grid.starts_ns[at]),
        "bar_end_ns": pa.array(grid.ends_ns[at]),
        "missing": pa.array(missing, pa.int64()),
        "complete": pa.array(complete, pa.bool_()),
    }
    for field in BARS:
        if field.name in columns:
            continue
        values = [getattr(bar, field.name) for bar in bars]
        columns[field.name] = (
            decimals_of(values) if field.name in _DECIMALS else pa.array(values, field.type)
        )
    return pa.table([columns[name] for name in BARS.names], schema=BARS)


def decimals_of(units: Sequence[int | None]) -> pa.Array:
    """Integers of units of the 18th decimal as `DECIMAL`, without a rounding on the way.

    Raises:
        TooMuchError: one has no room.
    """
    if any(value is not None and abs(value) >= LIMIT for value in units):
        raise TooMuchError("a sum has more than 20 digits before the point: ask for shorter bars")
    data = b"".join((value or 0).to_bytes(16, "little", signed=True) for value in units)
    known = np.array([value is not None for value in units], np.bool_)
    valid = np.packbits(known, bitorder="little")
    return pa.Array.from_buffers(
        DECIMAL, len(units), [pa.py_buffer(valid.tobytes()), pa.py_buffer(data)]
    )


def units_of(column: pa.ChunkedArray) -> list[int | None]:
    """The inverse of `decimals_of`; of a decimal without places its integers."""
    units: list[int | None] = []
    for chunk in column.chunks:
        limbs: npt.NDArray[np.int64] = np.frombuffer(chunk.buffers()[1], np.int64)
        first = 2 * chunk.offset
        words = limbs[first : first + 2 * len(chunk)]
        low, high = words[::2].view(np.uint64).tolist(), words[1::2].tolist()
        valid = chunk.is_valid().to_pylist()
        units += [
            (up << 64) + down if known else None
            for up, down, known in zip(high, low, valid, strict=True)
        ]
    return units
