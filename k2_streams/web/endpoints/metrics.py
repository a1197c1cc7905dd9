"""`GET /metrics`, in the text format of Prometheus."""

from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from k2_streams.core.records.stream import Stream
from k2_streams.web.declaration.endpoint import Body, Call, Endpoint, NoParameters, TextAnswer


async def _metrics(call: Call[NoParameters]) -> Body:
    text = generate_latest(call.services.metrics_registry)
    return Body(text, {"Content-Type": CONTENT_TYPE_LATEST})


def endpoints(_streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint."""
    return [
        Endpoint(
            path="/metrics",
            summary="Metrics in the text format of Prometheus.",
            handler=_metrics,
            parameters=NoParameters,
            answer=TextAnswer("text/plain"),
        )
    ]
