"""Many small commits, compacted: files, answers and bytes before, after, and of a fresh table."""

import asyncio
import random
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from statistics import mean

import numpy as np
import pyarrow as pa

from bench.stage import percentile
from k2_streams.clock import Clock
from k2_streams.core.maintenance.compaction import CompactionPolicy
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.core.time_units import DAY_NS
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import LakeUnavailableError
from k2_streams.lake.maintenance.compaction import Compactor
from k2_streams.lake.maintenance.deletions import delete_due
from k2_streams.lake.maintenance.expiry import expire_snapshots
from k2_streams.lake.maintenance.report import report_of
from k2_streams.lake.sink import COMMIT_ROWS
from k2_streams.lake.table import Lake
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.request import RowsRequest
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.limits import DEFAULT_LIMITS

COMMITS, ROWS, SYMBOLS, QUESTIONS = 200, 5_000, 1_000, 200
COMMIT_S = 10
COMPACT_EVERY_S = 1.0
MINUTES_NS = 15 * 60 * 1_000_000_000
START_NS = 1_763_942_400_000_000_000  # 2025-11-24 00:00 UTC
TOPIC_ID = "bench"
POLICY = CompactionPolicy()
DELETE_DELAY_S = 3_600.0


class SetClock:
    """The time of day is set; what elapses is real."""

    def __init__(self, now_ns: int = START_NS + DAY_NS // 2) -> None:
        self.now_ns = now_ns

    def time_ns(self) -> int:
        """As it was set: noon of the day of all rows, at first."""
        return self.now_ns

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()


def run(commits: int = COMMITS, rows: int = ROWS, questions: int = QUESTIONS) -> dict[str, float]:
    """Commits of so many rows each, ten seconds of one day apart; all in this process.

    Args:
        commits: small ones. The fresh table has the same rows in commits of a million.
        rows: of each.
        questions: of each table.
    """
    with tempfile.TemporaryDirectory(prefix="k2-bench-") as folder:
        small, fresh, live = (_config(Path(folder) / name) for name in ("small", "fresh", "live"))
        with closing(_lake(small)) as lake, closing(_lake(fresh)) as other:
            for number in range(commits):
                _append(lake, _batch(number, rows), number)
                _expire_as_a_sink(lake)
            at_once = max(1, COMMIT_ROWS // rows)
            for start in range(0, commits, at_once):
                several = range(start, min(start + at_once, commits))
                _append(other, pa.concat_tables(_batch(one, rows) for one in several), start)
            before = report_of(lake, POLICY)
            asked_before = _asked(small, commits, questions)
            began = time.perf_counter()
            groups = _compact(lake, SetClock())
            compacting_s = time.perf_counter() - began
            now_ms = time.time_ns() // 1_000_000 + 1
            expire_snapshots(lake, keep=1, older_than_ms=now_ms, files_at_ms=0)
            delete_due(lake, SetClock(), delay_s=0.0)
            after, new = report_of(lake, POLICY), report_of(other, POLICY)
            asked_after, asked_fresh = (
                _asked(config, commits, questions) for config in (small, fresh)
            )
            batches = [_batch(number, rows) for number in range(min(commits, COMMITS))]
            alone, beside = (_commits(live, batches, number) for number in range(2))
    return {
        "rows": float(after.rows),
        "files before": float(before.files),
        "files after": float(after.files),
        "files of a fresh table": float(new.files),
        "groups": float(groups),
        "compaction, rows/s of the table": after.rows / compacting_s,
        "p99 ms before": percentile(asked_before, 0.99),
        "p99 ms after": percentile(asked_after, 0.99),
        "p99 ms of a fresh table": percentile(asked_fresh, 0.99),
        "p50 ms after": percentile(asked_after, 0.5),
        "p50 ms of a fresh table": percentile(asked_fresh, 0.5),
        "sink commit p99 ms alone": percentile(alone, 0.99),
        "sink commit p99 ms beside compaction": percentile(beside, 0.99),
    }


def month(days: int = 30, commits: int = 24, rows: int = 1_000) -> dict[str, float]:
    """A month of commits in a row, with the maintenance of each day at its end.

    Args:
        days: one after the other.
        commits: of each day.
        rows: of each commit.
    """
    clock, shares = SetClock(), []
    with tempfile.TemporaryDirectory(prefix="k2-bench-") as folder:
        config = _config(Path(folder))
        with closing(_lake(config)) as lake:
            for number in range(days * commits):
                day = number // commits
                _append(lake, _batch(number, rows, START_NS + day * DAY_NS), number)
                if (number + 1) % commits:
                    continue
                clock.now_ns = START_NS + (day + 1) * DAY_NS
                _compact(lake, clock)
                # The files of one evening go in the next one's: an hour is over by then.
                delete_due(lake, clock, delay_s=DELETE_DELAY_S)
                now_ms = clock.time_ns() // 1_000_000
                expire_snapshots(
                    lake,
                    keep=DEFAULT_LIMITS.snapshots_kept,
                    older_than_ms=time.time_ns() // 1_000_000 + 1,
                    files_at_ms=now_ms,
                )
                report = report_of(lake, POLICY)
                stored = sum(
                    path.stat().st_size
                    for path in Path(config.warehouse).rglob("*")
                    if path.is_file()
                )
                shares.append(stored / report.size_bytes)
    return {
        "rows": float(report.rows),
        "files": float(report.files),
        "MB live": report.size_bytes / 1e6,
        "bytes on disk / live, at the end": shares[-1],
        "bytes on disk / live, mean of the second half": mean(shares[len(shares) // 2 :]),
    }


def _expire_as_a_sink(lake: Lake) -> None:
    snapshots, limits = len(lake.snapshots()), DEFAULT_LIMITS
    if snapshots >= limits.snapshots_kept + limits.snapshots_spare:
        now_ms = time.time_ns() // 1_000_000 + 1
        expire_snapshots(lake, keep=limits.snapshots_kept, older_than_ms=now_ms, files_at_ms=now_ms)


def _config(folder: Path) -> LakeConfig:
    return LakeConfig(f"sqlite:///{folder}/catalog.db", f"{folder}/warehouse")


def _lake(config: LakeConfig) -> Lake:
    lake = Lake(config, stream=TRADES)
    lake.ensure()
    return lake


def _append(lake: Lake, rows: pa.Table, number: int) -> None:
    last = rows["log_offset"][-1].as_py()
    ranges = {0: Range(number, last + 1)}
    lake.append(rows, ranges, topic_id=TOPIC_ID, commit_id=f"commit-{number}")


def _compact(lake: Lake, clock: Clock) -> int:
    compactor, groups = Compactor(lake, clock, POLICY), 0
    while compactor.run_once() is not None:
        groups += 1
    return groups


def _commits(config: LakeConfig, batches: list[pa.Table], is_beside: int) -> list[float]:
    """Milliseconds of each commit of a sink, a tenth of a second apart."""
    over, elapsed = threading.Event(), []

    def compact() -> None:
        with closing(_lake(config)) as lake:
            while not over.wait(COMPACT_EVERY_S):
                with suppress(LakeUnavailableError):  # the sink was first each time
                    _compact(lake, SetClock())

    with closing(_lake(config)) as lake, ThreadPoolExecutor(1) as thread:
        first = lake.head().sequence_number
        running = thread.submit(compact) if is_beside else None
        for number, batch in enumerate(batches):
            offset = pa.array([first + number] * batch.num_rows, pa.int64())
            column = batch.schema.get_field_index("log_offset")
            rows = batch.set_column(column, batch.schema.field(column), offset)
            began = time.perf_counter()
            _append(lake, rows, first + number)
            elapsed.append((time.perf_counter() - began) * 1_000)
            over.wait(0.1)
        over.set()
        if running is not None:
            running.result()
    return elapsed


def _asked(config: LakeConfig, commits: int, questions: int) -> list[float]:
    """Milliseconds of 15 minutes of one symbol each, from the lake alone."""
    rng = random.Random(1)
    engine = Engine(EngineConfig(allowed=(config.warehouse,)))
    tail = Tail(TRADES, topic_id=TOPIC_ID, memory_bytes=1 << 20)
    tail.seek(0, commits)
    query = HybridQuery(
        tail, LakeView(lambda: Lake(config, stream=TRADES)), engine, None, clock=SetClock(),
        stream=TRADES,
    )  # fmt: skip
    end_ns = START_NS + commits * COMMIT_S * 1_000_000_000

    async def ask() -> list[float]:
        await query.refresh()
        elapsed = []
        for _ in range(questions):
            request = RowsRequest(
                symbols=(f"S{rng.randrange(SYMBOLS):04d}",),
                start_ns=end_ns - MINUTES_NS,
                end_ns=end_ns,
                limit=1_000,
            )
            began = time.perf_counter()
            await query.rows(request)
            elapsed.append((time.perf_counter() - began) * 1_000)
        await query.close()
        return elapsed

    try:
        return asyncio.run(ask())
    finally:
        engine.close()


def _batch(number: int, rows: int, day_ns: int = START_NS) -> pa.Table:
    """Ten seconds of a day, one record of the log."""
    rng = np.random.default_rng(number)
    start_ns = day_ns + number * COMMIT_S * 1_000_000_000 % DAY_NS
    times = np.sort(rng.integers(start_ns, start_ns + COMMIT_S * 1_000_000_000, rows))
    ids = number * rows + np.arange(rows)
    columns = {
        "message_id": [f"SYN:{one}" for one in ids],
        "exchange": ["SYN"] * rows,
        "symbol": [f"S{one:04d}" for one in rng.integers(0, SYMBOLS, rows)],
        "session": ["0"] * rows,
        "sequence": ids,
        "trade_id": [f"T{one}" for one in ids],
        "price": [f"{one / 100:.2f}" for one in rng.integers(9_000, 11_000, rows)],
        "quantity": [str(one) for one in rng.integers(1, 500, rows)],
        "side": rng.choice(["buy", "sell"], rows).tolist(),
        "exchange_time": times // 1_000,
        "exchange_time_ns": times,
        "ingest_time": times // 1_000 + 5,
        "late": [False] * rows,
        "source_partition": [0] * rows,
        "source_offset": ids,
        "source_index": [0] * rows,
        "log_partition": [0] * rows,
        "log_offset": [number] * rows,
        "log_row": np.arange(rows),
        "accepted_time": [start_ns // 1_000] * rows,
        "trading_date": [day_ns // DAY_NS] * rows,
    }
    return pa.table([_column(field, columns, rows) for field in TRADES.table_schema],
                   schema=TRADES.table_schema)  # fmt: skip


def _column(field: pa.Field, columns: dict[str, object], rows: int) -> pa.Array:
    values = columns.get(field.name)
    if values is None:
        return pa.nulls(rows, field.type)
    if pa.types.is_decimal(field.type):
        return pa.array(values, pa.string()).cast(field.type)
    if pa.types.is_date32(field.type):
        return pa.array(values, pa.int32()).cast(field.type)
    return pa.array(
        values, field.type if not pa.types.is_timestamp(field.type) else pa.int64()
    ).cast(field.type)
