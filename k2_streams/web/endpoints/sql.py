"""`GET` and `POST /v1/sql`: one SELECT over the relations, at one read point, with their proof."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec

from k2_streams.core.records.stream import Stream
from k2_streams.query.sql.answer import SqlMeta
from k2_streams.query.sql.query import MAX_ROWS, SqlQuery, SqlRequest, Value
from k2_streams.query.token import Token, TokenError
from k2_streams.web.declaration.endpoint import Call, Endpoint, Rows, TableAnswer
from k2_streams.web.declaration.parameters import RULE, Rule, integer
from k2_streams.web.declaration.shared_parameters import KnownAt, Zone
from k2_streams.web.endpoints.rows import ROWS_ERRORS
from k2_streams.web.http.errors import BODY_TOO_LONG, UNSUPPORTED_MEDIA_TYPE


def _decode_tokens(text: str) -> dict[str, Token]:
    found: dict[str, Token] = {}
    for part in text.split(","):
        name, _, token = part.rpartition(":")
        if name in found:
            raise ValueError(f"expected one token of {name or 'the log'}")
        try:
            found[name] = Token.decode(token)
        except TokenError as error:
            raise ValueError(f"expected NAME:TOKEN of an earlier answer ({error})") from error
    return found


class SqlParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Which statement, at which read point."""

    query: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            description="One SELECT over the relations, whose names are those of the paths. A POST "
            "sends it as its body (`application/sql`, at most 64 KiB). Its parameters `$NAME` "
            "are given as `p.NAME=value`: an integer, a decimal, or else a text.",
        ),
    ]
    as_of: (
        Annotated[
            dict[str, Token],
            msgspec.Meta(
                description="An earlier answer's `meta.token`, of this path (`NAME:TOKEN` of each "
                "log, separated by commas) or of a log's own: the same rows again.",
                extra_json_schema={"type": "string", "format": "k2-tokens", "minLength": 1},
                extra={RULE: Rule(_decode_tokens)},
            ),
        ]
        | None
    ) = None
    known_at: KnownAt = None
    tz: Zone = None
    full: Annotated[
        bool,
        msgspec.Meta(description="Read relations without a condition on their time, too."),
    ] = False
    limit: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=MAX_ROWS, description="Rows at most; `meta.truncated` says if there are more."
        ),
    ] = MAX_ROWS


async def _sql(call: Call[SqlParameters]) -> Rows:
    parameters, services = call.parameters, call.services
    request = SqlRequest(
        text=parameters.query,
        parameters={name: _value(text) for name, text in call.named.items()},
        as_of=parameters.as_of or {},
        known_at_ns=parameters.known_at,
        is_full=parameters.full,
        limit=parameters.limit,
    )
    answer = await SqlQuery(services.logs, services.sandbox, services.clock).answer(request)
    return Rows(answer.rows, answer.meta)


def _value(text: str) -> Value:
    """An integer, a decimal, or else a text."""
    whole = integer(text)
    if whole is not None:
        return whole
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    return value if value.is_finite() and "e" not in text.lower() else text


def endpoints(streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint, where there is a relation."""
    if not streams:
        return []
    return [
        Endpoint(
            path="/v1/sql",
            summary="Rows of one SELECT over the relations, with the proof of each that it names.",
            handler=_sql,
            parameters=SqlParameters,
            answer=TableAnswer("SqlRow", None, SqlMeta),
            errors=(*ROWS_ERRORS, BODY_TOO_LONG, UNSUPPORTED_MEDIA_TYPE),
            body="query",
            prefix="p.",
        )
    ]
