"""The OpenAPI document, made from what is served: the same structs, columns and limits.

Rules between two parameters cannot be said in a schema and stand in the descriptions.
"""

from typing import Any

import msgspec
import pyarrow as pa

from k2_streams.core.records.stream import Stream
from k2_streams.core.sequence.gaps import Gap
from k2_streams.query.answer import GapsMeta, Meta, SnapshotRow, SymbolsMeta, symbol_row
from k2_streams.web import parameters
from k2_streams.web.http import correlation
from k2_streams.web.http.errors import ErrorBody
from k2_streams.web.http.formats import META_HEADER, Format
from k2_streams.web.http.security import KEY_HEADER
from k2_streams.web.http.tables import schema_of
from k2_streams.web.views import Health, LinesAnswer, SnapshotsMeta

#: Of the contract, not of the program: it changes with what callers build on.
API_VERSION = "1.0.0"
_DESCRIPTION = """Market {name}, the last second's and the whole history's in one answer, with the
proof of what the answer stands for.

Decimals are strings. Fields that end in `_ns` are integers of nanoseconds since 1970 UTC, beyond
what a JavaScript number holds exactly. Numbers of a range are inclusive on both ends; a range of
time includes its start and excludes its end. HEAD is answered as GET, without the body."""

_WHY = {
    "304": "The caller's copy of a pinned answer still stands.",
    "401": "No API key, or not one of ours.",
    "403": "Without API keys this machine alone is answered, and not through a proxy.",
    "404": "Nothing of this symbol was ever accepted.",
    "405": "The path takes GET and HEAD alone.",
    "413": "The request is too long, or the answer would be too large.",
    "422": "A parameter is not as described; `field` names it.",
    "429": "Too many requests; `Retry-After` says when the next may come.",
    "503": "No answer now; `Retry-After` says when to ask again.",
}
_STATUS = {
    "type": "object",
    "description": "How this node and the pipeline stand.",
    "additionalProperties": True,
}


def document(stream: Stream, *, keyed: bool) -> dict[str, Any]:
    """The document of a stream's server that asks for an API key (`keyed`), or does not."""
    metas, components = msgspec.json.schema_components(
        [Meta, GapsMeta, SymbolsMeta, SnapshotsMeta, ErrorBody, Health, LinesAnswer],
        ref_template="#/components/schemas/{name}",
    )
    meta, gaps_meta, symbols_meta, snapshots_meta, error, health, lines = metas
    tables = {
        "Row": _row_schema(stream.table_schema),
        "GapRow": _row_schema(schema_of(Gap)),
        "SymbolRow": _row_schema(schema_of(symbol_row(stream))),
        "SnapshotRow": _row_schema(schema_of(SnapshotRow)),
    }
    builder = _Builder(error, keyed=keyed)
    paths = {
        f"/v1/{stream.name}": builder.table(
            f"{stream.name.capitalize()} of the lake and the tail as one.",
            parameters.CORRECTED_ROWS if stream.is_corrected else parameters.ROWS,
            "Row",
            meta,
            more=("304", "404", "413"),
        ),
        "/v1/gaps": builder.table(
            "What was passed over, and what became of it.", parameters.GAPS, "GapRow", gaps_meta
        ),
        "/v1/symbols": builder.table(
            "Symbols with the last of each and what the sequencer found.",
            parameters.SYMBOLS,
            "SymbolRow",
            symbols_meta,
            more=("404", "413"),
        ),
        "/v1/snapshots": builder.table(
            "Snapshots of the lake, the newest first.",
            parameters.SNAPSHOTS,
            "SnapshotRow",
            snapshots_meta,
        ),
        "/v1/lines": builder.plain(
            "How each redundant line of an exchange does: who is first, who loses, who lags; of "
            "the partitions that this worker works, since their beginning.",
            lines,
        ),
        "/v1/status": builder.plain("How this node and the pipeline stand.", _STATUS),
        "/v1/openapi.json": builder.plain("This document.", {"type": "object"}, public=True),
        "/health/live": builder.plain("The process answers.", health, public=True),
        "/health/ready": builder.plain(
            "Queries may be sent here.", health, more=("503",), public=True
        ),
        "/metrics": builder.text("Prometheus' text format.", "text/plain"),
        "/": builder.text("A page to look at it all.", "text/html", public=True),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "K2 Streams",
            "version": API_VERSION,
            "description": _DESCRIPTION.format(name=stream.name),
        },
        "paths": paths,
        "components": {
            "schemas": {**components, **tables},
            **({"securitySchemes": _SECURITY_SCHEMES} if keyed else {}),
        },
    }


