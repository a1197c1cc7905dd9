"""`docs/reference/http.md`, derived from the endpoints as the OpenAPI document is."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import STREAMS
from k2_streams.core.sketches.measures import SKETCHES_STREAM
from k2_streams.web.declaration.endpoint import (
    Endpoint,
    JsonAnswer,
    PageAnswer,
    StreamAnswer,
    TableAnswer,
    TextAnswer,
)
from k2_streams.web.declaration.parameters import Parameter
from k2_streams.web.endpoints import declared
from k2_streams.web.http.errors import KINDS
from k2_streams.web.openapi import COMMON_ERRORS, cell_schema

_HEAD = """# HTTP reference

What all answers share, access, the proof, time travel and load are described in
[Query over HTTP](../how-to/query-over-http.md). Programs read the same as this page from
`/v1/openapi.json`. A worker serves each log of its topology under `/v1/<name>`: the accepted rows
of its raw source, and each declared output. `/v1/gaps`, `/v1/lines` and `/v1/symbols` are about the
raw source; an app without one does not have these paths. Nor has one without a
[ledger](../how-to/keep-a-ledger.md) (`K2_LEDGER=0`) `/v1/coverage`, `/v1/dead-letters`,
`/v1/gap-events` and `/v1/levels`. `/v1/distinct`, `/v1/top` and `/v1/quantiles` are of the app
[`sketches`](../how-to/sketch-trades.md).
"""


def page() -> str:
    """The page, of the streams that the product has."""
    endpoints = declared((*STREAMS.values(), *TRADES_INPUT.ledger, SKETCHES_STREAM))
    own = [endpoint for endpoint in endpoints if not _is_about_rows(endpoint)]
    rows = [endpoint for endpoint in endpoints if _is_about_rows(endpoint)]
    parts = [_HEAD, "## Endpoints\n", _overview(endpoints)]
    parts += [_section(endpoint) for endpoint in (*rows, *own)]
    parts += ["## Errors\n", _errors()]
    return "\n".join(parts)


def _is_about_rows(endpoint: Endpoint[Any]) -> bool:
    return bool(endpoint.relations)


def _overview(endpoints: Iterable[Endpoint[Any]]) -> str:
    rows = [
        (f"`{endpoint.path}`", endpoint.summary, "no" if endpoint.is_public else "yes")
        for endpoint in endpoints
    ]
    return _table(("path", "answers", "needs a key, if keys are configured"), rows)


def _section(endpoint: Endpoint[Any]) -> str:
    parts = [f"## GET {endpoint.path}\n\n{endpoint.summary}\n"]
    parameters = endpoint.parameter_set.parameters
    if parameters:
        rows = [
            (f"`{one.name}`", _values(one), _default(one), one.description) for one in parameters
        ]
        parts += [_table(("parameter", "values", "default", "meaning"), rows)]
    else:
        parts += ["No parameter.\n"]
    parts += list(_answer(endpoint))
    if endpoint.errors:
        codes = ", ".join(f"`{kind.code}`" for kind in endpoint.errors)
        parts += [f"Errors beside those of every endpoint: {codes}.\n"]
    return "\n".join(parts)


def _answer(endpoint: Endpoint[Any]) -> Iterator[str]:
    match endpoint.answer:
        case TableAnswer(meta=meta) as answer:
            if answer.schema is not None:
                yield "Columns of a row:\n"
                columns = [
                    (f"`{one.name}`", _type_name(cell_schema(one.type, nullable=one.nullable)))
                    for one in answer.schema
                ]
                yield _table(("column", "type"), columns)
            yield _fields("meta", meta)
        case StreamAnswer(frames=frames):
            yield (
                "Frames of rows in the columns of the path without `/stream`, and between them "
                "([Stream rows](../how-to/stream.md)):\n"
            )
            for name, frame in frames.items():
                yield _fields(f"`{name}`", frame)
        case JsonAnswer(schema=schema):
            yield _fields("field", schema) if isinstance(schema, type) else "One JSON object.\n"
        case TextAnswer(media_type=media_type):
            yield f"`{media_type}`.\n"
        case PageAnswer():
            yield "What the page shows.\n"


def _fields(heading: str, struct: type[msgspec.Struct]) -> str:
    _, components = msgspec.json.schema_components([struct])
    properties = components[struct.__name__]["properties"]
    rows = [
        (f"`{name}`", _type_name(one), one.get("description", ""))
        for name, one in properties.items()
    ]
    return _table((f"`{heading}`" if heading == "meta" else heading, "type", "meaning"), rows)


def _errors() -> str:
    common = {kind.code for kind in COMMON_ERRORS}
    rows = [
        (str(kind.status), f"`{kind.code}`", kind.meaning, "yes" if kind.code in common else "")
        for kind in KINDS
    ]
    return _table(("status", "`code`", "meaning", "of every endpoint"), rows)


def _values(one: Parameter) -> str:
    schema = one.schema["items"] if one.is_many else one.schema
    if "enum" in schema:
        found = ", ".join(f"`{word}`" for word in schema["enum"])
    elif schema.get("type") == "integer":
        least, most = schema.get("minimum"), schema.get("maximum")
        found = "integer" if least is None else f"{least:,} to {most:,}"
    elif "maxLength" in schema:
        found = f"{schema.get('minLength', 0)} to {schema['maxLength']} characters"
    else:
        found = ", ".join(f"`{text}`" for text in schema.get("examples", ())) or "text"
        found = f"as {found}" if schema.get("examples") else found
    most = one.schema.get("maxItems")
    return f"{found}; at most {most} times" if most else found


def _default(one: Parameter) -> str:
    if one.is_required:
        return "required"
    value = one.schema.get("default")
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else f"`{value}`" if isinstance(value, str) else f"{value:,}"


def _type_name(schema: dict[str, Any]) -> str:
    """A JSON schema's type in a word or two."""
    if "anyOf" in schema:
        return " or ".join(_type_name(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join([_type_name({**schema, "type": kind[0]}), *kind[1:]])
    inner = schema.get("items", schema.get("additionalProperties"))
    names = {
        "array": f"list of {_type_name(inner)}" if isinstance(inner, dict) else "list",
        "object": f"map of {_type_name(inner)}" if isinstance(inner, dict) else "object",
        "string": "decimal text"
        if "pattern" in schema
        else schema.get("contentEncoding", schema.get("format", "text")),
    }
    return str(names.get(str(kind), kind))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(head), f"|{'---|' * len(head)}\n", *map(_line, rows)]
    return "".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"
