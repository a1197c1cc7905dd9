"""A browser's session: what a page shows instead of an API key.

A browser cannot put a key into the header of an address that a person opens, and a key that a
script keeps is a key that a script can lose. So the page sends the key once, and the answer sets a
cookie:

    POST   /v1/session   X-API-Key: KEY   204, Set-Cookie: k2_session=EXPIRY.MAC
    DELETE /v1/session                    204, the cookie is gone

The cookie holds no key. It is a time and a code over it, made with the digest of the key; so every
worker with the same keys knows it, nothing is stored, and it ends with its key. Scripts cannot read
it, no request of another site carries it, and a request that another origin made is not answered by
it, be that another port of the same host.
"""

import hashlib
import hmac
from collections.abc import Sequence

from aiohttp import web

from k2_streams.clock import Clock

COOKIE = "k2_session"
PATH = "/v1/session"
#: A day at a desk; then the page asks for the key again.
LIFETIME_S = 12 * 3600
_OWN_SITES = frozenset({"same-origin", "none"})
_NS_PER_S = 1_000_000_000


def token_of(digest: bytes, expires_s: int) -> str:
    """What the cookie of a key's session holds.

    Args:
        digest: of the key; whoever has it can make sessions, so it never leaves the process.
        expires_s: seconds since 1970.
    """
    code = hashlib.blake2b(f"k2 session {expires_s}".encode(), key=digest, digest_size=32)
    return f"{expires_s}.{code.hexdigest()}"


def digest_of(request: web.Request, digests: Sequence[bytes], clock: Clock) -> bytes | None:
    """The digest of the key whose session a request belongs to, or None.

    Every key is compared, each in constant time.
    """
    offered = request.cookies.get(COOKIE, "")
    if not offered or request.headers.get("Sec-Fetch-Site", "none").lower() not in _OWN_SITES:
        return None
    expires, _, _ = offered.partition(".")
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
        return None
    sent = offered.encode("utf-8", "surrogateescape")
    matches = [
        digest
        for digest in digests
        if hmac.compare_digest(token_of(digest, int(expires)).encode(), sent)
    ]
    return matches[0] if matches and int(expires) * _NS_PER_S > clock.time_ns() else None


def opened(request: web.Request, digest: bytes, clock: Clock) -> web.Response:
    """The answer that sets the cookie."""
    expires_s = clock.time_ns() // _NS_PER_S + LIFETIME_S
    response = web.Response(status=204, headers={"Cache-Control": "no-store"})
    response.set_cookie(
        COOKIE,
        token_of(digest, expires_s),
        max_age=LIFETIME_S,
        path="/",
        httponly=True,
        samesite="Strict",
        secure=_is_encrypted(request),
    )
    return response


def closed() -> web.Response:
    """The answer that removes the cookie."""
    response = web.Response(status=204, headers={"Cache-Control": "no-store"})
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
    return response


def _is_encrypted(request: web.Request) -> bool:
    """Whether the browser speaks TLS, to this server or to a proxy before it."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
