"""The OpenAPI document, derived from the endpoints: their parameters, answers and errors.

A schema cannot express a rule between two parameters; those stand in the descriptions.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pyarrow as pa

from k2_streams.web.declaration.endpoint import (
    Endpoint,
    JsonAnswer,
    PageAnswer,
    StreamAnswer,
    TableAnswer,
    TextAnswer,
)
from k2_streams.web.declaration.parameters import Parameter
from k2_streams.web.http import correlation, session
from k2_streams.web.http.dispatch import SQL
from k2_streams.web.http.errors import (
    BODY_NOT_ALLOWED,
    BUSY,
    CROSS_SITE,
    HEADERS_TOO_LONG,
    INTERNAL,
    INVALID_PARAMETER,
    LOOPBACK_ONLY,
    METHOD_NOT_ALLOWED,
    NOT_ENTITLED,
    PROXIED,
    QUERY_FAILED,
    QUERY_TOO_LONG,
    RATE_LIMITED,
    RETRIED,
    TIMEOUT,
    UNAUTHORIZED,
    ErrorBody,
    ErrorKind,
)
from k2_streams.web.http.formats import META_HEADER, Format
from k2_streams.web.http.frames import FrameFormat
from k2_streams.web.http.security import KEY_HEADER

#: Of the contract, not of the program: it changes with what callers build on.
API_VERSION = "1.0.0"
_DESCRIPTION = """Market data, the last second's and the whole history's in one answer, with the
proof of how complete the answer is.

