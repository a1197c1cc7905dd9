"""A node for the page to show: a lake, a tail that grows, gaps that open and fill."""

import asyncio
import math
import threading
from pathlib import Path
from typing import Any

from aiohttp import web
from lake_rows import NOON_NS, record, table_of
from web_support import LINE, application

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.records.events import GapFilled, GapOpened
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.gaps import GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import Tail
from k2_streams.runtime.metrics import Metrics
from k2_streams.web.server import new_runner
from k2_streams.web.services import LinesFound

SYMBOL, KEY = "AAA", "SYN:AAA"
ROWS_PER_RECORD, SECOND_NS = 3, 10**9
#: One record per second; those of the first commits are in the lake, the others in the tail.
COMMITS, RECORDS_PER_COMMIT, IN_TAIL = 3, 40, 60
IN_LAKE = COMMITS * RECORDS_PER_COMMIT
GAP: dict[str, Any] = {
    "scope": KEY,
    "session": "0",
    "source_partition": 0,
    "source_offset": 3,
    "exchange_time_ns": NOON_NS + 101 * SECOND_NS,
    "first": 100_003,
    "last": 100_999,
}
#: The gap's numbers were traded in these seconds.
GAP_SECONDS = (95, 101)


def _prices(offset: int) -> list[str]:
    base = 100 + 3 * math.sin(offset / 17) + math.sin(offset / 3.1)
    return [f"{base + 0.13 * i:.2f}" for i in range(ROWS_PER_RECORD)]


def _record(offset: int, price: str | None = None, rows: int = ROWS_PER_RECORD) -> Any:
    prices = [price] * rows if price else _prices(offset)
    start_ns = NOON_NS + offset * SECOND_NS
    return record(
        0, offset, rows, symbols=(SYMBOL,), start_ns=start_ns, step_ns=SECOND_NS // (rows + 1),
        prices=prices, quantity=f"{10 + offset % 7 * 5}",
    )  # fmt: skip


def status(level: str = "NORMAL") -> dict[str, Any]:
    """As a worker of one partition has it, as far as the page reads it."""
    breaker = {"state": "closed", "since_s": 61.0, "failures": 0, "retry_after_s": 0.0}
    log = {
        "sink": {"buffered_rows": 180, "retrying": None, "error": None},
        "breaker": breaker,
        "store_breaker": None,
        "tail": {
            "rows": 180, "memory_bytes": 3 << 20, "spilled_bytes": 0, "error": None,
            "holds_source": False, "partitions": {"0": {"evicted": IN_LAKE, "end": 180}},
        },
        "maintenance": None,
        "dead_letters": 2,
    }  # fmt: skip
    return {
        "worker": "worker-0", "uptime_s": 61.0, "level": level, "ready": True, "lag_records": 12,
        "memory_bytes": 300 << 20,
        "load": {"lag_s": 0.1, "memory_share": 0.2, "memory_limit_bytes": 1500 << 20},
        "partitions": {
            "0": {
                "state": "running", "next_offset": 900, "committed_offset": 900, "checkpoints": 41,
                "scopes": 1, "ids": 0, "lag_records": 12, "deferred_records": 0, "error": None,
                "failure": None,
            }
        },
        "background_tasks": {
            "sink trades": {
                "state": "running", "failures": 0, "last_error": None, "retry_in_s": None
            }
        },
        "topic_problems": [], "unreadable_partitions": [], "refused": {},
        "streams": {"trades": log},
    }  # fmt: skip


class PageNode:
    """The node, served from a thread of its own until `close`. `url` is its address."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._folder, self._events, self._end = folder, 0, IN_LAKE + IN_TAIL
        self._tail, self._gaps, self.metrics = (
            Tail(TRADES, topic_id="topic-1"),
            GapsView(),
            Metrics(),
        )
        self._gaps.expect({})
        self._changes = {
            "status": status,
            "telemetry": self.metrics.web,
            "lines": lambda: LinesFound([LINE], [0], 1),
            "rate_limit_per_s": 10_000,
            "clock": SYSTEM_CLOCK,
            **changes,
        }
        self.url = self._run(self._start())

    def produce(self, price: str, rows: int = ROWS_PER_RECORD) -> None:
        """Trades within the next second, as the tail gets them."""
        self._run(self._append(price, rows))

    def open_gap(self) -> None:
        """Numbers are skipped."""
        times = [NOON_NS + second * SECOND_NS for second in GAP_SECONDS]
        gap = GapOpened(**GAP, size="large", previous_time_ns=times[0], next_time_ns=times[1])
        self._run(self._apply(gap))

    def fill_gap(self) -> None:
        """All of them have come."""
        self._run(self._apply(GapFilled(**GAP)))

    def close(self) -> None:
        """End the server and its thread."""
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> str:
        config = LakeConfig(f"sqlite:///{self._folder}/catalog.db", f"{self._folder}/warehouse")
        self._fill(config)
        self._engine = Engine(EngineConfig(allowed=(f"{self._folder}/warehouse",)))
        view = LakeView(lambda: Lake(config, stream=TRADES))
        self._query = HybridQuery(
            self._tail, view, self._engine, self._gaps, clock=SYSTEM_CLOCK, stream=TRADES,
            partitions=1,
        )  # fmt: skip
        await self._query.refresh()
        self._observe()
        self._runner = new_runner(application(self._query, **self._changes))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _fill(self, config: LakeConfig) -> None:
        lake = Lake(config, stream=TRADES)
        lake.ensure()
        for commit in range(COMMITS):
            first = commit * RECORDS_PER_COMMIT
            vector = {0: Range(first, first + RECORDS_PER_COMMIT)}
            rows = table_of(*(_record(first + at) for at in range(RECORDS_PER_COMMIT)))
            lake.append(rows, vector, topic_id="topic-1", commit_id=f"commit-{commit}")
        lake.close()
        self._tail.seek(0, IN_LAKE)
        records = [_record(offset) for offset in range(IN_LAKE, self._end)]
        self._tail.append(0, Range(IN_LAKE, self._end), records, raw_next=1_000)
        self._gaps.cover({0: self._end})

    def _observe(self) -> None:
        """Enough for the figures of the overview."""
        self.metrics.process.ready.set(1)
        self.metrics.source.source_records_total.labels("canonical").inc(900)
        self.metrics.source.accepted_rows_total.inc(540)
        for delay_s in (0.02, 0.03, 0.04, 0.3):
            self.metrics.tail.freshness_seconds.labels("trades").observe(delay_s)

    async def _append(self, price: str, rows: int) -> None:
        range_ = Range(self._end, self._end + 1)
        self._tail.append(0, range_, [_record(self._end, price, rows)], raw_next=1_000)
        self._end += 1
        self._gaps.cover({0: self._end})
        self._observe()

    async def _apply(self, event: Any) -> None:
        self._events += 1
        self._gaps.apply(event, 0, self._events)

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._query.close()
        self._engine.close()
