"""`GET /v1/openapi.json`: the contract for programs."""

from typing import Any

from k2_streams.core.records.stream import Stream
from k2_streams.web.declaration.endpoint import Body, Call, Endpoint, JsonAnswer, NoParameters


async def _document(call: Call[NoParameters]) -> Body:
    return Body(call.site.document)


def endpoints(_streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint."""
    return [
        Endpoint(
            path="/v1/openapi.json",
            summary="The OpenAPI 3.1 document of these endpoints.",
            handler=_document,
            parameters=NoParameters,
            answer=JsonAnswer({"type": "object"}),
            is_public=True,
        )
    ]