_SECURITY_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
    "bearer": {"type": "http", "scheme": "bearer"},
}


class _Builder:
    """Operations, with the errors that each of them may give."""

    def __init__(self, error: dict[str, Any], *, keyed: bool) -> None:
        self._error = error
        self._keyed = keyed

    def table(
        self,
        summary: str,
        takes: list[dict[str, Any]],
        row: str,
        meta: dict[str, Any],
        *,
        more: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """An operation that gives rows in one of the three formats."""
        data = {"type": "array", "items": {"$ref": f"#/components/schemas/{row}"}}
        content = {
            Format.JSON.value: {"schema": _object({"data": data, "meta": meta})},
            Format.ARROW.value: {"schema": {"type": "string", "contentEncoding": "binary"}},
            Format.CSV.value: {"schema": {"type": "string"}},
        }
        headers = {
            META_HEADER: _header(
                "With CSV: the answer's `meta`, as JSON. Above 4,096 bytes fields are left out; "
                "`left_out` names them."
            ),
            "ETag": _header("Of a pinned answer."),
            "Cache-Control": _header("`no-store`, or of a pinned answer how long it may be kept."),
        }
        responses: dict[str, Any] = {"200": _response("The rows.", content, headers)}
        return self._operation(summary, responses, takes, more=("503", *more))

    def plain(
        self,
        summary: str,
        schema: dict[str, Any],
        *,
        more: tuple[str, ...] = (),
        public: bool = False,
    ) -> dict[str, Any]:
        """An operation that gives one JSON object."""
        responses = {"200": _response(summary, {Format.JSON.value: {"schema": schema}})}
        return self._operation(summary, responses, [], more=more, public=public)

    def text(self, summary: str, media_type: str, *, public: bool = False) -> dict[str, Any]:
        """An operation that gives text."""
        content = {media_type: {"schema": {"type": "string"}}}
        return self._operation(summary, {"200": _response(summary, content)}, [], public=public)

    def _operation(
        self,
        summary: str,
        responses: dict[str, Any],
        takes: list[dict[str, Any]],
        *,
        more: tuple[str, ...] = (),
        public: bool = False,
    ) -> dict[str, Any]:
        refused = () if public else ("401" if self._keyed else "403", "429")
        for status in ("405", "413", "422", *refused, *more):
            responses[status] = self._refusal(status)
        operation: dict[str, Any] = {
            "summary": summary,
            "parameters": [*takes, parameters.CORRELATION],
            "responses": dict(sorted(responses.items())),
        }
        if self._keyed and not public:
            operation["security"] = [{name: []} for name in _SECURITY_SCHEMES]
        return {"get": operation}

    def _refusal(self, status: str) -> dict[str, Any]:
        if status == "304":
            return _response(_WHY[status], {})
        headers = {}
        if status in {"429", "503"}:
            headers["Retry-After"] = _header(
                "Seconds.", {"type": "integer", "minimum": 1}, required=True
            )
        content = {Format.JSON.value: {"schema": self._error}}
        return _response(_WHY[status], content, headers)


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
        {field.name: _cell_schema(field.type, nullable=field.nullable) for field in columns}
    )


def _cell_schema(kind: pa.DataType, *, nullable: bool = False) -> dict[str, Any]:
    schema: dict[str, Any]
    if pa.types.is_integer(kind):
        schema = {"type": "integer"}
    elif pa.types.is_boolean(kind):
        schema = {"type": "boolean"}
    elif pa.types.is_decimal(kind):
        schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]*[1-9])?$"}
    elif pa.types.is_timestamp(kind):
        schema = {"type": "string", "format": "date-time"}
    elif pa.types.is_date(kind):
        schema = {"type": "string", "format": "date"}
    elif pa.types.is_list(kind):
        schema = {
            "type": "array",
            "items": _cell_schema(kind.value_type, nullable=kind.value_field.nullable),
        }
    elif pa.types.is_map(kind):
        schema = {
            "type": "object",
            "additionalProperties": _cell_schema(kind.item_type, nullable=kind.item_field.nullable),
        }
    else:
        schema = {"type": "string"}
    return {**schema, "type": [schema["type"], "null"]} if nullable else schema
