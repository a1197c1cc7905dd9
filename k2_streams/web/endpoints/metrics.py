"""`GET /metrics`, in the text format of Prometheus."""

from typing import Any

from k2_streams.core.records.stream import Stream
from k2_streams.web.declaration.endpoint import Body, Call, Endpoint, NoParameters, TextAnswer


async def _metrics(call: Call[NoParameters]) -> Body:
    content, content_type = call.services.telemetry.scrape(call.accept)
    return Body(content, {"Content-Type": content_type})


def endpoints(_streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint."""
    return [
        Endpoint(
            path="/metrics",
            summary="Metrics in the text format of Prometheus.",
            handler=_metrics,
            parameters=NoParameters,
            answer=TextAnswer("text/plain"),
            granted_as="metrics",
        )
    ]
