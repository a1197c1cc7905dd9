"""Queries, with typed fields; one that cannot be answered is refused when it is made.

Time: start inclusive, end exclusive, in event time and ns. A window ends at the end, else at the
server's clock; the end `LAST` is just after the newest row of the selection. No exchange: all of
them; no symbol: all.
"""

import zlib
from typing import Literal

import msgspec

from k2_streams.core.query.keys import Keys, keys_of
from k2_streams.core.sequence.gaps import Gap
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.gaps import KnownGaps
from k2_streams.query.token import Cursor, GapsCursor, TagName, Token

LAST: Literal["last"] = "last"
#: A time, just after the newest row, or no bound.
End = int | Literal["last"] | None
RowsView = Literal["reported", "corrected"]
GapState = Literal["open", "filled", "abandoned"]
DEFAULT_LIMIT = 1_000


class RowsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of lake and tail.

    Raises:
        InvalidParameter: two fields contradict each other.
    """

    symbols: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    start_ns: int | None = None
    end_ns: End = None
    window_ns: int | None = None
    limit: int = DEFAULT_LIMIT
    descending: bool = False
    cursor: Cursor | None = None
    as_of: Token | TagName | None = None
    min_offsets: dict[int, int] = {}  # raw offsets that must have been processed, per partition
    wait_ms: int = 0
    view: RowsView = "reported"
    keys: Keys = ()  # of other key columns than symbol and exchange
    known_at_ns: int | None = None  # the rows and gaps that were known at this time
    checks_names: bool = True  # symbols of which no row was ever accepted are refused
    permitted: tuple[str, ...] = ()  # the exchanges that its caller may read; empty: all

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        _check_range(self.start_ns, self.end_ns, self.window_ns)
        _check_known_at(self.known_at_ns, is_pinned=self.cursor is not None or bool(self.as_of))
        _check_pinning(is_pinned=self.pinned, min_offsets=self.min_offsets)

    @property
    def selected(self) -> Keys:
        """What is wanted of the columns of the key."""
        return keys_of(symbol=self.symbols, exchange=self.permitted or self.exchanges) + self.keys

    @property
    def pinned(self) -> bool:
        """Its rows are the same for ever."""
        return (self.cursor or self.as_of or self.known_at_ns) is not None

    @property
    def gaps_known_ns(self) -> int | None:
        """When gaps were known as the answer shows them; None: now. Of all pages of an answer."""
        return self.known_at_ns if self.cursor is None else self.cursor.known_at_ns

    def asked(self) -> int:
        """A checksum of the query, by which a cursor recognises its own."""
        query: tuple[object, ...] = (
            self.symbols,
            self.exchanges,
            self.start_ns,
            self.end_ns,
            self.window_ns,
            self.descending,
        )
        if self.view != "reported":
            query = (*query, self.view)
        if self.keys:
            query = (*query, self.keys)
        return zlib.crc32(msgspec.json.encode(query))

    def continued(self, cursor: Cursor, *, is_repeated: bool) -> "RowsRequest":
        """The next page of the cursor's query, with this request's limit and wait.

        Args:
            cursor: of the page before.
            is_repeated: this request repeats the query, which must then be the cursor's.

        Raises:
            InvalidParameter: the cursor was issued for another query, or another token.
        """
        if self.as_of is not None and self.as_of != cursor.token:
            raise InvalidParameter("as_of", "the cursor was issued for a different token")
        if is_repeated and self.asked() != cursor.asked:
            raise InvalidParameter("cursor", "the cursor was issued for a different query")
        return RowsRequest(
            symbols=cursor.symbols,
            exchanges=cursor.exchanges,
            start_ns=cursor.start_ns,
            end_ns=cursor.end_ns,
            limit=self.limit,
            descending=cursor.descending,
            cursor=cursor,
            as_of=cursor.token,
            min_offsets=self.min_offsets,
            wait_ms=self.wait_ms,
            view=cursor.view,
            keys=cursor.keys,
        )


class GapsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Gaps that are known.

    Raises:
        InvalidParameter: two fields contradict each other.
    """

    symbols: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    start_ns: int | None = None
    end_ns: int | None = None
    window_ns: int | None = None
    limit: int = DEFAULT_LIMIT
    known_at_ns: int | None = None
    as_of: Token | TagName | None = None  # of the log of gap events
    cursor: GapsCursor | None = None
    wait_ms: int = 0

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        _check_range(self.start_ns, self.end_ns, self.window_ns)
        _check_known_at(self.known_at_ns, is_pinned=self.as_of is not None)

    @property
    def is_pinned(self) -> bool:
        """Whether the events are named that its answer is made of."""
        return (self.cursor or self.as_of or self.known_at_ns) is not None

    @property
    def known_ns(self) -> int | None:
        """When the gaps were known so; None: now, or at a token. Of all pages of an answer."""
        return self.known_at_ns if self.cursor is None else self.cursor.known_at_ns

    def range_until(self, now_ns: int) -> tuple[int | None, int | None]:
        """Its range as two times; a window without an end ends now."""
        if self.window_ns is None:
            return self.start_ns, self.end_ns
        end_ns = now_ns if self.end_ns is None else self.end_ns
        return end_ns - self.window_ns, end_ns

    def find_in(self, known: KnownGaps, now_ns: int) -> tuple[tuple[Gap, ...], int]:
        """Its gaps among those that are known, and how many more there are."""
        start_ns, end_ns = self.range_until(now_ns)
        return known.find(
            symbols=self.symbols,
            exchanges=self.exchanges,
            states=self.states,
            start_ns=start_ns,
            end_ns=end_ns,
            limit=self.limit,
        )

    def next_page(
        self, token: Token, start_ns: int | None, end_ns: int | None, after: tuple[str, int]
    ) -> GapsCursor:
        """The page behind a gap: its scope and its place.

        Args:
            token: of the first page.
            start_ns: of the range as it was resolved.
            end_ns: of it.
            after: the last gap that was looked at.
        """
        return GapsCursor(
            token=token,
            after=after,
            symbols=self.symbols,
            exchanges=self.exchanges,
            states=self.states,
            start_ns=start_ns,
            end_ns=end_ns,
            limit=self.limit,
            known_at_ns=self.known_ns,
        )


class SymbolsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of each symbol.

    Raises:
        InvalidParameter: two fields contradict each other.
    """

    symbols: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    as_of: Token | TagName | None = None
    min_offsets: dict[int, int] = {}
    wait_ms: int = 0
    keys: Keys = ()  # of other key columns than symbol and exchange
    known_at_ns: int | None = None
    permitted: tuple[str, ...] = ()  # as of `RowsRequest`

    @property
    def from_exchanges(self) -> tuple[str, ...]:
        """The exchanges wanted; empty: all."""
        return self.permitted or self.exchanges

    @property
    def selected(self) -> Keys:
        """What is wanted of the columns of the key."""
        return keys_of(symbol=self.symbols, exchange=self.from_exchanges) + self.keys

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        is_pinned = self.as_of is not None
        _check_known_at(self.known_at_ns, is_pinned=is_pinned)
        is_pinned = is_pinned or self.known_at_ns is not None
        _check_pinning(is_pinned=is_pinned, min_offsets=self.min_offsets)


class SnapshotsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The lake's newest snapshots."""

    limit: int = 100


def _check_range(start_ns: int | None, end_ns: End, window_ns: int | None) -> None:
    if window_ns is not None and start_ns is not None:
        raise InvalidParameter("window", "window cannot be combined with start")
    if start_ns is not None and isinstance(end_ns, int) and start_ns > end_ns:
        raise InvalidParameter("start", f"expected at most end ({end_ns}), found {start_ns}")


def _check_pinning(*, is_pinned: bool, min_offsets: dict[int, int]) -> None:
    """Rows that are pinned do not grow, so there is nothing to wait for."""
    if is_pinned and min_offsets:
        raise InvalidParameter(
            "min_offsets", "min_offsets cannot be combined with as_of, cursor or known_at"
        )


def _check_known_at(known_at_ns: int | None, *, is_pinned: bool) -> None:
    """A token says which rows were known, and so does a time."""
    if known_at_ns is not None and is_pinned:
        raise InvalidParameter("known_at", "known_at cannot be combined with as_of or cursor")
