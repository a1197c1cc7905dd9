"""Looks at a worker under load: input, backlog, level, and the freshness of each tier.

Fresh is how old the newest row of a tier's first symbol is that an answer shows, by the broker's
time: what somebody sees who asks now. It is as good as the symbol's rate: with one message per
second the newest is up to a second old.
"""

import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console

from k2_streams.testing.client import StatusError, fetch_json

#: A worker that is killed or restarts answers later: the next look sees.
ANSWER_WITHIN_S = 5.0
#: One look is four requests, far below the web's limit of a caller.
LOOK_EVERY_S = 1.0
TIERS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class LoadSample:
    """One look."""

    at_s: float  # seconds since 1970
    level: str
    ready: bool
    sent: int  # raw records that the worker knows of
    processed: int  # since the worker started
    lag: int  # raw records that were not read yet
    deferred: int  # deferred, not processed yet
    memory_bytes: int
    fresh_s: Mapping[int, float | None]  # by tier; None: no row yet
    max_rate: int | None

    @property
    def waiting(self) -> int:
        """Everything without a verdict."""
        return self.lag + self.deferred

    def line(self) -> str:
        """In one line, for a terminal."""
        fresh = "  ".join(f"{tier}: {_seconds(self.fresh_s[tier])}" for tier in TIERS)
        return f"lag {self.lag:,}  deferred {self.deferred:,}  {self.level}  fresh by tier {fresh}"


@dataclass(frozen=True, slots=True)
class Watched:
    """A worker, and of each tier a symbol that is asked for."""

    url: str
    exchange: str
    symbols: Mapping[int, str]

    def look(self) -> LoadSample | None:
        """What is so now; None: no answer."""
        try:
            status = fetch_json(f"{self.url}/v1/status", ANSWER_WITHIN_S)
            fresh = {tier: self._fresh(symbol) for tier, symbol in self.symbols.items()}
        except OSError:
            return None
        return _sample(time.time(), status, fresh)

    def _fresh(self, symbol: str) -> float | None:
        """How old the newest row of a symbol is; None: it has none."""
        query = urllib.parse.urlencode(
            {"symbol": symbol, "exchange": self.exchange, "order": "desc", "limit": 1}
        )
        try:
            rows = fetch_json(f"{self.url}/v1/trades?{query}", ANSWER_WITHIN_S)["data"]
        except StatusError as error:
            if error.status == 404:
                return None
            raise
        if not rows:
            return None
        return max(time.time() - datetime.fromisoformat(rows[0]["ingest_time"]).timestamp(), 0.0)


@contextmanager
def watching(watched: Watched | None, console: Console) -> Iterator[Callable[[], str]]:
    """Look once a second, from a thread; give what was seen last, in a line."""
    last = [""]
    if watched is None:
        yield lambda: ""
        return
    end = threading.Event()

    def look() -> None:
        while not end.wait(LOOK_EVERY_S):
            sample = watched.look()
            last[0] = "no answer" if sample is None else sample.line()
            if not console.is_terminal:
                console.print(f"{watched.url}: {last[0]}", highlight=False, soft_wrap=True)

    thread = threading.Thread(target=look, name="watch", daemon=True)
    thread.start()
    try:
        yield lambda: last[0]
    finally:
        end.set()
        thread.join(2 * len(watched.symbols) * ANSWER_WITHIN_S)


def _sample(at_s: float, status: dict[str, Any], fresh: Mapping[int, float | None]) -> LoadSample:
    partitions = status["partitions"].values()
    return LoadSample(
        at_s=at_s,
        level=status["level"],
        ready=status["ready"],
        sent=sum((one["next_offset"] or 0) + one["lag_records"] for one in partitions),
        processed=status["load"]["worked_records"],
        lag=status["lag_records"],
        deferred=status["load"]["deferred_records"],
        memory_bytes=status["memory_bytes"],
        fresh_s=fresh,
        max_rate=status["load"]["max_rate"],
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
