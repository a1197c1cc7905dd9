"""`GET /`: a page in one file, without a build and without anything from another site."""

import base64
import hashlib
import re
from importlib import resources
from typing import Any

from k2_streams.core.records.stream import Stream
from k2_streams.web.declaration.endpoint import Body, Call, Endpoint, NoParameters, TextAnswer

HTML = resources.files("k2_streams.web.page").joinpath("page.html").read_text(encoding="utf-8")


def _hash_of(tag: str) -> str:
    """What a Content-Security-Policy calls the one `<tag>` of the page."""
    (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", HTML, re.DOTALL)
    digest = hashlib.sha256(inside.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


#: A browser loads nothing but the page itself, and asks nobody but its server.
HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            f"style-src {_hash_of('style')}",
            f"script-src {_hash_of('script')}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "Cache-Control": "no-cache",
}


async def _page(_call: Call[NoParameters]) -> Body:
    return Body(HTML, HEADERS)


def endpoints(_streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint."""
    return [
        Endpoint(
            path="/",
            summary="A page that shows the newest rows, their proof, and the status.",
            handler=_page,
            parameters=NoParameters,
            answer=TextAnswer("text/html"),
            is_public=True,
        )
    ]
