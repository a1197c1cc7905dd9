"""`GET /v1/status`: how this node and the pipeline stand."""

from typing import Any

from k2_streams.core.records.stream import Stream
from k2_streams.web.declaration.endpoint import Call, Endpoint, JsonAnswer, NoParameters

_SCHEMA = {
    "type": "object",
    "description": "How this node and the pipeline stand.",
    "additionalProperties": True,
}


async def _status(call: Call[NoParameters]) -> dict[str, Any]:
    return call.services.status()


def endpoints(_streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint."""
    return [
        Endpoint(
            path="/v1/status",
            summary="How this node and the pipeline stand.",
            handler=_status,
            parameters=NoParameters,
            answer=JsonAnswer(_SCHEMA),
            granted_as="status",
        )
    ]
