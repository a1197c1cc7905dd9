"""A query for bars, with typed fields; one that cannot be answered is refused when it is made."""

import zlib
from typing import Literal

import msgspec

from k2_streams.core.query.bars.fold import Fill
from k2_streams.core.query.bars.interval import ALL, SESSION, Interval
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.request import DEFAULT_LIMIT, End, RowsRequest, RowsView
from k2_streams.query.token import BarsCursor, TagName, Token

Align = Literal["utc", "tz", "session"]
ConditionsUsed = Literal["eligible", "all"]


class BarsRows(RowsRequest, frozen=True, kw_only=True):
    """The trades of a page of bars."""

    bars_cursor: BarsCursor | None = None

    @property
    def gaps_known_ns(self) -> int | None:
        """As of `RowsRequest`, whose cursor is one of rows."""
        return self.known_at_ns if self.bars_cursor is None else self.bars_cursor.known_at_ns


class BarsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Bars of some symbols; those that begin in the range.

    Raises:
        InvalidParameter: a field is missing, or two contradict each other.
    """

    symbols: tuple[str, ...]
    exchanges: tuple[str, ...] = ()
    interval: Interval
    align: Align = "utc"
    zone: str | None = None  # IANA name
    calendar: str | None = None
    fill: Fill = "none"
    conditions: ConditionsUsed | None = None  # None: eligible, where there are rules
    view: RowsView = "corrected"
    start_ns: int | None = None
    end_ns: End = None
    window_ns: int | None = None
    limit: int = DEFAULT_LIMIT
    cursor: BarsCursor | None = None
    as_of: Token | TagName | None = None
    known_at_ns: int | None = None
    min_offsets: dict[int, int] = {}
    wait_ms: int = 0
    permitted: tuple[str, ...] = ()  # as of `RowsRequest`
    checks_names: bool = True  # the same

    def __post_init__(self) -> None:
        """Check the fields against each other."""
        if self.start_ns is None and self.window_ns is None:
            raise InvalidParameter(
                "start", "required; expected start or window, since bars need a bound"
            )
        if self.align == "tz" and self.zone is None and not self.is_named:
            raise InvalidParameter("align", "expected tz=, an IANA zone, beside align=tz")
        if self.uses_sessions and self.calendar is None:
            raise InvalidParameter(
                "interval" if self.interval == SESSION else "align",
                "expected calendar=, as XASX or XNYS, beside sessions",
            )
        if self.calendar is not None and not self.uses_sessions:
            raise InvalidParameter(
                "calendar", "expected with align=session or interval=session alone"
            )
        _ = self.rows  # checks the range

    @property
    def is_named(self) -> bool:
        """Whether its interval is no length, so that `align` says nothing."""
        return self.interval in (SESSION, ALL)

    @property
    def from_exchanges(self) -> tuple[str, ...]:
        """The exchanges wanted; empty: all."""
        return self.permitted or self.exchanges

    @property
    def uses_sessions(self) -> bool:
        """Whether its bars lie in sessions."""
        return self.interval == SESSION or (self.align == "session" and self.interval != ALL)

    @property
    def rows(self) -> RowsRequest:
        """The trades that it is about, by symbol, range and read point; its limit is of bars."""
        return BarsRows(
            symbols=self.symbols,
            exchanges=self.exchanges,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            window_ns=self.window_ns,
            limit=self.limit,
            as_of=self.as_of,
            known_at_ns=self.known_at_ns,
            bars_cursor=self.cursor,
            min_offsets=self.min_offsets,
            wait_ms=self.wait_ms,
            view=self.view,
            permitted=self.permitted,
            checks_names=self.checks_names,
        )

    def asked(self) -> int:
        """A checksum of the query, by which a cursor recognises its own."""
        query = (
            self.symbols,
            self.exchanges,
            self.interval,
            self.align,
            self.zone,
            self.calendar,
            self.fill,
            self.conditions,
            self.view,
            self.start_ns,
            self.end_ns,
            self.window_ns,
            self.known_at_ns,
        )
        return zlib.crc32(msgspec.json.encode(query))

    def next_page(
        self, token: Token, start_ns: int, end_ns: int, after: tuple[int, str, str]
    ) -> BarsCursor:
        """The page behind a bar: its start, exchange and symbol.

        Args:
            token: of the first page.
            start_ns: of the range as it was resolved.
            end_ns: of it.
            after: the last bar given.
        """
        return BarsCursor(
            token=token,
            after=after,
            symbols=self.symbols,
            exchanges=self.exchanges,
            interval=self.interval,
            align=self.align,
            zone=self.zone,
            calendar=self.calendar,
            fill=self.fill,
            conditions=self.conditions,
            view=self.view,
            start_ns=start_ns,
            end_ns=end_ns,
            limit=self.limit,
            asked=self.asked() if self.cursor is None else self.cursor.asked,
            known_at_ns=self.rows.gaps_known_ns,
        )


def continued(
    cursor: BarsCursor,
    *,
    limit: int | None = None,
    wait_ms: int = 0,
    as_of: Token | TagName | None = None,
) -> BarsRequest:
    """The next page of a cursor's query.

    Args:
        cursor: of the page before.
        limit: None: as on that page.
        wait_ms: for its token.
        as_of: what else the caller names, which must be the cursor's token.

    Raises:
        InvalidParameter: the cursor was issued for another token.
    """
    if as_of is not None and as_of != cursor.token:
        raise InvalidParameter("as_of", "the cursor was issued for a different token")
    return BarsRequest(
        symbols=cursor.symbols,
        exchanges=cursor.exchanges,
        interval=cursor.interval,
        align=cursor.align,
        zone=cursor.zone,
        calendar=cursor.calendar,
        fill=cursor.fill,
        conditions=cursor.conditions,
        view=cursor.view,
        start_ns=cursor.start_ns,
        end_ns=cursor.end_ns,
        limit=cursor.limit if limit is None else limit,
        cursor=cursor,
        as_of=cursor.token,
        wait_ms=wait_ms,
    )
