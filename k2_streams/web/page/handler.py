"""The page at `/`: one file, no build, nothing from elsewhere; a browser is told to keep it so."""

import base64
import hashlib
import re
from pathlib import Path

from aiohttp import web

from k2_streams.web.views import take_no_parameters

_HTML = Path(__file__).with_name("page.html").read_text(encoding="utf-8")


def _hash_of(tag: str) -> str:
    """What a Content-Security-Policy calls the one `<tag>` of the page."""
    (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", _HTML, re.DOTALL)
    digest = hashlib.sha256(inside.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


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


async def view(request: web.Request) -> web.Response:
    """`GET /`."""
    take_no_parameters(request)
    return web.Response(text=_HTML, content_type="text/html", headers=HEADERS)
