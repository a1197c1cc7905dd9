"""A node's committed view of `k2.sequence-events`: gaps and counts, and how far they reach."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from k2_streams.core.records.events import AnyEvent, GapAbandoned, GapFilled, GapOpened
from k2_streams.core.sequence.gap_history import GapHistory
from k2_streams.core.sequence.gaps import Gap, GapLedger, Lacking, ScopeCounts, meets
from k2_streams.core.sequence.scopes import exchange_of, is_connection, own_scope, symbol_of


class _Scopes:
    """The scopes that had an event, by what they can be asked for."""

    def __init__(self) -> None:
        self._all: set[str] = set()
        self._by_symbol: dict[str, set[str]] = {}
        self._connections: set[str] = set()

    def add(self, scope: str) -> None:
        """Take a scope in; it may be known."""
        if scope in self._all:
            return
        self._all.add(scope)
        if is_connection(scope):
            self._connections.add(scope)
        self._by_symbol.setdefault(symbol_of(scope), set()).add(scope)

    def of(self, symbols: tuple[str, ...], exchanges: tuple[str, ...]) -> set[str]:
        """The scopes in which rows of the selection can be missing (empty: all).

        As `core.sequence.scopes` has it: those of the symbol by its whole name, and all
        connections.
        """
        scopes = self._all
        if symbols:
            by = self._by_symbol
            scopes = self._connections.union(*(by.get(name, ()) for name in symbols))
        if exchanges:
            scopes = {scope for scope in scopes if exchange_of(scope) in exchanges}
        return scopes


class KnownGaps(ABC):
    """What is known of gaps and counts: now (`GapsView`), or was at a time (`GapsThen`)."""

    _scopes: _Scopes

    @abstractmethod
    def _ledger_of(self, scopes: Collection[str]) -> GapLedger:
        """A ledger that has everything of these scopes."""

    @property
    @abstractmethod
    def forgotten(self) -> int:
        """Closed gaps that had to go because of a limit, at least."""

    @abstractmethod
    def covers(self, log_next: Mapping[int, int]) -> bool:
        """Whether this reaches as far as an answer that ends at these offsets."""

    def reach(self, log_next: Mapping[int, int]) -> bool:
        """Whether every gap is known of an answer that ends at these offsets."""
        return self.covers(log_next) and self.forgotten == 0

    def find(
        self,
        *,
        symbols: tuple[str, ...] = (),
        exchanges: tuple[str, ...] = (),
        states: tuple[str, ...] = (),
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int,
    ) -> tuple[tuple[Gap, ...], int]:
        """Gaps of the selection (empty: all) that meet the range, and how many more there are.

        A gap reaches from the event time of the message before it to that of the message after it.
        """
        found: list[Gap] = []
        omitted = 0
        scopes = self._scopes.of(symbols, exchanges)
        ledger = self._ledger_of(scopes)
        for gap in ledger.gaps(scopes):
            within = meets(gap.previous_time_ns, gap.next_time_ns, start_ns, end_ns)
            # A late number's event time may lie outside its gap, and so what it left of the gap.
            if not (within or ledger.lacks(gap, start_ns, end_ns)):
                continue
            if states and gap.state not in states:
                continue
            if len(found) < limit:
                found.append(gap)
            else:
                omitted += 1
        return tuple(found), omitted

    def lacks(
        self,
        *,
        symbols: tuple[str, ...] = (),
        exchanges: tuple[str, ...] = (),
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> bool:
        """Whether a number of the selection (empty: all) is missing that may lie in the range.

        A message whose number was used twice is missing too. Exact where every message has an event
        time: a gap that was filled in part lacks nothing between the numbers that it received.
        """
        scopes = self._scopes.of(symbols, exchanges)
        ledger = self._ledger_of(scopes)
        return any(ledger.conflicts(scope, start_ns, end_ns) for scope in scopes) or any(
            ledger.lacks(gap, start_ns, end_ns) for gap in ledger.gaps(scopes)
        )

    def lacking(self, exchange: str, symbol: str) -> Iterator[Lacking]:
        """What rows of a symbol of an exchange may be missing; `lacks` says whether it is any."""
        scopes = self._scopes.of((symbol,), (exchange,))
        ledger = self._ledger_of(scopes)
        for scope in sorted(scopes):
            yield from ledger.lacking(scope)

    def counts(self, exchange: str, symbol: str) -> ScopeCounts:
        """What was found in the symbol's own scope; of a connection it is in none of its symbols'.

        A connection's count belongs to no one symbol: added to each it would be counted many times.
        """
        scope = own_scope(exchange, symbol)
        return self._ledger_of((scope,)).counts(scope)


#: Changes that a subscription may be behind: those of an outage of all symbols. 200 KB.
MAX_CHANGES = 1_024
GapEvent = GapOpened | GapFilled | GapAbandoned


class GapChanges:
    """The newest changes of gaps, numbered from 1 on, so that each reader takes those it lacks."""

    def __init__(self, kept: int = MAX_CHANGES) -> None:
        self.count = 0  # that there ever were
        self._newest: deque[GapEvent] = deque(maxlen=kept)

    def add(self, event: AnyEvent) -> None:
        """Take an event in; most say nothing of a gap."""
        if isinstance(event, GapEvent):
            self.count += 1
            self._newest.append(event)

    def since(self, count: int) -> tuple[GapEvent, ...]:
        """The changes behind so many; fewer if some are no longer kept."""
        lacking = min(self.count - count, len(self._newest))
        return tuple(self._newest)[len(self._newest) - lacking :]


class GapsView(KnownGaps):
    """What the events say, for questions. Belongs to one event loop.

    Whoever reads the topic feeds it, in this order:
        0. `expect` the ends that the topic has at the start.
        1. `apply` each committed event, with the consumer's position after it; `advance` where a
           position moves without one (a transaction's marker).
        2. `cover` with the ends of the tail that were known *before* the end offsets of the events
           were asked for, once the events have been read up to those: an event is in the same
           transaction as the rows it speaks of, so it is then in the view.
    """

    def __init__(self, ledger: GapLedger | None = None, history: GapHistory | None = None) -> None:
        self._ledger = GapLedger() if ledger is None else ledger
        self._positions: dict[int, int] = {}
        self._covered: dict[int, int] = {}
        self._expected: dict[int, int] | None = None  # None: nobody has begun to read
        self._scopes = _Scopes()
        self._history = GapHistory() if history is None else history
        self.changes = GapChanges()

    @property
    def positions(self) -> dict[int, int]:
        """Of `k2.sequence-events`: per partition the next offset not read."""
        return dict(self._positions)

    @property
    def is_complete(self) -> bool:
        """Whether every event is in the view that was there when reading began."""
        return self._ledger.forgotten == 0 and self._has_read_up

    @property
    def _has_read_up(self) -> bool:
        return self._expected is not None and all(
            self._positions.get(partition, 0) >= end for partition, end in self._expected.items()
        )

    @property
    def forgotten(self) -> int:
        """Closed gaps that had to go because of the limit."""
        return self._ledger.forgotten

    def expect(self, ends: Mapping[int, int]) -> None:
        """Events below these offsets are still to be read; until then the view is not complete.

        Args:
            ends: of the partitions that hold events which are not read.
        """
        self._expected = dict(ends)

    def apply(self, event: AnyEvent, partition: int, position: int) -> None:
        """Take one event in; `position` is the next offset of its partition.

        An event below the position is skipped: a reader that begins again may read it again.
        """
        if position <= self._positions.get(partition, 0):
            return
        self._ledger.apply(event)
        self._history.add(event)
        self.changes.add(event)
        self._scopes.add(event.scope)
        self.advance(partition, position)

    def advance(self, partition: int, position: int) -> None:
        """The partition of events has been read up to `position`; it never goes back."""
        self._positions[partition] = max(position, self._positions.get(partition, 0))

    def cover(self, log_next: Mapping[int, int]) -> None:
        """Every event of the records of `k2.trades` below these offsets is in the view."""
        for partition, offset in log_next.items():
            self._covered[partition] = max(offset, self._covered.get(partition, 0))

    def covers(self, log_next: Mapping[int, int]) -> bool:
        """Whether the view reaches as far as an answer that ends at these offsets.

        Of no rows too there may be events: before the topic was read to where it ended at the
        start, and where nobody reads it at all, no answer is covered.
        """
        return self._has_read_up and all(
            self._covered.get(p, 0) >= offset for p, offset in log_next.items()
        )

    def at(self, known_us: int, ends: Mapping[int, int]) -> "GapsThen":
        """What was known at an accepted time.

        Args:
            known_us: that time.
            ends: of the log; every row that was accepted by then lies below them.
        """
        return GapsThen(self, self._scopes, self._history, known_us, ends)

    def _ledger_of(self, scopes: Collection[str]) -> GapLedger:  # noqa: ARG002 - all in one
        return self._ledger

    def totals(self) -> ScopeCounts:
        """What was found in all scopes together."""
        return _sum(self._ledger.counts(scope) for scope in self._ledger.scopes())


class GapsThen(KnownGaps):
    """What was known of gaps at an accepted time: it never changes, once the events are read."""

    def __init__(
        self,
        now: GapsView,
        scopes: _Scopes,
        history: GapHistory,
        known_us: int,
        ends: Mapping[int, int],
    ) -> None:
        self._now = now
        self._scopes = scopes
        self._history = history
        self._known_us = known_us
        self._ends = ends

    @property
    def forgotten(self) -> int:
        """Not 0 if what was known then cannot be told any more."""
        return self._now.forgotten + (self._known_us < self._history.since_us)

    def covers(self, log_next: Mapping[int, int]) -> bool:
        """Whether all events up to that time have been read, and those of these offsets."""
        return self._now.covers(self._ends) and self._now.covers(log_next)

    def _ledger_of(self, scopes: Collection[str]) -> GapLedger:
        return self._history.at(self._known_us, scopes)


class NothingMissing(KnownGaps):
    """Of rows that have no sequence of their own, and of which none is ever left out."""

    def __init__(self) -> None:
        self._scopes = _Scopes()

    @property
    def forgotten(self) -> int:
        """None: there is nothing to forget."""
        return 0

    def covers(self, log_next: Mapping[int, int]) -> bool:  # noqa: ARG002 - wherever it ends
        """Always."""
        return True

    def at(self, known_us: int, ends: Mapping[int, int]) -> "NothingMissing":  # noqa: ARG002 - the same
        """At any time."""
        return self

    def _ledger_of(self, scopes: Collection[str]) -> GapLedger:  # noqa: ARG002 - it is empty
        return GapLedger()


NOTHING_MISSING = NothingMissing()


def _sum(counts: Iterable[ScopeCounts]) -> ScopeCounts:
    total = dict.fromkeys(ScopeCounts.__struct_fields__, 0)
    for one in counts:
        for name, value in msgspec.structs.asdict(one).items():
            total[name] += value
    return ScopeCounts(**total)
