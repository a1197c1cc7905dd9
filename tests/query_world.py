"""A small world for queries: a log, a lake of real Parquet files, and a tail between them.

The log is the truth. What a sink or a tail has of it so far is up to the test.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tick_model import with_ticks

from k2_streams.core.query.keys import Keys
from k2_streams.core.records import stream
from k2_streams.core.records.expand import expand
from k2_streams.core.records.log_record import LogBatch, decode, encode
from k2_streams.core.records.schema import LOG
from k2_streams.core.records.vector import Range, TopicOffsets, Vector
from k2_streams.lake.errors import LakeUnavailableError
from k2_streams.lake.plan import PlannedFile
from k2_streams.lake.schema import description_of
from k2_streams.lake.snapshots import Head, SnapshotInfo
from k2_streams.query.engine import Engine
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import SpillStore, Tail

TOPIC = "k2.trades"
TOPIC_ID = "topic-1"
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
T0 = 1_700_000_000_000_000_000
ORDER = ("exchange_time_ns", "log_partition", "log_offset", "log_row")


@dataclass
class FixedClock:
    """Time that stands still until a test moves it; `monotonic` ticks so that waits end."""

    now_ns: int = T0
    ticks: float = 0.0

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        self.ticks += 0.0005
        return self.ticks


def make_batch(
    trades: Sequence[tuple[str, int]],
    *,
    partition: int,
    offset: int,
    exchange: str = "X",
    first_sequence: int = 1,
    more: dict[str, list] | None = None,
    accepted_us: int | None = None,
) -> LogBatch:
    """A record of the log with these (symbol, event time) as a reader of the log gets it.

    `more` are columns in place of those that are made.
    """
    count = len(trades)
    number = range(first_sequence, first_sequence + count)
    values = {
        "exchange": [exchange] * count,
        "symbol": [symbol for symbol, _ in trades],
        "trade_id": [None if n % 3 else f"id{n}" for n in number],
        "price": [f"{100 + n * 3 % 7}.25" for n in number],
        "quantity": ["0.000000000000000001"] * count,
        "side": [None if n % 2 else "buy" for n in number],
        "conditions": [["a", "b"] if n % 5 == 0 else None for n in number],
        "exchange_time_ns": [time for _, time in trades],
        "receive_time_ns": [None] * count,
        "trading_date": [time // 86_400_000_000_000 for _, time in trades],
        "vendor": [[("k", str(n))] if n % 4 == 0 else None for n in number],
        "session": ["0"] * count,
        "sequence": list(number),
        "late": [False] * count,
        "ingest_time": [time // 1000 for _, time in trades],
        "notional": [f"0.{100 + n * 3 % 7:018d}" for n in number],  # rounded half to even
        "tick_direction": [None] * count,
        "source_offset": list(number),
        "source_index": [0] * count,
    } | (more or {})
    rows = pa.RecordBatch.from_arrays(
        [_column(f, values.get(f.name, [None] * count)) for f in LOG], schema=LOG
    )
    accepted_us = 1_000_000 + offset if accepted_us is None else accepted_us
    return decode(encode(rows, partition, accepted_us), partition, offset)


def _column(column: pa.Field, values: list) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    if pa.types.is_decimal(kind):
        return pa.array(values, pa.string()).cast(kind)
    if pa.types.is_date(kind):
        return pa.array(values, pa.int32()).cast(kind)
    return pa.array(values, kind)


@dataclass
class Log:
    """The truth: every record of every partition."""

    records: dict[int, list[LogBatch]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    sequence: int = 1

    def append(
        self,
        partition: int,
        trades: Sequence[tuple[str, int]],
        markers: int = 1,
        more: dict[str, list] | None = None,
        accepted_us: int | None = None,
    ) -> None:
        """One committed record, and the transaction's marker behind it."""
        offset = self.ends.get(partition, 0)
        batch = make_batch(
            trades,
            partition=partition,
            offset=offset,
            first_sequence=self.sequence,
            more=more,
            accepted_us=accepted_us,
        )
        self.sequence += len(trades)
        self.records.setdefault(partition, []).append(batch)
        self.ends[partition] = offset + 1 + markers

    def between(self, partition: int, range_: Range) -> list[LogBatch]:
        return [
            batch
            for batch in self.records.get(partition, [])
            if range_.start <= batch.log_offset < range_.end
        ]

    def rows(self, below: dict[int, int], keep: Callable[[dict], bool] = lambda _: True) -> list:
        """The rows below these offsets, in the order of an answer."""
        batches = [
            batch
            for partition, end in below.items()
            for batch in self.between(partition, Range(0, end))
        ]
        rows = with_ticks(expand(stream.TRADES, batches).to_pylist())
        return sorted(filter(keep, rows), key=lambda row: tuple(row[name] for name in ORDER))


