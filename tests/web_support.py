"""What the web's tests share: rows, a clock that stands still, and an application to ask."""

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal

import pyarrow as pa
from aiohttp import web
from prometheus_client import CollectorRegistry

from k2_streams.core.lines.stats import LineReport
from k2_streams.core.records import stream
from k2_streams.core.records.schema import TRADES
from k2_streams.query.answer import Answer, GapsAnswer, GapsMeta, Meta, SymbolsAnswer, SymbolsMeta
from k2_streams.query.ledger.coverage import COVERAGE, CoverageAnswer, CoverageMeta
from k2_streams.query.relations import ServedLog
from k2_streams.runtime.metrics.web import WebMetrics
from k2_streams.web.http.api_keys import KeyRing
from k2_streams.web.server import HANDLER_ARGS, install
from k2_streams.web.services import LinesFound, Readiness, Services

START = dt.datetime(2024, 5, 6, 7, 8, 9, 123_456, dt.UTC)
START_NS = 1_714_979_289_123_456_000


@dataclass
class FixedClock:
    """A clock that a test sets."""

    now_ns: int = START_NS
    now_s: float = 100.0

    def time_ns(self):
        return self.now_ns

    def monotonic(self):
        return self.now_s


def trades_table(count):
    """Rows in every column's shapes: null and not, empty and not, in need of escapes and not."""
    rows = [
        {
            "message_id": f"X|A B|0|t:{i}",
            "exchange": "X",
            "symbol": ["A B", 'q"uote', "a,b"][i % 3],
            "session": "0",
            "sequence": [i, None][i % 2],
            "trade_id": str(i),
            "price": Decimal("61837.63") + i,
            "quantity": Decimal("0.00000001"),
            "side": ["buy", "sell", None][i % 3],
            "conditions": [None, [], ["a", 'b"c']][i % 3],
            "exchange_time": START + dt.timedelta(microseconds=i),
            "exchange_time_ns": START_NS + i * 1000,
            "ingest_time": START,
            "late": i % 2 == 1,
            "notional": None,
            "tick_direction": ["up", None][i % 2],
            "source_partition": 0,
            "source_offset": i,
            "source_index": 0,
            "log_partition": 0,
            "log_offset": i // 4,
            "log_row": i % 4,
            "receive_time_ns": None,
            "accepted_time": START,
            "action": [None, "cancel"][i % 2],
            "ref_message_id": [None, f"X|A B|0|t:{i - 1}"][i % 2],
            "trading_date": START.date(),
            "vendor": [None, [("k", "v\n")]][i % 2],
        }
        for i in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=TRADES)


META = Meta(
    token="token",  # noqa: S106 (a place in the log, no secret)
    offsets={0: 9},
    snapshot=None,
    pinned=False,
    start_ns=None,
    end_ns=None,
    order="asc",
    limit=1_000,
    rows=3,
    rows_lake=0,
    rows_tail=3,
    gaps=(),
    gaps_omitted=0,
    gaps_complete=True,
    complete=True,
    settled=True,
    deferred=0,
    dead_letters=0,
    dead_letters_complete=True,
    lag_records=0,
    level="NORMAL",
    stalled=False,
    next_cursor=None,
    elapsed_ms=1.5,
    stages_ms={},
)


LINE = LineReport(
    exchange="X",
    line="A",
    received=10,
    first=9,
    duplicates=1,
    first_share=0.9,
    loss=0.0,
    delay_ms=1.5,
    lag_ms=0.0,
    seen_ms=START_NS // 10**6,
)


@dataclass
class CannedQueries:
    """Answers as told, for what the web does around them."""

    table: pa.Table = field(default_factory=lambda: trades_table(3))
    meta: Meta = META
    error: Exception | None = None
    asked: list = field(default_factory=list)

    async def rows(self, request):
        self._ask(request)
        return Answer(self.table, self.meta)

    async def gaps(self, request):
        self._ask(request)
        return GapsAnswer((), GapsMeta(gaps=0, omitted=0, positions={}, complete=True))

    async def symbols(self, request):
        self._ask(request)
        meta = SymbolsMeta(
            token="t",  # noqa: S106 (a place in the log, no secret)
            offsets={},
            snapshot=None,
            symbols=0,
            gaps_complete=True,
            complete=True,
            deferred=0,
            elapsed_ms=1.0,
        )
        return SymbolsAnswer([], meta)

    async def coverage(self, request):
        self._ask(request)
        meta = CoverageMeta(
            rows=0, omitted=0, token="t", events_token="e",  # noqa: S106 (places in logs)
            known_at_ns=request.known_at_ns, deferred=0, complete=True,
        )  # fmt: skip
        return CoverageAnswer(COVERAGE.empty_table(), meta)

    async def snapshots(self, request):
        self._ask(request)
        return []

    def _ask(self, request):
        self.asked.append(request)
        if self.error is not None:
            raise self.error


def services(query=None, outputs=(), **changes):
    """Services of trades around `query` and of other logs, with what a test changes."""
    given = {
        "logs": (ServedLog(stream.TRADES, query or CannedQueries()), *outputs),
        "status": lambda: {"level": "NORMAL", "lag_records": 0},
        "lines": lambda: LinesFound([LINE], [0, 2], 4),
        "ready": lambda: Readiness(ok=True),
        "telemetry": WebMetrics(CollectorRegistry()),
        "clock": FixedClock(),
        **changes,
    }
    if isinstance(given.get("keys"), tuple):
        given["keys"] = KeyRing.of_texts(given["keys"])
    return Services(**given)


def application(query=None, **changes):
    """An application with K2's paths in it."""
    app = web.Application(handler_args=HANDLER_ARGS)
    install(app, services(query, **changes))
    return app
