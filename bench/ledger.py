"""Gaps and coverage over a million gap events: what they take, and that they agree with the truth.

The truth is the fold of the same events in memory, and the numbers that were sent. Asked is of the
queries alone: no HTTP, no broker, empty tails. A number that differs ends the benchmark.
"""

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from bench.stage import percentile
from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.core.ledger.gap_events import row_of
from k2_streams.core.records.events import (
    AnyEvent,
    GapAbandoned,
    GapFilled,
    GapOpened,
    Late,
    type_of,
)
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import TRADES, Stream
from k2_streams.core.records.vector import Range
from k2_streams.core.sequence.gaps import GapLedger
from k2_streams.core.time_units import DAY_NS
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.gaps import NOTHING_MISSING, GapsView
from k2_streams.query.hybrid import HybridQuery
from k2_streams.query.lake_view import LakeView
from k2_streams.query.ledger.coverage import CoverageRequest
from k2_streams.query.ledger.gaps import continued
from k2_streams.query.relations import ServedLog
from k2_streams.query.request import GapsRequest
from k2_streams.query.sql.query import SqlQuery, SqlRequest
from k2_streams.query.sql.sandbox import Sandbox
from k2_streams.query.tail.store import Tail
from k2_streams.query.token import GapsCursor, Token

_T = TypeVar("_T")

GAP_EVENTS = TRADES_INPUT.ledger.gap_events
SYMBOLS = 100
PAGE = 10_000
COMMITS = 4
START_NS = 1_763_899_200_000_000_000  # 2025-11-23 12:00 UTC
TOPIC_ID = "topic-1"


@dataclass
class Sent:
    """What a venue sent, and what the sequencer found in it."""

    events: list[AnyEvent] = field(default_factory=list)
    accepted: list[tuple[str, int, bool]] = field(default_factory=list)  # symbol, number, late
    last: Counter[str] = field(default_factory=Counter)  # the last number of each symbol

    def add_gap(self, symbol: str, chance: random.Random) -> None:
        """One message in order, a gap, and what becomes of it."""
        first = self.last[symbol] + 2
        last = first + chance.randrange(3)
        self.last[symbol] = last + 1
        self.accepted += [(symbol, first - 1, False), (symbol, last + 1, False)]
        of: dict[str, Any] = {
            "scope": f"X:{symbol}",
            "session": "0",
            "exchange_time_ns": START_NS + last,
            "source_partition": 0,
            "source_offset": len(self.accepted),
        }
        times: dict[str, Any] = {
            "previous_time_ns": START_NS + first - 1,
            "next_time_ns": START_NS + last + 1,
        }
        self.events.append(GapOpened(**of, **times, first=first, last=last, size="small"))
        came = [one for one in range(first, last + 1) if chance.random() < 0.5]
        for number in came:
            self.events.append(Late(**of, sequence=number))
            self.accepted.append((symbol, number, True))
        left = [one for one in range(first, last + 1) if one not in came]
        if not left:
            self.events.append(GapFilled(**of, first=first, last=last))
        elif chance.random() < 0.5:
            self.events += [
                GapAbandoned(
                    **of, first=one, last=one, gap_first=first, gap_last=last, reason="horizon"
                )
                for one in left
            ]


def run(events: int = 1_000_000, seed: int = 1) -> dict[str, float]:
    """Seconds and milliseconds of each kind of question.

    Args:
        events: of all symbols.
        seed: of what becomes of each gap.
    """
    chance, sent = random.Random(seed), Sent()
    while len(sent.events) < events:
        sent.add_gap(f"S{chance.randrange(SYMBOLS):04}", chance)
    truth = GapLedger(max_gaps=len(sent.events))
    for one in sent.events:
        truth.apply(one)
    with tempfile.TemporaryDirectory(prefix="k2-bench-") as folder:
        config = LakeConfig(f"sqlite:///{folder}/catalog.db", f"file://{folder}/warehouse")
        started = time.perf_counter()
        _write(config, GAP_EVENTS, len(sent.events), _event_rows(sent.events))
        figures = {"events": float(len(sent.events)), "write s": time.perf_counter() - started}
        _write(config, TRADES, len(sent.accepted), _trade_rows(sent.accepted))
        return figures | asyncio.run(_ask(config, folder, sent, truth))