class FileLake:
    """A lake of Parquet files whose catalog is a list; a `lake_view.LakeReader`."""

    def __init__(self, folder: Path, of: stream.Stream = stream.TRADES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._stream = of
        self._made = 0
        self.heads = [Head(None, 0, Vector(), 0, 0)]
        self.files: dict[int, list[str]] = {}
        self.tags: dict[str, Vector] = {}
        self._rows: dict[str, set[tuple[str, str, dt.datetime, int]]] = {}
        self.away = False
        self.meanwhile: Callable[[], None] = lambda: None

    def commit(self, log: Log, ends: dict[int, int]) -> Head:
        """A snapshot that holds the log's rows below `ends` of these partitions."""
        old = self.heads[-1]
        topic = self._stream.log
        offsets = old.vector.topics.get(topic, TopicOffsets(TOPIC_ID, {}))
        batches = [
            batch
            for partition, end in ends.items()
            for batch in log.between(partition, Range(offsets.next.get(partition, 0), end))
        ]
        table = expand(self._stream, batches).cast(self._stream.table_schema)
        files = list(self.files.get(old.snapshot_id or -1, []))
        if table.num_rows:
            files.append(self._write(table))
        vector = old.vector.with_next(topic, TOPIC_ID, ends)
        return self._snapshot(files, vector, old.rows + table.num_rows)

    def compact(self) -> None:
        """All files to one; the old ones are deleted at once, which is harsher than real life."""
        old = self.heads[-1]
        files = self.files.get(old.snapshot_id or -1, [])
        if not files:
            return
        table = pa.concat_tables([pq.read_table(file, partitioning=None) for file in files])
        table = table.cast(self._stream.table_schema)
        self._snapshot([self._write(table)], old.vector, old.rows)
        for file in files:
            Path(file).unlink()

    def lose(self, snapshot_id: int) -> None:
        """The files of a snapshot are gone."""
        for file in self.files[snapshot_id]:
            Path(file).unlink()

    def head(self) -> Head:
        if self.away:
            raise LakeUnavailableError("away")
        return self.heads[-1]

    def snapshots(self) -> list[SnapshotInfo]:
        if self.away:
            raise LakeUnavailableError("away")
        return [
            SnapshotInfo(h.snapshot_id, None, 0, "append", h.rows, 0, 0, h.vector, None)
            for h in self.heads[1:]
        ]

    def tagged(self, name: str) -> SnapshotInfo | None:
        vector = self.tags.get(name)
        return vector and SnapshotInfo(0, None, 0, "append", 0, 0, 0, vector, None)

    def plan(
        self,
        snapshot_id: int,
        *,
        keys: Keys = (),
        start_ns: int | None = None,
        end_ns: int | None = None,
        corrections: bool = False,
        accepted_from_us: int | None = None,
        accepted_to_us: int | None = None,
    ) -> list[PlannedFile]:
        """As strict as a plan may be: only files that hold a matching row."""
        self.meanwhile()

        def matches(symbol: str, exchange: str, accepted: dt.datetime, time_ns: int) -> bool:
            accepted_us = (accepted - EPOCH) // dt.timedelta(microseconds=1)
            named = {"symbol": symbol, "exchange": exchange}
            return (
                all(named[column] in values for column, values in keys)
                and (start_ns is None or time_ns >= start_ns)
                and (end_ns is None or time_ns < end_ns)
                and (accepted_from_us is None or accepted_us >= accepted_from_us)
                and (accepted_to_us is None or accepted_us <= accepted_to_us)
            )

        return [
            PlannedFile(file, len(self._rows[file]), 0, *self._bounds(file), *self._accepted(file))
            for file in self.files[snapshot_id]
            if any(matches(*row) for row in self._rows[file])
        ]

    def _bounds(self, file: str) -> tuple[int | None, int | None]:
        """Of event time; of every third file they are not known, of others wider than its rows."""
        times = [time_ns for *_, time_ns in self._rows[file]]
        slack = int(Path(file).stem) % 3
        return (None, None) if slack == 2 else (min(times) - slack, max(times) + slack)

    def _accepted(self, file: str) -> tuple[int | None, int | None]:
        """The same of the accepted time."""
        times = [(at - EPOCH) // dt.timedelta(microseconds=1) for _, _, at, _ in self._rows[file]]
        slack = int(Path(file).stem) % 3
        return (None, None) if slack == 1 else (min(times) - slack, max(times) + slack)

    def close(self) -> None:
        pass

    def _write(self, table: pa.Table) -> str:
        self._made += 1
        path = self._folder / f"{self._made}.parquet"
        ordered = table.sort_by([(n, "ascending") for n in ("symbol", *ORDER)])
        pq.write_table(ordered.cast(description_of(self._stream).file_schema), path)
        names = ("symbol", "exchange", "accepted_time", "exchange_time_ns")
        self._rows[str(path)] = set(zip(*(table[n].to_pylist() for n in names), strict=True))
        return str(path)

    def _snapshot(self, files: list[str], vector: Vector, rows: int) -> Head:
        number = self.heads[-1].sequence_number + 1
        self.heads.append(Head(number, number, vector, rows, number))
        self.files[number] = files
        return self.heads[-1]


class DictSpill:
    """A spill store in memory."""

    def __init__(self) -> None:
        self.values: dict[tuple[int, int], bytes] = {}

    def put(self, partition: int, log_offset: int, value: bytes) -> None:
        self.values[partition, log_offset] = value

    def get(self, partition: int, log_offset: int) -> bytes | None:
        return self.values.get((partition, log_offset))

    def drop_below(self, partition: int, log_offset: int) -> None:
        for key in [k for k in self.values if k[0] == partition and k[1] < log_offset]:
            del self.values[key]

    def clear(self) -> None:
        self.values.clear()


class World:
    """Log, lake, tail and the query over them."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        *,
        partitions: int = 2,
        memory_bytes: int = 2**28,
        spill: SpillStore | None = None,
        gaps: GapsView | None = None,
    ) -> None:
        self.log = Log()
        self.lake = FileLake(folder)
        self.clock = FixedClock()
        self.gaps = GapsView() if gaps is None else gaps
        self.gaps.expect({})
        self.view = LakeView(lambda: self.lake)
        self.tail = Tail(stream.TRADES, topic_id=TOPIC_ID, memory_bytes=memory_bytes, spill=spill)
        self.partitions = partitions
        for partition in range(partitions):
            self.tail.seek(partition, 0)
        self.query = HybridQuery(
            self.tail, self.view, engine, self.gaps, clock=self.clock, stream=stream.TRADES
        )

    def read_tail(
        self,
        partition: int,
        raw_next: int | None = None,
        deferred: int | None = None,
        held: int | None = None,
    ) -> None:
        """The tail reads the partition to its end."""
        range_ = Range(self.tail.view().partitions[partition].end, self.log.ends.get(partition, 0))
        batches = self.log.between(partition, range_)
        self.tail.append(
            partition, range_, batches, raw_next=raw_next, deferred=deferred, held=held
        )

    def add(self, partition: int, trades: Sequence[tuple[str, int]]) -> None:
        """A record that the tail has read."""
        self.log.append(partition, trades)
        self.read_tail(partition)

    def commit(self, *partitions: int) -> None:
        """The sink commits these partitions (none: all) to their ends."""
        wanted = partitions or tuple(range(self.partitions))
        self.lake.commit(self.log, {p: self.log.ends.get(p, 0) for p in wanted})
