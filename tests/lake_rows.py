"""Records and rows for the tests of the lake, made from a seed."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.table import Table

from k2_streams.core.records import log_record as trade_log
from k2_streams.core.records.expand import expand
from k2_streams.core.records.log_record import LogBatch
from k2_streams.core.records.schema import LOG
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range, Vector
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.snapshots import Committed
from k2_streams.lake.table import Lake

TOPIC_ID = "topic-1"
NOON_NS = 1_763_899_200_000_000_000  # 2025-11-23 12:00 UTC
DAY_NS = 86_400_000_000_000
_BATCHES = itertools.count()


def record(
    partition: int,
    offset: int,
    count: int = 3,
    *,
    symbols: tuple[str, ...] = ("AAA", "BBB"),
    start_ns: int = NOON_NS,
    step_ns: int = 1_000,
    seed: int = 0,
    prices: Sequence[str] | None = None,
    quantity: str = "12345678901234567890.000000000000000001",
) -> LogBatch:
    """A record of `k2.trades` with `count` rows, through the bytes it has in the log."""
    rng = np.random.default_rng([seed, partition, offset])
    names = rng.choice(symbols, count) if count else []
    columns = {
        "exchange": ["SYN"] * count,
        "symbol": list(names),
        "trade_id": [f"T{offset}-{i}" if i % 2 else None for i in range(count)],
        "price": pa.array(prices or [f"{i + 1}.0000000001" for i in range(count)], pa.string()),
        "quantity": pa.array([quantity] * count, pa.string()),
        "side": ["buy" if i % 3 else None for i in range(count)],
        "conditions": [["open", "block"] if i % 2 else None for i in range(count)],
        "exchange_time_ns": [start_ns + i * step_ns for i in range(count)],
        "receive_time_ns": [start_ns + i if i % 2 else None for i in range(count)],
        "trading_date": pa.array([20415] * count, pa.int32()),
        "vendor": [[("k", "v"), ("n", None)] if i % 2 else None for i in range(count)],
        "session": ["0"] * count,
        "sequence": [offset * 1000 + i for i in range(count)],
        "late": [bool(i % 2) for i in range(count)],
        "ingest_time": [start_ns // 1000 + 5] * count,
        "notional": pa.nulls(count, pa.string()),
        "tick_direction": ["up" if i % 2 else None for i in range(count)],
        "source_offset": [offset * 100 + i for i in range(count)],
        "source_index": [0] * count,
    }
    arrays = []
    for field in LOG:
        values = columns.get(field.name, [None] * count)
        if not isinstance(values, pa.Array):
            plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            values = pa.array(values, plain)
        arrays.append(values.cast(field.type))
    rows = pa.RecordBatch.from_arrays(arrays, schema=LOG)
    value = trade_log.encode(rows, partition, NOON_NS // 1000 + offset)
    return trade_log.decode(value, partition, offset)


def table_of(*records: LogBatch) -> pa.Table:
    """The rows of records as the lake takes them."""
    return expand(TRADES, records).cast(TRADES.table_schema)


class World:
    """A lake in a folder, with as many writers as a test wants, and an outside look at its rows."""

    def __init__(self, folder: Path) -> None:
        self.config = LakeConfig(f"sqlite:///{folder}/catalog/k2.db", f"{folder}/warehouse")
        self.writer().ensure()

    def writer(self) -> Lake:
        """One more process, as it were."""
        return Lake(self.config, stream=TRADES)

    def table(self) -> Table:
        """The table through pyiceberg alone, as another engine sees it."""
        catalog = load_catalog(
            "k2", type="sql", uri=self.config.catalog_uri, warehouse=self.config.warehouse_uri
        )
        return catalog.load_table(("k2", "trades"))

    def places(self) -> list[tuple[int, int, int]]:
        """Of each row in the table its place in the log, sorted; read through the manifests."""
        rows = self.table().scan().to_arrow()
        columns = [rows[name].to_pylist() for name in ("log_partition", "log_offset", "log_row")]
        return sorted(zip(*columns, strict=True))

    def data_files(self) -> list[Path]:
        """Every data file in the warehouse, referred to or not."""
        return sorted(Path(self.config.warehouse).rglob("*.parquet"))

    def vector(self) -> dict[int, int]:
        """The next offsets that the head's own summary carries."""
        summary = self.table().current_snapshot().summary
        return Vector.decode(summary.additional_properties["k2.offsets"]).topics["k2.trades"].next


def append(
    lake: Lake,
    partition: int,
    start: int,
    end: int,
    commit_id: str = "",
    count: int = 3,
    topic_id: str = TOPIC_ID,
) -> Committed:
    """Append positions [start, end) of a partition: one record of `count` rows at `start`."""
    rows = table_of(record(partition, start, count))
    name = commit_id or f"batch-{next(_BATCHES)}"
    ranges = {partition: Range(start, end)}
    return lake.append(rows, ranges, topic_id=topic_id, commit_id=name)


def places_of(*starts: tuple[int, int], count: int = 3) -> list[tuple[int, int, int]]:
    """The places of the rows of records at these (partition, offset)."""
    return sorted((p, offset, row) for p, offset in starts for row in range(count))


def before_each_commit(lake: Lake, act: Callable[[int], object], times: int) -> None:
    """Act before the first commits that reach the catalog: `act` is given the commit's number."""
    lake.load()
    real, calls = lake._catalog.commit_table, []

    def commit_table(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) <= times:
            act(len(calls))
        return real(*args, **kwargs)

    lake._catalog.commit_table = commit_table
