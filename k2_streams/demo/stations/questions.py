"""Station 5: the last fifteen minutes as one answer; what was known then; SQL; a DataFrame."""

import datetime as dt
import time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from k2_streams.clock import SYSTEM_CLOCK
from k2_streams.demo.answers import ask, show_answer
from k2_streams.demo.input import QUESTION_SYMBOL
from k2_streams.demo.stations.tour import Tour
from k2_streams.demo.web import DemoError
from k2_streams.testing.load.by_hand import record_of, send, trade

#: Of a hybrid answer of fifteen minutes, its first rows as a page asks for them.
P99_MS = 500.0
QUESTIONS, FIRST_ROWS = 100, 1_000
EXCHANGE, SYMBOL, ZONE = "ASX", "BHP", ZoneInfo("Australia/Sydney")
REPORTED, CORRECTED = "42.15", "42.05"
SQL_WINDOW_S = 900
_SQL = (
    "SELECT symbol, count(*) AS trades, sum(quantity) AS volume, max(price) AS high FROM trades "
    "WHERE exchange = 'LIVE' AND exchange_time >= '{since:%Y-%m-%dT%H:%M:%SZ}' "
    "GROUP BY symbol ORDER BY trades DESC LIMIT 5"
)


def show(tour: Tour) -> None:
    """The four."""
    tour.page(f"time-travel?key={EXCHANGE}:{SYMBOL}&of=trades&window=1h")
    _ask_hybrid(tour)
    _ask_known_at(tour)
    since = dt.datetime.fromtimestamp(SYSTEM_CLOCK.time_ns() / 1e9 - SQL_WINDOW_S, dt.UTC)
    code, _ = tour.command("sql", _SQL.format(since=since), "--url", tour.worker.url)
    tour.expect("SQL over both parts", f"exit code {code}", holds=code == 0)
    _read_frame(tour)


def _ask_hybrid(tour: Tour) -> None:
    def of_both() -> bool:
        meta = ask(tour.worker, exchange="LIVE").meta
        return bool(meta["rows_lake"] and meta["rows_tail"])

    tour.wait("rows of lake and tail in one answer", of_both)
    took_ms = []
    for _ in range(QUESTIONS):
        began = time.perf_counter()
        answer = ask(tour.worker, exchange="LIVE", limit=FIRST_ROWS)
        took_ms.append((time.perf_counter() - began) * 1e3)
    show_answer(tour.console, answer)
    p50, p99 = np.percentile(took_ms, (50, 99))
    tour.expect(
        f"fifteen minutes, lake and tail as one: p99 within {P99_MS:g} ms",
        f"p50 {p50:.0f}, p99 {p99:.0f} ms of {QUESTIONS}",
        holds=bool(p99 <= P99_MS),
    )


def _ask_known_at(tour: Tour) -> None:
    """BHP at 10:00 last Tuesday, as it was known before and after its correction."""
    at = last_tuesday(dt.datetime.fromtimestamp(SYSTEM_CLOCK.time_ns() / 1e9, ZONE))
    event_ns = int(at.timestamp()) * 1_000_000_000
    tour.say(f"\n{SYMBOL} at 10:00 last Tuesday ({at:%Y-%m-%d}, Sydney), corrected later:")
    reported = trade(EXCHANGE, SYMBOL, 1, trade_id="T1", price=REPORTED, exchange_time_ns=event_ns)
    send(tour.stage.bootstrap, [record_of(reported)])
    tour.wait("the trade", lambda: _prices(tour, at) == [REPORTED])
    then = _standing(tour, at)[0]["accepted_time"]
    correction = trade(
        EXCHANGE, SYMBOL, 2, trade_id="T2", price=CORRECTED, exchange_time_ns=event_ns,
        action="correct", ref_trade_id="T1",
    )  # fmt: skip
    send(tour.stage.bootstrap, [record_of(correction)])
    tour.wait("the correction", lambda: _prices(tour, at) == [CORRECTED])
    before, now = _prices(tour, at, known_at=then, wait_ms=5_000), _prices(tour, at)
    tour.say(f"  as known at {then}: {before[0]}\n  as known now: {now[0]}")
    tour.expect(
        "the two answers differ by the correction",
        f"{before} then, {now} now",
        holds=(before, now) == ([REPORTED], [CORRECTED]),
    )


def last_tuesday(now: dt.datetime) -> dt.datetime:
    """10:00 of the last Tuesday before today."""
    days = (now.weekday() - 1) % 7 or 7
    return (now - dt.timedelta(days=days)).replace(hour=10, minute=0, second=0, microsecond=0)


def _standing(tour: Tour, at: dt.datetime, **point: Any) -> list[dict[str, Any]]:
    """The trades of that minute as they stand."""
    end = at + dt.timedelta(minutes=1)
    return tour.rows(
        "/v1/trades", exchange=EXCHANGE, symbol=SYMBOL, view="corrected",
        start=at.isoformat(), end=end.isoformat(), **point,
    )  # fmt: skip


def _prices(tour: Tour, at: dt.datetime, **point: Any) -> list[str]:
    return [row["price"] for row in _standing(tour, at, **point)]


def _read_frame(tour: Tour) -> None:
    with tour.client() as client:
        url = tour.worker.url
        tour.console.print(
            f'>>> k2_client.connect("{url}").trades("{QUESTION_SYMBOL}", exchange="LIVE", '
            'window="15m").polars()', style="cyan", markup=False, soft_wrap=True,
        )  # fmt: skip
        result = client.trades(QUESTION_SYMBOL, exchange="LIVE", window="15m")
        try:
            frame = result.polars()
        except ImportError as error:
            raise DemoError("polars is not installed: `make setup` does it") from error
        tour.say(str(frame.select("exchange_time", "sequence", "price", "quantity").tail(3)))
        rows = len(ask(tour.worker, result.token, exchange="LIVE").rows)
    tour.expect(
        "the frame has the rows of its token",
        f"{frame.height:,} and {rows:,}",
        holds=frame.height == rows,
    )
