"""Who may ask: API keys, or without any key this machine alone.

Without keys a request must come from a loopback address *and* name a loopback host: otherwise a
page in the user's own browser could reach the port under a name that it had pointed at 127.0.0.1.
Nor may it come through a proxy, which would make callers from anywhere look like this machine, nor
from another site's page.
"""

import ipaddress

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from k2_streams.clock import Clock
from k2_streams.web.http import session
from k2_streams.web.http.api_keys import ApiKey, KeyRing
from k2_streams.web.http.errors import (
    BODY_NOT_ALLOWED,
    CROSS_SITE,
    HEADERS_TOO_LONG,
    LOOPBACK_ONLY,
    PROXIED,
    QUERY_TOO_LONG,
    RATE_LIMITED,
    UNAUTHORIZED,
    ApiError,
    retry_later,
)
from k2_streams.web.http.rate_limit import RateLimiter

KEY_HEADER = "X-API-Key"
#: Who asks, for limits of each caller: a key's name, or an address.
CALLER: web.RequestKey[str] = web.RequestKey("caller", str)
#: The key that a request was let in by, where keys are set.
API_KEY: web.RequestKey[ApiKey] = web.RequestKey("api_key", ApiKey)
#: What proxies add to a request; any of them says that the caller may be somebody else's machine.
FORWARDING_HEADERS = frozenset(
    {
        *("Forwarded", "Via", "Client-IP", "X-Client-IP", "X-Real-IP", "X-Cluster-Client-IP"),
        *("X-ProxyUser-IP", "X-Envoy-External-Address", "True-Client-IP", "Fastly-Client-IP"),
        *("CF-Connecting-IP", "CF-Connecting-IPv6", "CF-Ray", "Fly-Client-IP", "Cdn-Loop"),
        *("X-Original-Host", "X-Original-URL", "X-Original-Forwarded-For", "X-Forwarded"),
    }
)
FORWARDING_PREFIX = "x-forwarded-"
_FORWARDING = frozenset(name.lower() for name in FORWARDING_HEADERS)
#: What a page may do with answers: nothing but show its own.
RESPONSE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
#: A request's line, and each of its headers; above it the server refuses the request unread.
MAX_LINE_BYTES = 16_384
#: Just below that, so that the refusal is ours and JSON. A token of 1,000 partitions has up to
#: 12,100 characters.
MAX_QUERY_LENGTH = 16_128
#: Together; aiohttp refuses more than 128 of them.
MAX_HEADER_BYTES = 16_384


def limits(bodies: frozenset[str] = frozenset()) -> Middleware:
    """The middleware that bounds a request's size.

    Args:
        bodies: the paths that take a body with POST; whoever reads it bounds it.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if len(request.rel_url.raw_query_string) > MAX_QUERY_LENGTH:
            raise ApiError(
                QUERY_TOO_LONG, f"expected a query string of at most {MAX_QUERY_LENGTH} characters"
            )
        if sum(len(name) + len(value) for name, value in request.raw_headers) > MAX_HEADER_BYTES:
            raise ApiError(
                HEADERS_TOO_LONG, f"expected headers of at most {MAX_HEADER_BYTES} bytes"
            )
        takes_body = request.method == "POST" and request.path in bodies
        if request.can_read_body and not takes_body:
            raise ApiError(BODY_NOT_ALLOWED, "expected a request without a body")
        return await handler(request)

    return middleware


def access(
    keys: KeyRing, limiter: RateLimiter, clock: Clock, public_paths: frozenset[str]
) -> Middleware:
    """The middleware that asks for a key where keys are set, and limits each caller's rate.

    A browser's session stands for the key that it was opened with. Public paths say nothing about
    the data: they need no key and have no rate limit. They are given as routes were added: those of
    the page's files are a pattern.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in public_paths or _route(request) in public_paths:
            return await handler(request)
        offered = offered_key(request)
        key = (
            keys.find(offered)
            if offered
            else keys.of_digest(session.digest_of(request, keys.digests, clock))
        )
        refusal = None if key else _refusal(request, has_keys=len(keys) > 0)
        request[CALLER] = f"key:{key.name}" if key else f"remote:{request.remote}"
        rate_per_s = None
        if key is not None:
            request[API_KEY], rate_per_s = key, key.rate_per_s
        wait_s = limiter.take(request[CALLER], clock.monotonic(), rate_per_s)
        if wait_s:
            raise retry_later(RATE_LIMITED, f"too many requests; retry after {wait_s} s", wait_s)
        if refusal is not None:
            raise refusal
        return await handler(request)

    return middleware


def _route(request: web.Request) -> str | None:
    """The route that answers the request, as it was added; None: none does."""
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical


def offered_key(request: web.Request) -> str:
    """The text of the key that the request itself carries; empty: none, at most a session."""
    key = request.headers.get(KEY_HEADER)
    if key is not None:
        return key
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def unauthorized() -> ApiError:
    """Of a request without a key that is valid."""
    return ApiError(
        UNAUTHORIZED,
        f"expected an API key, as {KEY_HEADER} or Authorization: Bearer; in a browser sign in at /",
        headers={"WWW-Authenticate": 'Bearer realm="k2"'},
    )


def _refusal(request: web.Request, *, has_keys: bool) -> ApiError | None:
    if has_keys:
        return unauthorized()
    if not _is_loopback(request.remote) or not _is_loopback(_host_name(request)):
        return ApiError(
            LOOPBACK_ONLY,
            "without API keys only requests from this machine are answered: set K2_API_KEYS",
        )
    through = _forwarded_by(request)
    if through is not None:
        return ApiError(
            PROXIED,
            f"the request came through a proxy ({through}), so its caller may be anywhere: "
            "set K2_API_KEYS",
        )
    if request.headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
        return ApiError(
            CROSS_SITE,
            "the request came from another site's page (Sec-Fetch-Site): set K2_API_KEYS",
        )
    return None


def _forwarded_by(request: web.Request) -> str | None:
    """The first header that says that a proxy sent the request on; None: there is none."""
    for name in request.headers:
        if name.lower() in _FORWARDING or name.lower().startswith(FORWARDING_PREFIX):
            return name
    return None


def _host_name(request: web.Request) -> str | None:
    host = request.headers.get("Host")
    if not host:
        return None
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_loopback(address: str | None) -> bool:
    """True too where there is no address: a Unix socket, or HTTP/1.0 without a host."""
    if not address or address == "localhost":
        return True
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback
