"""The lines of a task's partition: who sent what, who is alive, and which gaps wait for whom."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from k2_streams.core.lines.batch import Copies, Lined, stats_of
from k2_streams.core.lines.room import LineRoom, line_name
from k2_streams.core.lines.stats import LineKey, LineStats, added
from k2_streams.core.lines.step import deadline_ms, release
from k2_streams.core.records.events import Event
from k2_streams.core.sequence.scopes import exchanges_of
from k2_streams.core.sequence.step import ScopeState
from k2_streams.feeds.decoding.decoded import Decoded
from k2_streams.runtime.task.epoch import PartitionProgress
from k2_streams.runtime.task.headers import lines_named
from k2_streams.state.position import Position, SectionCodec
from k2_streams.state.table import RowTable

Indices = npt.NDArray[np.int64]


class LinesState(msgspec.Struct, frozen=True):
    """What the position says of a partition's lines."""

    stats: tuple[LineStats, ...] = ()  # by exchange and name
    held: int = 0  # scopes with gaps that a line may still fill


LINES = SectionCodec("lines", 1, LinesState)


def lines_of(position: Position) -> tuple[LineStats, ...]:
    """The lines of a partition at a position."""
    return (LINES.read(position.sections) or LinesState()).stats


class Named(NamedTuple):
    """The lines that records name, and records whose name is none."""

    lined: Lined | None  # None: no line was ever named in this partition
    bad: tuple[int, ...]
    forgotten: frozenset[LineKey] = frozenset()  # lines whose room another one has taken
    excess: int = 0  # records whose line is one too many: they count as without one


class LineKeeper:
    """Reads and changes the table's rows; all it holds is in them or in `PartitionProgress`."""

    def __init__(
        self, table: RowTable[ScopeState], partition: int, progress: PartitionProgress
    ) -> None:
        self._table = table
        self._partition = partition
        self._stats = progress.lines
        self._deadlines_ms: dict[str, int] = {}
        if progress.held:
            self.took(dict(table.items()))

    def named(
        self, records: Sequence[Any], exchanges: Callable[[], Sequence[str]], now_ms: Indices
    ) -> Named:
        """By which line each record came, as far as there is room for it. Changes nothing.

        Args:
            records: in the order of the source.
            exchanges: gives that of each record, "" where its sequence is not looked at; asked if
                a record names a line.
            now_ms: stream time at each.
        """
        line = np.full(len(records), -1, np.int32)
        codes: dict[str, int] = {}
        bad: list[int] = []
        seen_ms = {(one.exchange, one.line): one.seen_ms for one in self._stats}
        room = LineRoom(dict(seen_ms))
        excess = 0
        of: Sequence[str] = ()
        for at, value in lines_named(records):
            of = of or exchanges()
            name = line_name(value)
            if name is None:
                bad.append(at)
            elif of[at]:
                if room.takes((of[at], name), int(now_ms[at])):
                    line[at] = codes.setdefault(name, len(codes))
                else:
                    excess += 1
        if not codes and not self._stats:
            return Named(None, tuple(bad), excess=excess)
        lined = Lined(list(codes), line, now_ms, seen_ms)
        return Named(lined, tuple(bad), frozenset(room.forgotten - set(room.seen_ms)), excess)

    def took(self, states: Mapping[str, ScopeState]) -> None:
        """Scopes have changed: when is the first of their held gaps released?"""
        for scope, state in states.items():
            deadline = None if state.lines is None else deadline_ms(state.lines)
            if deadline is not None:
                self._deadlines_ms[scope] = deadline
            else:
                self._deadlines_ms.pop(scope, None)

    @property
    def next_deadline_ms(self) -> int | None:
        """The stream time at which the first of the held gaps is released; None: none is held."""
        return min(self._deadlines_ms.values(), default=None)

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

    @staticmethod
    def figures(
        decoded: Decoded, members: Indices, lined: Lined, copies: Copies
    ) -> list[LineStats]:
        """What these messages of a batch, whose scopes are known, add to the lines' figures."""
        exchange, exchanges = exchanges_of(decoded.scopes, decoded.scope[members])
        return stats_of(
            lined.of(members), exchange, exchanges, copies.of_members(members),
            decoded.event_time_ns[members],
        )  # fmt: skip

    def count(self, stats: list[LineStats], forgotten: frozenset[LineKey]) -> None:
        """Add a batch's figures, and drop those of lines whose room another one has taken."""
        if stats:
            kept = [one for one in self._stats if (one.exchange, one.line) not in forgotten]
            more = [one for one in stats if (one.exchange, one.line) not in forgotten]
            self._stats = added(kept, more)

    def progress(self, now_ms: int, oldest_gap_ms: int) -> PartitionProgress:
        """Where the partition stands."""
        return PartitionProgress(now_ms, self._stats, len(self._deadlines_ms), oldest_gap_ms)
