"""Sends the page's files."""

from aiohttp import web

from k2_streams.web.page.files import FILES, FOREVER, INDEX, POLICY, media_type, packed


async def send(request: web.Request) -> web.Response:
    """Answer with the file that is asked for.

    Raises:
        HTTPNotFound: there is none of that name.
    """
    name = request.match_info["name"]
    kind = media_type(name)
    if kind is None or name == INDEX or name not in FILES:
        raise web.HTTPNotFound
    headers = {
        "Cache-Control": FOREVER,
        "Content-Security-Policy": POLICY,
        "Content-Type": f"{kind}; charset=utf-8",
        "Vary": "Accept-Encoding",
    }
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=FILES[name], headers=headers)
    return web.Response(body=packed(name), headers={**headers, "Content-Encoding": "gzip"})
