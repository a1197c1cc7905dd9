"""What is summarised of trades, and how the sketches lie in a stream of their own.

A row of `SKETCHES` holds the sketch of one measure over trades of one exchange, one minute of event
time and one partition. There may be several of a minute: trades that come late get one more. So
any rows may be merged, and the sum is that of all their trades.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.maintenance.row_sums import hashes_of, mixed
from k2_streams.core.records.stream import Stream
from k2_streams.core.sketches.distinct import Distinct
from k2_streams.core.sketches.heavy_hitters import HeavyHitters, Weighted
from k2_streams.core.sketches.quantiles import Quantiles

#: Name of the stream, the table in Iceberg and the path.
SKETCHES_NAME = "sketches"
#: The columns of its rows.
SKETCHES = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("measure", pa.string(), nullable=False),
        pa.field("minute_ns", pa.int64(), nullable=False),
        pa.field("trades", pa.int64(), nullable=False),
        pa.field("sketch", pa.binary(), nullable=False),
    ]
)
SKETCHES_KEY = ("exchange", "measure")
SKETCHES_TIME = "minute_ns"
#: What an app that declares this output serves.
SKETCHES_STREAM = Stream.of_output(SKETCHES_NAME, SKETCHES, key=SKETCHES_KEY, time=SKETCHES_TIME)
MINUTE_NS = 60 * 10**9
#: A minute is closed when event time is so far past its end, and past its first trade.
GRACE_NS = 10 * 10**9

Sketch = TypeVar("Sketch", Distinct, HeavyHitters, Quantiles)


@dataclass(frozen=True, slots=True)
class Measure(Generic[Sketch]):
    """What of trades is summarised in which way.

    Attributes:
        name: in the rows of `SKETCHES`.
        sketch: the class.
        values: of trades, what the class's `add` takes.
    """

    name: str
    sketch: type[Sketch]
    values: Callable[[pa.RecordBatch], Any]

    def added(self, content: bytes | None, trades: pa.RecordBatch) -> bytes:
        """The sketch with more trades; None: there was none."""
        sketch = self.sketch() if content is None else self.sketch.decode(content)
        sketch.add(self.values(trades))
        encoded: bytes = sketch.encode()
        return encoded


class MinuteOfTrades(NamedTuple):
    """Trades of one exchange and minute.

    Attributes:
        due_ns: when the minute may be closed, if these are its first trades.
    """

    exchange: str
    minute_ns: int
    due_ns: int
    trades: pa.RecordBatch


def minutes_of(rows: pa.RecordBatch, watermark_ns: int) -> Iterator[MinuteOfTrades]:
    """The trades of a batch, divided; cancels and corrections are none.

    Args:
        rows: of the log of trades.
        watermark_ns: the largest event time in front of them.
    """
    times_ns = rows.column("exchange_time_ns").to_numpy()
    reached_ns = np.maximum.accumulate(np.maximum(times_ns, watermark_ns))
    exchanges = pc.dictionary_encode(rows.column("exchange").cast(pa.string()))
    minutes, codes = times_ns // MINUTE_NS, exchanges.indices.to_numpy()
    at = np.flatnonzero(pc.is_null(rows.column("action")).to_numpy(zero_copy_only=False))
    found, first, group = np.unique(
        np.stack([codes[at], minutes[at]]), axis=1, return_index=True, return_inverse=True
    )
    for number in np.argsort(first).tolist():
        minute_ns = int(found[1, number]) * MINUTE_NS
        begun_ns = max(int(reached_ns[at[first[number]]]), minute_ns + MINUTE_NS)
        yield MinuteOfTrades(
            exchanges.dictionary[int(found[0, number])].as_py(),
            minute_ns,
            begun_ns + GRACE_NS,
            rows.take(pa.array(at[group.ravel() == number])),
        )


def _trade_hashes(trades: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """Of what a trade's id is one of: exchange and symbol; trades without an id are left out."""
    if trades.column("trade_id").null_count:
        trades = trades.filter(trades.column("trade_id").is_valid())
    return mixed(hashes_of(trades.select(["exchange", "symbol", "trade_id"])))


def _symbol_hashes(trades: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    symbols = pc.unique(trades.column("symbol").cast(pa.string()))
    exchanges = trades.column("exchange").cast(pa.string())[: len(symbols)]  # of one exchange
    return mixed(hashes_of(pa.record_batch({"exchange": exchanges, "symbol": symbols})))


def _messages(trades: pa.RecordBatch) -> Weighted:
    names, codes = _symbols(trades)
    return Weighted(names, codes, np.ones((len(codes), 1), np.uint32))


def _volumes(trades: pa.RecordBatch) -> Weighted:
    """By quantity, in units of the 18th decimal."""
    if pc.min(trades.column("quantity")).as_py() <= 0:
        trades = trades.filter(pc.greater(trades.column("quantity"), 0))
    names, codes = _symbols(trades)
    quantity = trades.column("quantity")
    units = np.frombuffer(quantity.buffers()[1], np.uint32).reshape(-1, 4)
    return Weighted(names, codes, units[quantity.offset : quantity.offset + len(quantity)])


def _symbols(trades: pa.RecordBatch) -> tuple[list[str], npt.NDArray[np.int64]]:
    encoded = pc.dictionary_encode(trades.column("symbol").cast(pa.string()))
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _delays_ns(trades: pa.RecordBatch) -> npt.NDArray[np.float64]:
    """From the venue's time to that of whoever received it, else to the broker's."""
    appended = pc.multiply(trades.column("ingest_time").cast(pa.int64()), 1000)
    received = pc.coalesce(trades.column("receive_time_ns"), appended)
    delays: npt.NDArray[np.float64] = (
        pc.subtract(received, trades.column("exchange_time_ns")).to_numpy().astype(np.float64)
    )
    return delays


def _quantities(trades: pa.RecordBatch) -> npt.NDArray[np.float64]:
    quantities: npt.NDArray[np.float64] = (
        trades.column("quantity").cast(pa.float64()).to_numpy(zero_copy_only=False)
    )
    return quantities


TRADE_IDS = Measure("trade_id", Distinct, _trade_hashes)
SYMBOLS = Measure("symbol", Distinct, _symbol_hashes)
MESSAGES = Measure("messages", HeavyHitters, _messages)
VOLUME = Measure("volume", HeavyHitters, _volumes)
DELAY = Measure("delay_ns", Quantiles, _delays_ns)
QUANTITY = Measure("quantity", Quantiles, _quantities)
MEASURES: tuple[Measure[Any], ...] = (TRADE_IDS, SYMBOLS, MESSAGES, VOLUME, DELAY, QUANTITY)
