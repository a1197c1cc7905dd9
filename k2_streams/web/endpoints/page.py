"""`GET /`: the page, without a build and without anything from another host."""

from typing import Any

from k2_streams.core.records.stream import Stream
from k2_streams.web.declaration.endpoint import Body, Call, Endpoint, NoParameters, TextAnswer
from k2_streams.web.page.files import HTML, POLICY

HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}


async def _page(_call: Call[NoParameters]) -> Body:
    return Body(HTML, HEADERS)


def endpoints(_streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint."""
    return [
        Endpoint(
            path="/",
            summary="A page for operators and quants: how the pipeline stands, a symbol's bars "
            "and gaps, time travel, replay, SQL.",
            handler=_page,
            parameters=NoParameters,
            answer=TextAnswer("text/html"),
            is_public=True,
        )
    ]
