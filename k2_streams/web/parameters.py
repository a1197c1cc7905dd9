"""What the paths take, as OpenAPI says it; the limits are those of `k2_streams.query.request`."""

from typing import Any

from k2_streams.core.records.symbols import MAX_SYMBOL_CHARS, SYMBOL_RULE
from k2_streams.query.request import (
    DEFAULT_LIMIT,
    FORMATS,
    GAP_STATES,
    MAX_EXCHANGE_LENGTH,
    MAX_EXCHANGES,
    MAX_GAPS,
    MAX_LIMIT,
    MAX_SYMBOLS,
    MAX_WAIT_MS,
    VIEWS,
)
from k2_streams.web.http import correlation

_TIME = (
    "Integer nanoseconds since 1970 UTC (0, or from 1990 on), or RFC 3339 with `T` and an offset "
    "(or with `tz`). A `+` is written `%2B`: a blank is refused."
)
_TIME_TEXT = {"type": "string", "format": "k2-time"}


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _names(
    name: str, description: str, kind: dict[str, str], length: int, count: int
) -> dict[str, Any]:
    item = {"type": "string", **kind, "minLength": 1, "maxLength": length}
    schema = {"type": "array", "items": item, "minItems": 1, "maxItems": count}
    return {**_parameter(name, description, schema), "style": "form", "explode": True}


_SYMBOL = _names(
    "symbol",
    f"{SYMBOL_RULE}. May be repeated. None: all.",
    {"format": "k2-symbol"},
    MAX_SYMBOL_CHARS,
    MAX_SYMBOLS,
)
_EXCHANGE = _names(
    "exchange",
    "May be repeated. None: all.",
    {"pattern": "^[!-9;-~]+$"},
    MAX_EXCHANGE_LENGTH,
    MAX_EXCHANGES,
)
_START = _parameter("start", f"Inclusive. {_TIME}", _TIME_TEXT)
_END = _parameter("end", f"Exclusive. {_TIME}", _TIME_TEXT)
_LAST_END = _parameter(
    "end",
    f"Exclusive. {_TIME} `last`: just after the newest row of the selection.",
    {"anyOf": [{"type": "string", "const": "last"}, _TIME_TEXT]},
)
_WINDOW = _parameter(
    "window",
    "A length (`500ms`, `30s`, `15m`, `4h`, `7d`; at most ten years) that ends at `end`, else at "
    "the server's clock. Not together with `start`.",
    {
        "type": "string",
        "format": "k2-window",
        "examples": ["15m"],
    },
)
_ZONE = _parameter(
    "tz",
    "The IANA zone of times without an offset.",
    {
        "type": "string",
        "format": "k2-zone",
        "examples": ["Australia/Sydney"],
    },
)
_AS_OF = _parameter(
    "as_of",
    "An earlier answer's `meta.token`: the same rows again.",
    {"type": "string", "format": "k2-token", "minLength": 1},
)
_CURSOR = _parameter(
    "cursor",
    "The page before's `meta.next_cursor`: the next rows, of the same question and token.",
    {"type": "string", "format": "k2-cursor", "minLength": 1},
)
_MIN_OFFSETS = _parameter(
    "min_offsets",
    "`PARTITION:OFFSET,...` of the raw topic: wait until the answer holds these records, "
    "else 503 `not_yet`. Not in a pinned answer.",
    {
        "type": "string",
        "format": "k2-offsets",
        "examples": ["0:12,1:9"],
    },
)
_WAIT_MS = _parameter(
    "wait_ms",
    "How long to wait for `min_offsets`.",
    {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_MS},
)
_FORMAT = _parameter(
    "format",
    "Instead of `Accept`.",
    {"type": "string", "enum": list(FORMATS)},
)
_ORDER = _parameter(
    "order", "Of time.", {"type": "string", "enum": ["asc", "desc"], "default": "asc"}
)
_STATE = {
    **_parameter(
        "state",
        "May be repeated or separated by commas. None: all.",
        {"type": "array", "items": {"type": "string", "enum": list(GAP_STATES)}, "minItems": 1},
    ),
    "style": "form",
    "explode": True,
}


_VIEW = _parameter(
    "view",
    "As reported, corrections as rows of their own; or what stands after cancels and corrections.",
    {"type": "string", "enum": list(VIEWS), "default": "reported"},
)


def _limit(default: int, most: int) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return _parameter("limit", "Rows at most.", schema)


ROWS = [
    _SYMBOL,
    _EXCHANGE,
    _START,
    _LAST_END,
    _WINDOW,
    _limit(DEFAULT_LIMIT, MAX_LIMIT),
    _ORDER,
    _CURSOR,
    _AS_OF,
    _MIN_OFFSETS,
    _WAIT_MS,
    _ZONE,
    _FORMAT,
]
#: The same of a stream whose rows may be corrected.
CORRECTED_ROWS = [*ROWS, _VIEW]
GAPS = [
    _SYMBOL,
    _EXCHANGE,
    _STATE,
    _START,
    _END,
    _WINDOW,
    _ZONE,
    _limit(DEFAULT_LIMIT, MAX_GAPS),
    _FORMAT,
]
SYMBOLS = [_SYMBOL, _EXCHANGE, _AS_OF, _MIN_OFFSETS, _WAIT_MS, _FORMAT]
SNAPSHOTS = [_limit(100, MAX_GAPS), _FORMAT]
CORRELATION = {
    "name": correlation.HEADER,
    "in": "header",
    "description": "The caller's id of the request, given back. Another is made if this is not "
    f"1 to {correlation.MAX_LENGTH} printable ASCII characters.",
    "schema": {"type": "string"},
}
