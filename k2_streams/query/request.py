"""Questions as they come in, parsed and validated: every parameter, its limits and its errors.

Time: start inclusive, end exclusive, on exchange_time_ns. An integer is nanoseconds since 1970
UTC, from 1990 on (or 0); RFC 3339 needs an offset, or `tz=`, and takes no blank. `window` ends at
`end`, else at the server's clock; `end=last` is the newest trade of the selection. No `exchange`:
all of them; no `symbol`: all.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from k2_streams.core.records.symbols import SYMBOL_RULE, is_symbol
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.times import LAST, End, parse_end, parse_time, parse_window, parse_zone
from k2_streams.query.token import MAX_INT64, Cursor, Token, TokenError

DEFAULT_LIMIT = 1_000
#: 100,000 rows are about 40 MB of JSON: what a client can still take at once.
MAX_LIMIT = 100_000
#: More scopes than these are better asked for without `symbol`.
MAX_SYMBOLS = 50
MAX_EXCHANGES = 10
#: Longer waits hold connections; a client asks again.
MAX_WAIT_MS = 5_000
MAX_EXCHANGE_LENGTH = 32
MAX_GAPS = 10_000

FORMATS = ("json", "arrow", "csv")
Format = Literal["json", "arrow", "csv"]
VIEWS = ("reported", "corrected")
RowsView = Literal["reported", "corrected"]
GAP_STATES = ("open", "filled", "abandoned")

#: What `GET /v1/trades`, `/v1/gaps`, `/v1/symbols` and `/v1/snapshots` take.
_SELECTION = frozenset({"symbol", "exchange", "format"})
_RANGE = frozenset({"start", "end", "window", "tz"})
_PINNING = frozenset({"as_of", "min_offsets", "wait_ms"})
ROWS_PARAMETERS = _SELECTION | _RANGE | _PINNING | {"limit", "order", "cursor", "view"}
GAPS_PARAMETERS = _SELECTION | _RANGE | {"limit", "state"}
SYMBOLS_PARAMETERS = _SELECTION | _PINNING
SNAPSHOTS_PARAMETERS = frozenset({"limit", "format"})

#: What a question's parameters come as: a name may be given more than once.
Parameters = Mapping[str, str | Sequence[str]]


class RowsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/trades`, validated."""

    symbols: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    start_ns: int | None = None
    end_ns: End = None  # a time, LAST, or None
    window_ns: int | None = None
    limit: int = DEFAULT_LIMIT
    descending: bool = False
    cursor: Cursor | None = None
    as_of: Token | None = None
    min_offsets: dict[int, int] = {}  # raw offsets that must have been judged, per raw partition
    wait_ms: int = 0
    view: RowsView = "reported"
    format: Format | None = None

    @property
    def pinned(self) -> bool:
        """Its rows are the same for ever."""
        return self.cursor is not None or self.as_of is not None

    def asked(self) -> int:
        """A checksum of what was asked, for a cursor to know its question again."""
        question: tuple[object, ...] = (
            self.symbols,
            self.exchanges,
            self.start_ns,
            self.end_ns,
            self.window_ns,
            self.descending,
        )
        if self.view != "reported":
            question = (*question, self.view)
        return zlib.crc32(msgspec.json.encode(question))


class GapsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/gaps`, validated."""

    symbols: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    start_ns: int | None = None
    end_ns: int | None = None
    window_ns: int | None = None
    limit: int = DEFAULT_LIMIT
    format: Format | None = None


class SymbolsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/symbols`, validated."""

    symbols: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    as_of: Token | None = None
    min_offsets: dict[int, int] = {}
    wait_ms: int = 0
    format: Format | None = None


class SnapshotsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/snapshots`, validated."""

    limit: int = 100
    format: Format | None = None