Decimals are strings. Fields that end in `_ns` are integers of nanoseconds since 1970 UTC, beyond
what a JavaScript number holds exactly. Ranges of sequence numbers include both ends; a range of
time includes its start and excludes its end. HEAD is answered as GET, without the body."""
_SECURITY_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
    "bearer": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": session.COOKIE},
}
#: A row whose columns each request says.
_ANY_ROW = {"type": "object", "additionalProperties": True}
_FRAMES = (
    "Frames, until they end or their reader has gone. Server-sent events: `id` is the token, "
    "`event` the name of the frame, `data` an object as `x-events` describes it. Arrow: each batch "
    "has its frame, but for the rows, in its metadata `k2.frame`."
)
#: As OpenAPI describes parameters whose names are not known.
_ANY = {
    "name": "parameters",
    "in": "query",
    "description": "Whatever the page reads.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "style": "form",
    "explode": True,
}
_CORRELATION = {
    "name": correlation.HEADER,
    "in": "header",
    "description": "The caller's id of the request, which the answer repeats. Another is made if "
    f"this is not 1 to {correlation.MAX_LENGTH} printable ASCII characters.",
    "schema": {"type": "string"},
}
#: Errors of every endpoint, and of those that are not public.
COMMON_ERRORS = (
    METHOD_NOT_ALLOWED,
    QUERY_TOO_LONG,
    HEADERS_TOO_LONG,
    BODY_NOT_ALLOWED,
    INVALID_PARAMETER,
    INTERNAL,
    TIMEOUT,
    BUSY,
)
KEYED_ERRORS = (UNAUTHORIZED, NOT_ENTITLED, RATE_LIMITED)
KEYLESS_ERRORS = (LOOPBACK_ONLY, PROXIED, CROSS_SITE, RATE_LIMITED)


def document(endpoints: Iterable[Endpoint[Any]], *, keyed: bool) -> dict[str, Any]:
    """The document of a server that asks for an API key (`keyed`), or does not."""
    endpoints = tuple(endpoints)
    structs = list(dict.fromkeys([ErrorBody, *_structs(endpoints)]))
    refs, components = msgspec.json.schema_components(
        structs, ref_template="#/components/schemas/{name}"
    )
    builder = _Builder(dict(zip(structs, refs, strict=True)), keyed=keyed)
    rows = {
        endpoint.answer.row: _ANY_ROW
        if endpoint.answer.schema is None
        else _row_schema(endpoint.answer.schema)
        for endpoint in endpoints
        if isinstance(endpoint.answer, TableAnswer)
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "K2 Streams", "version": API_VERSION, "description": _DESCRIPTION},
        "paths": {endpoint.path: builder.path(endpoint) for endpoint in endpoints},
        "components": {
            "schemas": {**components, **rows},
            **({"securitySchemes": _SECURITY_SCHEMES} if keyed else {}),
        },
    }


def errors_of(endpoint: Endpoint[Any], *, keyed: bool) -> list[ErrorKind]:
    """Every error that an endpoint may give, by status."""
    access = () if endpoint.is_public else KEYED_ERRORS if keyed else KEYLESS_ERRORS
    queries = (QUERY_FAILED,) if endpoint.relations else ()
    kinds = dict.fromkeys([*access, *endpoint.errors, *COMMON_ERRORS, *queries])
    return sorted(kinds, key=lambda kind: kind.status)


def _structs(endpoints: Iterable[Endpoint[Any]]) -> Iterable[type[msgspec.Struct]]:
    for endpoint in endpoints:
        answer = endpoint.answer
        if isinstance(answer, TableAnswer):
            yield answer.meta
        elif isinstance(answer, StreamAnswer):
            yield from answer.frames.values()
        elif isinstance(answer, JsonAnswer) and isinstance(answer.schema, type):
            yield answer.schema


class _Builder:
    """Paths, with the schemas of structs by reference."""

    def __init__(self, refs: dict[Any, dict[str, Any]], *, keyed: bool) -> None:
        self._refs = refs
        self._keyed = keyed

    def path(self, endpoint: Endpoint[Any]) -> dict[str, Any]:
        """The path item of an endpoint."""
        responses = {"200": self._answer(endpoint), **self._refusals(endpoint)}
        parameters = [_parameter(one) for one in endpoint.parameter_set.parameters]
        if endpoint.takes_any:
            parameters.append(_ANY)
        operation: dict[str, Any] = {
            "summary": endpoint.summary,
            "parameters": [*parameters, _CORRELATION],
            "responses": dict(sorted(responses.items())),
        }
        if endpoint.relation is not None:
            operation["x-k2-relation"] = endpoint.relation
        if self._keyed and not endpoint.is_public:
            operation["security"] = [{name: []} for name in _SECURITY_SCHEMES]
        if endpoint.body is None:
            return {"get": operation}
        others = [one for one in operation["parameters"] if one["name"] != endpoint.body]
        body = {"required": True, "content": {SQL: {"schema": {"type": "string", "minLength": 1}}}}
        return {
            "get": operation,
            "post": {**operation, "parameters": others, "requestBody": body},
        }

    def _answer(self, endpoint: Endpoint[Any]) -> dict[str, Any]:
        match endpoint.answer:
            case TableAnswer(row=row, meta=meta):
                data = {"type": "array", "items": {"$ref": f"#/components/schemas/{row}"}}
                body = _object({"data": data, "meta": self._refs[meta]})
                content = {
                    Format.JSON.value: {"schema": body},
                    Format.ARROW.value: {"schema": {"type": "string", "contentEncoding": "binary"}},
                    Format.CSV.value: {"schema": {"type": "string"}},
                    Format.PARQUET.value: {
                        "schema": {"type": "string", "contentEncoding": "binary"}
                    },
                    Format.MARKDOWN.value: {"schema": {"type": "string"}},
                }
                return _response("The rows.", content, _table_headers())
            case StreamAnswer(row=row, frames=frames):
                return _response(_FRAMES, self._frames(row, frames))
            case JsonAnswer(schema=schema):
                described = self._refs[schema] if isinstance(schema, type) else dict(schema)
                return _response(endpoint.summary, {Format.JSON.value: {"schema": described}})
            case PageAnswer():
                return _response(endpoint.summary, {"*/*": {"schema": {}}})
            case TextAnswer(media_type=media_type):
                return _response(endpoint.summary, {media_type: {"schema": {"type": "string"}}})

    def _frames(self, row: str, frames: Mapping[str, type[msgspec.Struct]]) -> dict[str, Any]:
        """A stream's content; what JSON schema has no word for stands beside it."""
        data = {"type": "array", "items": {"$ref": f"#/components/schemas/{row}"}}
        events = {"rows": _object({"token": {"type": "string"}, "data": data})}
        events |= {name: self._refs[frame] for name, frame in frames.items()}
        return {
            # OpenAPI 3.1 has no schema of events: one of the body would be taken for theirs.
            FrameFormat.SSE.value: {"x-events": events},
            FrameFormat.ARROW.value: {"schema": {"type": "string", "contentEncoding": "binary"}},
        }

    def _refusals(self, endpoint: Endpoint[Any]) -> dict[str, Any]:
        by_status: dict[int, list[ErrorKind]] = {}
        for kind in errors_of(endpoint, keyed=self._keyed):
            by_status.setdefault(kind.status, []).append(kind)
        responses = {}
        for status, kinds in by_status.items():
            meaning = " ".join(f"`{kind.code}`: {kind.meaning}" for kind in kinds)
            headers = {}
            if status in RETRIED:
                seconds = {"type": "integer", "minimum": 1}
                headers["Retry-After"] = _header("Seconds.", seconds, required=True)
            content = {Format.JSON.value: {"schema": self._refs[ErrorBody]}}
            responses[str(status)] = _response(meaning, content, headers)
        if isinstance(endpoint.answer, TableAnswer) and endpoint.relations:
            responses["304"] = _response("The caller's copy of a pinned answer is current.", {})
        return responses


