"""Parameters that several endpoints take: name them in a struct, and they mean the same there.

Times: start inclusive, end exclusive, in event time.
"""

from collections.abc import Iterable
from datetime import tzinfo
from typing import Annotated, Any, Literal

import msgspec

from k2_streams.core.records.symbols import MAX_SYMBOL_CHARS, SYMBOL_RULE, is_symbol
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.request import End
from k2_streams.query.time_texts import parse_window, parse_zone
from k2_streams.query.token import MAX_INT64, Cursor, TagName, Token, TokenError
from k2_streams.web.declaration.parameters import RULE, Rule, integer
from k2_streams.web.declaration.times import parse_end, parse_time

#: A page: 55 MB of Arrow, 150 MB of JSON. Each page of a long answer looks at the same files again,
#: so of fewer and larger ones it is done in less time.
MAX_LIMIT = 250_000
#: Rows of a list that is made in memory: gaps, snapshots.
MAX_LISTED = 10_000
#: More scopes than these are better asked for without `symbol`.
MAX_SYMBOLS = 50
MAX_EXCHANGES = 10
MAX_EXCHANGE_CHARS = 32
#: Longer waits hold connections; a client asks again.
MAX_WAIT_MS = 5_000

_TIME = (
    "Integer nanoseconds since 1970 UTC (0, or from 1990 on: a smaller integer is in another unit "
    "and refused), or RFC 3339 with `T` and an offset (or with `tz`). Write `%2B` for `+`: a blank "
    "is refused."
)
#: Of `as_of`: a tag's name follows. No token begins so.
_TAG = "tag:"
_TIME_TEXT = {"type": "string", "format": "k2-time"}


def decode_as_of(text: str) -> Token | TagName:
    """A token, or `tag:NAME`.

    Raises:
        ValueError: neither.
    """
    tag = text.removeprefix(_TAG)
    if tag != text:
        return TagName(tag)
    try:
        return Token.decode(text)
    except TokenError as error:
        raise ValueError(f"expected a token of an earlier answer, or tag:NAME ({error})") from error


def _decode_cursor(text: str) -> Cursor:
    try:
        cursor = Cursor.decode(text)
    except TokenError as error:
        raise ValueError(f"expected a cursor of an earlier answer ({error})") from error
    if not 1 <= cursor.limit <= MAX_LIMIT:
        raise ValueError(f"expected a cursor with a limit from 1 to {MAX_LIMIT}")
    return cursor


def _decode_offsets(text: str) -> dict[int, int]:
    offsets: dict[int, int] = {}
    for part in text.split(","):
        left, _, right = part.partition(":")
        partition, offset = integer(left), integer(right)
        if not _is_within(partition, 2**31 - 1) or not _is_within(offset, MAX_INT64):
            raise ValueError("expected PARTITION:OFFSET, separated by commas")
        assert partition is not None  # noqa: S101 - checked above
        assert offset is not None  # noqa: S101 - checked above
        offsets[partition] = max(offset, offsets.get(partition, 0))
    return offsets


def _is_within(value: int | None, most: int) -> bool:
    return value is not None and 0 <= value <= most


def _decoded(description: str, rule: Rule, schema: dict[str, Any], *examples: str) -> msgspec.Meta:
    return msgspec.Meta(
        description=description,
        examples=list(examples) or None,
        extra_json_schema=schema,
        extra={RULE: rule},
    )