def parse_rows(parameters: Parameters) -> RowsRequest:
    """The parameters of `GET /v1/trades`.

    Raises:
        InvalidParameter: with the name of the first one that is wrong.
    """
    given = _Given(parameters, ROWS_PARAMETERS)
    zone = parse_zone(given.one("tz"))
    cursor = given.cursor()
    request = RowsRequest(
        symbols=given.symbols(),
        exchanges=given.exchanges(),
        start_ns=parse_time("start", given.one("start"), zone),
        end_ns=parse_end(given.one("end"), zone),
        window_ns=parse_window(given.one("window")),
        limit=given.integer("limit", cursor.limit if cursor else DEFAULT_LIMIT, 1, MAX_LIMIT),
        descending=given.word("order", ("asc", "desc")) == "desc",
        cursor=cursor,
        as_of=given.token(),
        min_offsets=given.offsets("min_offsets"),
        wait_ms=given.wait_ms(),
        view="corrected" if given.word("view", VIEWS) == "corrected" else "reported",
        format=given.format(),
    )
    _check_range(request.start_ns, request.end_ns, request.window_ns)
    if request.pinned and request.min_offsets:
        raise InvalidParameter("min_offsets", "a pinned answer does not grow: drop it")
    if cursor is None:
        return request
    if request.as_of is not None and request.as_of != cursor.token:
        raise InvalidParameter("as_of", "the cursor is pinned to another token")
    if given.asks() and request.asked() != cursor.asked:
        raise InvalidParameter("cursor", "it belongs to another question than the one beside it")
    return msgspec.structs.replace(
        request,
        symbols=cursor.symbols,
        exchanges=cursor.exchanges,
        start_ns=cursor.start_ns,
        end_ns=cursor.end_ns,
        window_ns=None,
        descending=cursor.descending,
        as_of=cursor.token,
        view=cursor.view,
    )


def parse_gaps(parameters: Parameters) -> GapsRequest:
    """The parameters of `GET /v1/gaps`.

    Raises:
        InvalidParameter: with the name of the first one that is wrong.
    """
    given = _Given(parameters, GAPS_PARAMETERS)
    zone = parse_zone(given.one("tz"))
    request = GapsRequest(
        symbols=given.symbols(),
        exchanges=given.exchanges(),
        states=given.states(),
        start_ns=parse_time("start", given.one("start"), zone),
        end_ns=parse_time("end", given.one("end"), zone),
        window_ns=parse_window(given.one("window")),
        limit=given.integer("limit", DEFAULT_LIMIT, 1, MAX_GAPS),
        format=given.format(),
    )
    _check_range(request.start_ns, request.end_ns, request.window_ns)
    return request


def parse_symbols(parameters: Parameters) -> SymbolsRequest:
    """The parameters of `GET /v1/symbols`.

    Raises:
        InvalidParameter: with the name of the first one that is wrong.
    """
    given = _Given(parameters, SYMBOLS_PARAMETERS)
    request = SymbolsRequest(
        symbols=given.symbols(),
        exchanges=given.exchanges(),
        as_of=given.token(),
        min_offsets=given.offsets("min_offsets"),
        wait_ms=given.wait_ms(),
        format=given.format(),
    )
    if request.as_of is not None and request.min_offsets:
        raise InvalidParameter("min_offsets", "a pinned answer does not grow: drop it")
    return request


def parse_snapshots(parameters: Parameters) -> SnapshotsRequest:
    """The parameters of `GET /v1/snapshots`.

    Raises:
        InvalidParameter: with the name of the first one that is wrong.
    """
    given = _Given(parameters, SNAPSHOTS_PARAMETERS)
    return SnapshotsRequest(
        limit=given.integer("limit", 100, 1, MAX_GAPS),
        format=given.format(),
    )


def _check_range(start_ns: int | None, end_ns: End, window_ns: int | None) -> None:
    if window_ns is not None and start_ns is not None:
        raise InvalidParameter("window", "a window has no start of its own: give one of the two")
    if start_ns is not None and isinstance(end_ns, int) and start_ns > end_ns:
        raise InvalidParameter("start", f"expected at most end ({end_ns}), found {start_ns}")


def _may_be_exchange(text: str) -> bool:
    """Whether an exchange may be called so: no colon, which ends its name in a key."""
    is_printable = all("!" <= char <= "~" for char in text)
    return 1 <= len(text) <= MAX_EXCHANGE_LENGTH and is_printable and ":" not in text


