"""The options of each method, once for both clients.

What they mean is described in K2's HTTP reference under the same names; K2 checks their values.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal, TypeAlias, TypedDict

from k2_client.columns import ColumnShape, Prices
from k2_client.result import Result

Names: TypeAlias = str | Sequence[str]
#: Integer nanoseconds, RFC 3339, or a `datetime`; one without a zone needs `tz`.
Moment: TypeAlias = int | str | date
#: A trading date, as text 2026-11-30.
Day: TypeAlias = date | str
#: A token, `tag:NAME`, or an earlier result.
Token: TypeAlias = str | Result
#: Of which sketches count distinct values, add up per symbol, and order values.
Distinct: TypeAlias = Literal["trade_id", "symbol"]
TopMeasure: TypeAlias = Literal["messages", "volume"]
Ordered: TypeAlias = Literal["delay_ns", "quantity"]
SqlFormat: TypeAlias = Literal["json", "arrow", "csv", "parquet", "markdown"]


class ShapeOptions(TypedDict, total=False):
    """What becomes of the rows here; `limit` is of rows, over all pages."""

    columns: Sequence[str] | None
    prices: Prices
    limit: int | None


class PointOptions(ShapeOptions, total=False):
    """As of when rows are read."""

    as_of: Token | None
    known_at: Moment | None
    min_offsets: Mapping[int, int] | None
    wait_ms: int | None
    tz: str | None
    exchange: Names | None


class RangeOptions(PointOptions, total=False):
    """Which range of event time."""

    start: Moment | None
    end: Moment | None
    window: str | None


class RowsOptions(RangeOptions, total=False):
    """Of rows of a log; `where` has the other columns of an output's key."""

    order: Literal["asc", "desc"]
    view: Literal["reported", "corrected"]
    where: Mapping[str, Names]


class StreamOptions(TypedDict, total=False):
    """Of a stream of rows, which begins at `start` (K2's `from`) and goes to `end` (`to`).

    Both are a token, a time, or a word: `begin`, `now` (the default); `end`. Without an `end` it
    goes on for ever.
    """

    start: Token | Moment
    end: Token | Moment | None
    exchange: Names | None
    where: Mapping[str, Names]
    tz: str | None
    speed: str | float
    clock: Literal["event", "accepted"]
    order: Literal["log", "event"]
    batch_ms: int
    columns: Sequence[str] | None
    prices: Prices


class JoinOptions(RowsOptions, total=False):
    """Of trades, each with its quote."""

    strategy: Literal["backward", "forward", "nearest"]
    tolerance: str
    allow_exact_matches: bool
    markouts: Names
    quotes_as_of: str | None  # of the proof's `quotes`


class BarsOptions(RangeOptions, total=False):
    """Of bars."""

    align: Literal["utc", "tz", "session"]
    calendar: str
    fill: Literal["none", "null", "prev"]
    conditions: Literal["eligible", "all"]
    view: Literal["reported", "corrected"]


class GapsOptions(ShapeOptions, total=False):
    """Of gaps."""

    exchange: Names | None
    state: Names | None
    start: Moment | None
    end: Moment | None
    window: str | None
    tz: str | None
    known_at: Moment | None


class CoverageOptions(ShapeOptions, total=False):
    """Of coverage."""

    date: Day | Sequence[Day] | None
    exchange: Names | None
    known_at: Moment | None
    tz: str | None
    wait_ms: int | None


class SketchOptions(ShapeOptions, total=False):
    """Of sketches: of which minutes, at which read point."""

    exchange: Names | None
    start: Moment | None
    end: Moment | None
    window: str | None
    tz: str | None
    as_of: Token | None
    known_at: Moment | None
    wait_ms: int | None


class SnapshotsOptions(ShapeOptions, total=False):
    """Of snapshots."""

    stream: str


class SqlOptions(ShapeOptions, total=False):
    """Of a statement."""

    as_of: Token | None
    known_at: Moment | None
    tz: str | None
    full: bool


def shape_of(options: ShapeOptions | StreamOptions) -> ColumnShape:
    """What becomes of the columns."""
    return ColumnShape(options.get("columns"), options.get("prices") or "decimal")