Symbol = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MAX_SYMBOL_CHARS,
        extra_json_schema={"format": "k2-symbol"},
        extra={RULE: Rule(is_valid=is_symbol, expected=SYMBOL_RULE)},
    ),
]
Symbols = Annotated[
    tuple[Symbol, ...],
    msgspec.Meta(
        min_length=1,
        max_length=MAX_SYMBOLS,
        description=f"{SYMBOL_RULE}, as UTF-8. May be repeated. None: all.",
    ),
]
Exchanges = Annotated[
    tuple[
        Annotated[
            str,
            msgspec.Meta(
                min_length=1,
                max_length=MAX_EXCHANGE_CHARS,
                pattern="^[!-9;-~]+$",
                extra={
                    RULE: Rule(
                        expected=f"1 to {MAX_EXCHANGE_CHARS} printable ASCII characters without a "
                        "blank or a colon",
                    )
                },
            ),
        ],
        ...,
    ],
    msgspec.Meta(min_length=1, max_length=MAX_EXCHANGES, description="May be repeated. None: all."),
]
Start = (
    Annotated[int, _decoded(f"Inclusive. {_TIME}", Rule(parse_time, beside="tz"), _TIME_TEXT)]
    | None
)
EndTime = (
    Annotated[int, _decoded(f"Exclusive. {_TIME}", Rule(parse_time, beside="tz"), _TIME_TEXT)]
    | None
)
EndOrLast = Annotated[
    End,
    _decoded(
        f"Exclusive. {_TIME} `last`: just after the newest row of the selection.",
        Rule(parse_end, beside="tz"),
        {"anyOf": [{"type": "string", "const": "last"}, _TIME_TEXT]},
    ),
]
Window = (
    Annotated[
        int,
        _decoded(
            "A length (`500ms`, `30s`, `15m`, `4h`, `7d`; at most ten years) that ends at `end`, "
            "else at the server's clock. Cannot be combined with `start`.",
            Rule(parse_window),
            {"type": "string", "format": "k2-window"},
            "15m",
        ),
    ]
    | None
)
Zone = (
    Annotated[
        tzinfo,
        _decoded(
            "The IANA zone of times without an offset. A local time that does not exist or exists "
            "twice is refused.",
            Rule(parse_zone),
            {"type": "string", "format": "k2-zone"},
            "Australia/Sydney",
        ),
    ]
    | None
)
AsOf = (
    Annotated[
        Token | TagName,
        _decoded(
            "An earlier answer's `meta.token`: the same rows again. Or `tag:NAME`: what the table "
            "held when `k2 tag create NAME` named its snapshot.",
            Rule(decode_as_of),
            {"type": "string", "format": "k2-token", "minLength": 1},
        ),
    ]
    | None
)
KnownAt = (
    Annotated[
        int,
        _decoded(
            "Rows, corrections and gaps as they were known at this accepted time, the time of the "
            f"checkpoint. {_TIME} Cannot be combined with `as_of` or `cursor`.",
            Rule(parse_time, beside="tz"),
            _TIME_TEXT,
        ),
    ]
    | None
)
NextCursor = (
    Annotated[
        Cursor,
        _decoded(
            "The last page's `meta.next_cursor`: the next rows, of the same query and token. It "
            "holds the whole query; beside it `limit`, `format` and `wait_ms` may change.",
            Rule(_decode_cursor),
            {"type": "string", "format": "k2-cursor", "minLength": 1},
        ),
    ]
    | None
)
MinOffsets = (
    Annotated[
        dict[int, int],
        _decoded(
            "`PARTITION:OFFSET,...` of the source topic (of an output: the log that its agent "
            "reads): the answer must hold what became of the records at these offsets and of all "
            "before. Cannot be combined with `as_of`, `cursor` or `known_at`. A partition that "
            "does not exist is refused.",
            Rule(_decode_offsets),
            {"type": "string", "format": "k2-offsets"},
            "0:12,1:9",
        ),
    ]
    | None
)
WaitMs = (
    Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=MAX_WAIT_MS,
            description=f"How long to wait for `min_offsets` (default {MAX_WAIT_MS} with it) or "
            "for a token or a `known_at` ahead of this node (default 0); then 503 `not_yet`.",
        ),
    ]
    | None
)
FormatName = (
    Annotated[
        Literal["json", "arrow", "csv", "parquet", "markdown"],
        msgspec.Meta(description="The format of the answer, instead of the header `Accept`."),
    ]
    | None
)


class FormatParameter(msgspec.Struct, frozen=True):
    """What every endpoint takes whose answer is a table."""

    format: FormatName = None


FrameFormatName = (
    Annotated[
        Literal["sse", "arrow"],
        msgspec.Meta(
            description="Server-sent events, or an Arrow stream whose batches have their frame in "
            "`k2.frame`; instead of the header `Accept`."
        ),
    ]
    | None
)


class FrameFormatParameter(msgspec.Struct, frozen=True):
    """What every endpoint takes whose answer is a stream of frames."""

    format: FrameFormatName = None


def refuse_beside_cursor(given: Iterable[str]) -> None:
    """Refuse parameters that may not be given beside a cursor, which holds the whole query.

    Raises:
        InvalidParameter: there is one.
    """
    for name in sorted(given):
        raise InvalidParameter(name, "cannot be combined with cursor, which holds the query")


def wait_ms_of(wait_ms: int | None, min_offsets: dict[int, int] | None) -> int:
    """`wait_ms`, or its default beside `min_offsets`."""
    if wait_ms is not None:
        return wait_ms
    return MAX_WAIT_MS if min_offsets else 0
