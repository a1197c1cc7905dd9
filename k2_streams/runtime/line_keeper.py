"""The lines of a task's partition: who sent what, who is alive, and which gaps wait for whom."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from k2_streams.core.events import Event
from k2_streams.core.line_stats import added
from k2_streams.core.lines import deadline_ms, release
from k2_streams.core.lines_batch import Copies, Lined, stats_of
from k2_streams.core.scopes import exchanges_of
from k2_streams.core.sequence import ScopeState
from k2_streams.feeds.decoded import Decoded
from k2_streams.runtime.epoch import Standing
from k2_streams.state.table import Table

Indices = npt.NDArray[np.int64]

#: What a line may be called: it goes into events, paths of metrics and answers.
_LINE = re.compile(rb"[A-Za-z0-9._-]{1,32}")
_HEADER = "line"


class Named(NamedTuple):
    """The lines that records name, and records whose name is none."""

    lined: Lined | None  # None: no line was ever named in this partition
    bad: tuple[int, ...]


class LineKeeper:
    """Reads and changes the table's rows; holds nothing that is not in them or in `Standing`."""

    def __init__(self, table: Table[ScopeState], partition: int, standing: Standing) -> None:
        self._table = table
        self._partition = partition
        self._stats = standing.lines
        self._deadlines_ms: dict[str, int] = {}
        if standing.held:
            self.took(table.all())

    def named(self, records: Sequence[Any], now_ms: Indices) -> Named:
        """By which line each record came."""
        line = np.full(len(records), -1, np.int32)
        names: dict[bytes, int] = {}
        bad: list[int] = []
        for at, record in enumerate(records):
            for header, value in record.headers:
                if header != _HEADER:
                    continue
                if _LINE.fullmatch(value):
                    line[at] = names.setdefault(value, len(names))
                else:
                    bad.append(at)
                break
        if not names and not self._stats:
            return Named(None, tuple(bad))
        seen_ms = {(one.exchange, one.line): one.seen_ms for one in self._stats}
        texts = [name.decode("ascii") for name in names]
        return Named(Lined(texts, line, now_ms, seen_ms), tuple(bad))

    def took(self, states: Mapping[str, ScopeState]) -> None:
        """Scopes have changed: when is the first of their held gaps released?"""
        for scope, state in states.items():
            deadline = None if state.lines is None else deadline_ms(state.lines)
            if deadline is not None:
                self._deadlines_ms[scope] = deadline
            else:
                self._deadlines_ms.pop(scope, None)

    def released(self, now_ms: int) -> list[Event]:
        """Gaps of scopes that were silent meanwhile, which nothing is expected to fill any more."""
        due = [scope for scope, at_ms in self._deadlines_ms.items() if at_ms <= now_ms]
        events: list[Event] = []
        for scope in sorted(due):
            state = self._table.get(scope)
            assert state is not None  # noqa: S101 - it was put there
            state, opened = release(state, scope, self._partition, now_ms)
            self._table.put(scope, state)
            self.took({scope: state})
            events += opened
        return events

    def count(self, decoded: Decoded, members: Indices, lined: Lined, copies: Copies) -> None:
        """Add a batch's figures: what these messages, whose scopes are known, brought."""
        exchange, exchanges = exchanges_of(decoded.scopes, decoded.scope[members])
        stats = stats_of(
            lined.of(members), exchange, exchanges, copies.of_members(members),
            decoded.event_time_ns[members],
        )  # fmt: skip
        if stats:
            self._stats = added(self._stats, stats)

    def standing(self, now_ms: int) -> Standing:
        """Where the partition stands."""
        return Standing(now_ms, self._stats, len(self._deadlines_ms))
