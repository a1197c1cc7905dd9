"""A node's committed view of `k2.sequence-events`: gaps and counts, and how far they reach."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from k2_streams.core.records.events import AnyEvent
from k2_streams.core.sequence.gaps import Gap, GapLedger, Lacking, ScopeCounts, meets
from k2_streams.core.sequence.scopes import exchange_of, is_connection, own_scope, symbol_of


class GapsView:
    """What the events say, for questions. Belongs to one event loop.

    Whoever reads the topic feeds it, in this order:
        1. `apply` each committed event, with the consumer's position after it; `advance` where a
           position moves without one (a transaction's marker).
        2. `cover` with the ends of the tail that were known *before* the end offsets of the events
           were asked for, once the events have been read up to those: an event is in the same
           transaction as the rows it speaks of, so it is then in the view.
    """

    def __init__(self, ledger: GapLedger | None = None) -> None:
        self._ledger = ledger or GapLedger()
        self._positions: dict[int, int] = {}
        self._covered: dict[int, int] = {}
        self._scopes: set[str] = set()
        self._scopes_of: dict[str, set[str]] = {}  # by symbol
        self._connections: set[str] = set()

    @property
    def positions(self) -> dict[int, int]:
        """Of `k2.sequence-events`: per partition the next offset not read."""
        return dict(self._positions)

    @property
    def forgotten(self) -> int:
        """Closed gaps that had to go because of the limit."""
        return self._ledger.forgotten

    def apply(self, event: AnyEvent, partition: int, position: int) -> None:
        """Take one event in; `position` is the next offset of its partition.

        An event below the position is skipped: a reader that begins again may read it again.
        """
        if position <= self._positions.get(partition, 0):
            return
        self._ledger.apply(event)
        if event.scope not in self._scopes:
            self._scopes.add(event.scope)
            if is_connection(event.scope):
                self._connections.add(event.scope)
            self._scopes_of.setdefault(symbol_of(event.scope), set()).add(event.scope)
        self.advance(partition, position)

    def advance(self, partition: int, position: int) -> None:
        """The partition of events has been read up to `position`; it never goes back."""
        self._positions[partition] = max(position, self._positions.get(partition, 0))

    def cover(self, log_next: Mapping[int, int]) -> None:
        """Every event of the records of `k2.trades` below these offsets is in the view."""
        for partition, offset in log_next.items():
            self._covered[partition] = max(offset, self._covered.get(partition, 0))

    def covers(self, log_next: Mapping[int, int]) -> bool:
        """Whether the view reaches as far as an answer that ends at these offsets."""
        return all(self._covered.get(p, 0) >= offset for p, offset in log_next.items())

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
        for gap in self._ledger.gaps(self._selected(symbols, exchanges)):
            within = meets(gap.previous_time_ns, gap.next_time_ns, start_ns, end_ns)
            # A late number's event time may lie outside its gap, and so what it left of the gap.
            if not (within or self._ledger.lacks(gap, start_ns, end_ns)):
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
        scopes = self._selected(symbols, exchanges)
        return any(self._ledger.conflicts(scope, start_ns, end_ns) for scope in scopes) or any(
            self._ledger.lacks(gap, start_ns, end_ns) for gap in self._ledger.gaps(scopes)
        )

    def lacking(self, exchange: str, symbol: str) -> Iterator[Lacking]:
        """What rows of a symbol of an exchange may be missing; `lacks` says whether it is any."""
        for scope in sorted(self._selected((symbol,), (exchange,))):
            yield from self._ledger.lacking(scope)

    def counts(self, exchange: str, symbol: str) -> ScopeCounts:
        """What was found in the symbol's own scope; of a connection it is in none of its symbols'.

        A connection's count belongs to no one symbol: added to each it would be counted many times.
        """
        return self._ledger.counts(own_scope(exchange, symbol))

    def _selected(self, symbols: tuple[str, ...], exchanges: tuple[str, ...]) -> set[str]:
        """The scopes in which rows of the selection can be missing (empty: all).

        As `core.sequence.scopes` has it: those of the symbol by its whole name, and all
        connections.
        """
        scopes = self._scopes
        if symbols:
            of = self._scopes_of
            scopes = self._connections.union(*(of.get(name, ()) for name in symbols))
        if exchanges:
            scopes = {scope for scope in scopes if exchange_of(scope) in exchanges}
        return scopes

    def totals(self) -> ScopeCounts:
        """What was found in all scopes together."""
        return _sum(self._ledger.counts(scope) for scope in self._ledger.scopes())


def _sum(counts: Iterable[ScopeCounts]) -> ScopeCounts:
    total = dict.fromkeys(ScopeCounts.__struct_fields__, 0)
    for one in counts:
        for name, value in msgspec.structs.asdict(one).items():
            total[name] += value
    return ScopeCounts(**total)