class _Given:
    """The parameters of one question, with the checks that they share."""

    def __init__(self, parameters: Parameters, known: frozenset[str]) -> None:
        self._values: dict[str, list[str]] = {
            name: [value] if isinstance(value, str) else list(value)
            for name, value in parameters.items()
        }
        for name in self._values:
            if name not in known:
                raise InvalidParameter(name, f"unknown; expected one of {', '.join(sorted(known))}")

    def many(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def one(self, name: str) -> str | None:
        values = self.many(name)
        if len(values) > 1:
            raise InvalidParameter(name, f"expected once, found {len(values)} times")
        return values[0] if values else None

    def asks(self) -> bool:
        """Whether anything that makes a question stands beside a cursor."""
        return any(
            self.many(name)
            for name in ("symbol", "exchange", "start", "end", "window", "order", "view")
        )

    def symbols(self) -> tuple[str, ...]:
        return self._names("symbol", MAX_SYMBOLS, is_symbol, SYMBOL_RULE)

    def exchanges(self) -> tuple[str, ...]:
        rule = f"1 to {MAX_EXCHANGE_LENGTH} printable ASCII characters"
        return self._names("exchange", MAX_EXCHANGES, _may_be_exchange, rule)

    def _names(
        self, name: str, count: int, fits: Callable[[str], bool], rule: str
    ) -> tuple[str, ...]:
        values = sorted(set(self.many(name)))
        if len(values) > count:
            raise InvalidParameter(name, f"expected at most {count}, found {len(values)}")
        if not all(map(fits, values)):
            raise InvalidParameter(name, f"expected {rule}")
        return tuple(values)

    def states(self) -> tuple[str, ...]:
        values = sorted({part for value in self.many("state") for part in value.split(",")})
        for value in values:
            if value not in GAP_STATES:
                raise InvalidParameter("state", f"expected one of {', '.join(GAP_STATES)}")
        return tuple(values)

    def word(self, name: str, words: tuple[str, ...]) -> str | None:
        value = self.one(name)
        if value is not None and value not in words:
            raise InvalidParameter(name, f"expected one of {', '.join(words)}")
        return value

    def format(self) -> Format | None:
        match self.word("format", FORMATS):
            case "json":
                return "json"
            case "arrow":
                return "arrow"
            case "csv":
                return "csv"
            case _:
                return None

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        text = self.one(name)
        if text is None:
            return default
        value = _digits(text)
        if value is None or not least <= value <= most:
            raise InvalidParameter(name, f"expected an integer from {least} to {most}")
        return value

    def wait_ms(self) -> int:
        default = MAX_WAIT_MS if self.many("min_offsets") else 0
        return self.integer("wait_ms", default, 0, MAX_WAIT_MS)

    def token(self) -> Token | None:
        text = self.one("as_of")
        try:
            return None if text is None else Token.decode(text)
        except TokenError as error:
            raise InvalidParameter("as_of", f"not a token: {error}") from error

    def cursor(self) -> Cursor | None:
        text = self.one("cursor")
        try:
            cursor = None if text is None else Cursor.decode(text)
        except TokenError as error:
            raise InvalidParameter("cursor", f"not a cursor: {error}") from error
        if cursor is not None and not 1 <= cursor.limit <= MAX_LIMIT:
            raise InvalidParameter("cursor", "not a cursor: its limit is out of range")
        return cursor

    def offsets(self, name: str) -> dict[int, int]:
        text = self.one(name)
        if text is None:
            return {}
        offsets: dict[int, int] = {}
        for part in text.split(","):
            left, _, right = part.partition(":")
            partition, offset = _digits(left), _digits(right)
            if partition is None or partition >= 2**31 or offset is None or offset > MAX_INT64:
                raise InvalidParameter(name, "expected PARTITION:OFFSET, separated by commas")
            offsets[partition] = max(offset, offsets.get(partition, 0))
        return offsets


def _digits(text: str) -> int | None:
    """A plain integer of at most 19 ASCII digits, else None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else None


__all__ = [
    "LAST",
    "GapsRequest",
    "InvalidParameter",
    "RowsRequest",
    "SnapshotsRequest",
    "SymbolsRequest",
    "parse_gaps",
    "parse_rows",
    "parse_snapshots",
    "parse_symbols",
]
