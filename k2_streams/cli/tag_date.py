"""Waits until a trading date can be tagged: over, nothing deferred, and all of it in the lake."""

import datetime as dt
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import k2_client
from k2_streams.cli.errors import CannotError
from k2_streams.clock import Clock
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import Stream
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import LakeUnavailableError
from k2_streams.lake.table import Lake
from k2_streams.query.ledger.coverage import DAY_ENDS_AFTER_H
from k2_streams.query.token import Token

#: A worker commits to the lake every ten seconds.
ASK_EVERY_S = 5.0
#: While no node answers.
PATIENCE_S = 60.0
_ROWS, _EVENTS = TRADES_INPUT.stream, TRADES_INPUT.ledger.gap_events


def pending(date: dt.date, now_ns: int, meta: Mapping[str, Any]) -> str | None:
    """Why the coverage of a date is pending; None: it is not.

    Args:
        date: a trading date.
        now_ns: the time.
        meta: of an answer about its coverage.
    """
    midnight = dt.datetime.combine(date, dt.time(), dt.UTC)
    ends = midnight + dt.timedelta(hours=DAY_ENDS_AFTER_H)
    if now_ns < int(ends.timestamp()) * 10**9:
        return f"{date} is over everywhere at {ends.isoformat()}"
    if meta["deferred"]:
        return f"{meta['deferred']} records are deferred"
    return None if meta["complete"] else "the events are not read as far as the rows"


def needed_of(meta: Mapping[str, Any]) -> dict[Stream, Mapping[int, int]]:
    """Per table the offsets below which it must have all rows, so that it has the coverage's."""
    return {
        _ROWS: Token.decode(meta["token"]).next,
        _EVENTS: Token.decode(meta["events_token"]).next,
    }


def day_in_tables(config: LakeConfig, needed: Mapping[Stream, Mapping[int, int]]) -> str | None:
    """Which table lacks rows; None: none does.

    Raises:
        LakeConfigError: a table cannot be read.
    """
    for stream, offsets in needed.items():
        with closing(Lake(config, stream=stream)) as lake:
            try:
                vector = lake.head().vector
            except LakeUnavailableError as error:
                return str(error)
        held = {at: vector.next_of(stream.log, at) or 0 for at in offsets}
        if any(held[at] < end for at, end in offsets.items()):
            return f"table k2.{stream.name} does not have all rows yet"
    return None


@dataclass(frozen=True, slots=True)
class DayWaiting:
    """Asks a node until a date can be tagged.

    Attributes:
        node: its address.
        key: of the API; None: it asks for none.
        clock: the time.
        report: told why it waits, when that changes.
    """

    node: str
    key: str | None
    clock: Clock
    report: Callable[[str], object]

    def wait(
        self,
        date: dt.date,
        within_s: float,
        lacking: Callable[[Mapping[Stream, Mapping[int, int]]], str | None],
    ) -> None:
        """Return when the date is over, and nothing of it lacks.

        Raises:
            CannotError: not in time, or no node answers.
        """
        deadline_s = self.clock.monotonic() + within_s
        needed: dict[Stream, Mapping[int, int]] | None = None
        told = ""
        while True:
            if needed is None:
                meta = self._ask(date)
                why = pending(date, self.clock.time_ns(), meta)
                needed = needed_of(meta) if why is None else None
            if needed is not None:
                why = lacking(needed)
                if why is None:
                    return
            if self.clock.monotonic() > deadline_s:
                raise CannotError(f"{date} cannot be tagged yet: {why}")
            if why != told:
                told = why or ""
                self.report(f"waiting: {told}")
            time.sleep(ASK_EVERY_S)

    def _ask(self, date: dt.date) -> Mapping[str, Any]:
        try:
            with k2_client.connect(self.node, self.key, patience_s=PATIENCE_S) as client:
                return client.coverage(date=date.isoformat(), limit=1).proof
        except (k2_client.ClientError, ValueError) as error:
            raise CannotError(f"{self.node}: {error}") from error
