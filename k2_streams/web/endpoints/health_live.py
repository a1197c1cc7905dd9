"""`GET /health/live`: for a probe that restarts a process that no longer answers."""

from typing import Any, Literal

import msgspec

from k2_streams.core.records.stream import Stream
from k2_streams.web.declaration.endpoint import Call, Endpoint, JsonAnswer, NoParameters


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["live"] = "live"


async def _live(_call: Call[NoParameters]) -> Live:
    return Live()


def endpoints(_streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint."""
    return [
        Endpoint(
            path="/health/live",
            summary="The process answers: its event loop turns.",
            handler=_live,
            parameters=NoParameters,
            answer=JsonAnswer(Live),
            is_public=True,
        )
    ]