def _parameter(one: Parameter) -> dict[str, Any]:
    described = {
        "name": one.name,
        "in": "query",
        "description": one.description,
        "schema": one.schema,
        **({"required": True} if one.is_required else {}),
    }
    return {**described, "style": "form", "explode": True} if one.is_many else described


def _table_headers() -> dict[str, Any]:
    return {
        META_HEADER: _header(
            "With CSV and Markdown: the answer's `meta`, as JSON. Above 4,096 bytes fields are "
            "left out; `left_out` names them."
        ),
        "ETag": _header("Of a pinned answer."),
        "Cache-Control": _header("`no-store`, or of a pinned answer how long it may be kept."),
    }


def _response(
    description: str, content: dict[str, Any], headers: dict[str, Any] | None = None
) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": correlation.MAX_LENGTH}
    named = {
        correlation.HEADER: _header("Names the request.", schema, required=True),
        **(headers or {}),
    }
    described: dict[str, Any] = {"description": description, "headers": named}
    return {**described, "content": content} if content else described


def _header(
    description: str, schema: dict[str, Any] | None = None, *, required: bool = False
) -> dict[str, Any]:
    return {
        "description": description,
        "required": required,
        "schema": schema or {"type": "string"},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _row_schema(columns: pa.Schema) -> dict[str, Any]:
    """The JSON schema of a row as `texts.json_texts` writes it."""
    return _object(
        {field.name: cell_schema(field.type, nullable=field.nullable) for field in columns}
    )


def cell_schema(kind: pa.DataType, *, nullable: bool = False) -> dict[str, Any]:
    """The JSON schema of a column's value."""
    schema: dict[str, Any]
    if pa.types.is_integer(kind):
        schema = {"type": "integer"}
    elif pa.types.is_floating(kind):
        schema, nullable = {"type": "number"}, True  # JSON has no NaN
    elif pa.types.is_boolean(kind):
        schema = {"type": "boolean"}
    elif pa.types.is_decimal(kind):
        schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]*[1-9])?$"}
    elif pa.types.is_timestamp(kind):
        schema = {"type": "string", "format": "date-time"}
    elif pa.types.is_date(kind):
        schema = {"type": "string", "format": "date"}
    elif pa.types.is_struct(kind):
        schema = _object(
            {child.name: cell_schema(child.type, nullable=child.nullable) for child in kind}
        )
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        schema = {
            "type": "array",
            "items": cell_schema(kind.value_type, nullable=kind.value_field.nullable),
        }
    elif pa.types.is_map(kind):
        schema = {
            "type": "object",
            "additionalProperties": cell_schema(kind.item_type, nullable=kind.item_field.nullable),
        }
    else:
        is_bytes = pa.types.is_binary(kind)
        schema = {"type": "string"} | ({"contentEncoding": "base64"} if is_bytes else {})
    return {**schema, "type": [schema["type"], "null"]} if nullable else schema