def _parts(found: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """One per commit."""
    size = len(found) // COMMITS + 1
    yield from (found[at : at + size] for at in range(0, len(found), size))


def _event_rows(events: Sequence[AnyEvent]) -> Iterator[pa.Table]:
    for some in _parts(events):
        rows = [row_of(type_of(one), one) for one in some]
        yield pa.Table.from_pylist(rows, schema=GAP_EVENTS.log_schema)


def _trade_rows(accepted: Sequence[tuple[str, int, bool]]) -> Iterator[pa.Table]:
    for some in _parts(accepted):
        symbols, numbers, late = zip(*some, strict=True)
        count, schema = len(some), TRADES.table_schema
        made = {
            "message_id": [f"X|{symbol}|0|s:{number}" for symbol, number, _ in some],
            "exchange": ["X"] * count,
            "symbol": symbols,
            "session": ["0"] * count,
            "sequence": numbers,
            "late": late,
            "exchange_time_ns": [START_NS + number for number in numbers],
            "trading_date": np.full(count, START_NS // DAY_NS, np.int32),
            **dict.fromkeys(("price", "quantity"), ["1"] * count),
            **dict.fromkeys(("exchange_time", "ingest_time"), [START_NS // 1_000] * count),
            **dict.fromkeys(("source_offset", "source_index"), [0] * count),
        }
        yield pa.table(
            {
                field.name: pa.array(made[field.name]).cast(field.type)
                for field in schema
                if field.name in made
            }
        )


def _write(config: LakeConfig, stream: Stream, rows: int, parts: Iterator[pa.Table]) -> None:
    """Each part as one commit; row n is that of offset n."""
    lake = Lake(config, stream=stream)
    lake.ensure()
    start = 0
    for number, part in enumerate(parts):
        end = start + part.num_rows
        count = part.num_rows
        placed = {
            "source_partition": pa.array(np.zeros(count, np.int32)),
            "log_partition": pa.array(np.zeros(count, np.int32)),
            "log_offset": pa.array(np.arange(start, end)),
            "log_row": pa.array(np.zeros(count, np.int32)),
            "accepted_time": pa.array(np.full(count, START_NS // 1_000)).cast(
                stream.table_schema.field("accepted_time").type
            ),
        }
        made = pa.table(
            [
                placed[field.name]
                if field.name in placed
                else part.column(field.name).cast(field.type)
                if field.name in part.column_names
                else pa.nulls(count, field.type)
                for field in stream.table_schema
            ],
            schema=stream.table_schema,
        )
        lake.append(made, {0: Range(start, end)}, topic=stream.log, topic_id=TOPIC_ID,
                    commit_id=str(number))  # fmt: skip
        start = end
    assert start == rows  # noqa: S101 - all of them
    lake.close()


def _query(
    config: LakeConfig, stream: Stream, engine: Engine, end: int, **more: Any
) -> HybridQuery:
    tail = Tail(stream, topic_id=TOPIC_ID)
    tail.seek(0, end)
    view = LakeView(lambda: Lake(config, stream=stream))
    gaps = NOTHING_MISSING if stream.is_ledger else more["findings"]
    return HybridQuery(tail, view, engine, gaps, clock=SYSTEM_CLOCK, stream=stream, **more)


async def _ask(config: LakeConfig, folder: str, sent: Sent, truth: GapLedger) -> dict[str, float]:
    # The time limit is of a worker that has other work to do.
    limits = EngineConfig(allowed=(str(Path(folder) / "warehouse"),), timeout_s=600.0)
    engine = Engine(limits)
    findings = GapsView()
    findings.advance(0, len(sent.events))
    findings.cover({0: len(sent.accepted)})
    events = _query(config, GAP_EVENTS, engine, len(sent.events), findings=findings)
    trades = _query(
        config, TRADES, engine, len(sent.accepted), findings=findings, gap_events=events
    )
    for query in (events, trades):
        await query.refresh()
    figures = await _pages(events, truth, Token(TOPIC_ID, {0: len(sent.events)}, 0, 0))
    figures |= await _coverage(trades, sent, truth)
    figures |= await _statements([ServedLog(TRADES, trades), ServedLog(GAP_EVENTS, events)], sent)
    for query in (events, trades):
        await query.close()
    engine.close()
    return figures


async def _pages(events: HybridQuery, truth: GapLedger, of: Token) -> dict[str, float]:
    """All gaps, page by page, against the fold."""
    expected = truth.gaps(truth.scopes())
    took_ms: list[float] = []
    request: GapsRequest | None = GapsRequest(limit=PAGE, as_of=of)
    found = 0
    while request is not None:
        started = time.perf_counter()
        answer = await events.gaps(request)
        took_ms.append((time.perf_counter() - started) * 1e3)
        for gap in answer.gaps:
            _agree("a gap", gap, next(expected))
        found += len(answer.gaps)
        following = answer.meta.next_cursor
        request = None if following is None else continued(GapsCursor.decode(following))
    _agree("gaps", found, len(truth))
    return {
        "gaps": float(found),
        f"page of {PAGE}: p50 ms": percentile(took_ms, 0.5),
        f"page of {PAGE}: p99 ms": percentile(took_ms, 0.99),
    }


async def _coverage(trades: HybridQuery, sent: Sent, truth: GapLedger) -> dict[str, float]:
    started = time.perf_counter()
    answer = await trades.coverage(CoverageRequest())
    took_s = time.perf_counter() - started
    received = Counter(symbol for symbol, _, _ in sent.accepted)
    rows = {row["symbol"]: row for row in answer.rows.to_pylist()}
    _agree("symbols", sorted(rows), sorted(received))
    for symbol, row in rows.items():
        gaps = [*truth.gaps([f"X:{symbol}"])]
        for name in ("missing", "abandoned"):
            numbers = sum(last - first + 1 for gap in gaps for first, last in getattr(gap, name))
            _agree(f"{name} of {symbol}", row[name], numbers)
        _agree(f"received of {symbol}", row["received"], received[symbol])
        _agree(f"expected of {symbol}", row["expected"], sent.last[symbol])
        lacking = row["missing"] + row["abandoned"] + row["dead"]
        _agree(f"the sum of {symbol}", row["received"] + lacking, row["expected"])
    return {"coverage s": took_s}


async def _statements(logs: list[ServedLog], sent: Sent) -> dict[str, float]:
    """SQL over the table, and over gaps, symbol by symbol."""
    by_type = Counter((one.scope[2:], type_of(one)) for one in sent.events)
    sandbox, took_ms = Sandbox(), []
    sql = SqlQuery(logs, sandbox)
    for symbol in sorted({symbol for symbol, _ in by_type})[:10]:
        started = time.perf_counter()
        answer = await sql.answer(
            SqlRequest(
                text="SELECT type, count(*) AS events FROM gap_events WHERE symbol = $symbol "
                "AND exchange_time_ns >= 0 GROUP BY type",
                parameters={"symbol": symbol},
            )
        )
        took_ms.append((time.perf_counter() - started) * 1e3)
        for row in answer.rows.to_pylist():
            _agree(f"{row['type']} of {symbol}", row["events"], by_type[symbol, row["type"]])
    sandbox.close()
    return {"sql of a symbol: p50 ms": percentile(took_ms, 0.5)}


def _agree(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise SystemExit(f"{what}: expected {expected}, found {found}")
