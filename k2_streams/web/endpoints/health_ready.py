"""`GET /health/ready`: for a load balancer that asks where to send queries."""

from typing import Any, Literal

import msgspec

from k2_streams.core.records.stream import Stream
from k2_streams.web.declaration.endpoint import Call, Endpoint, JsonAnswer, NoParameters
from k2_streams.web.http.errors import NOT_READY, retry_later


class Ready(msgspec.Struct, frozen=True):
    """Queries may be sent to this node."""

    status: Literal["ready"] = "ready"


async def _ready(call: Call[NoParameters]) -> Ready:
    readiness = call.services.ready()
    if not readiness.ok:
        raise retry_later(NOT_READY, readiness.reason, readiness.retry_after_s)
    return Ready()


def endpoints(_streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint."""
    return [
        Endpoint(
            path="/health/ready",
            summary="Queries may be sent to this node; else 503 with the reason.",
            handler=_ready,
            parameters=NoParameters,
            answer=JsonAnswer(Ready),
            errors=(NOT_READY,),
            is_public=True,
        )
    ]
