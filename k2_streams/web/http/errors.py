"""Errors of HTTP: `{"error": {"code", "message", "field"?}, "correlation_id"}`.

Every kind of error is listed here once, with its status, its code and its meaning; the middleware,
the OpenAPI document and the reference page take it from here. The code is a stable word for
programs, the message is for people, the field names the parameter at fault. Grouped as HTTP groups
them: 4xx is for the caller to fix, 503 to ask again later.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from aiohttp import web

from k2_streams.query.errors import (
    InvalidParameter,
    QueryError,
    RetryLaterError,
    UnknownSymbolError,
)
from k2_streams.web.http.correlation import correlation_id

#: Statuses whose errors carry `Retry-After`.
RETRIED = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """What can go wrong, as callers tell it by status and code."""

    status: int
    code: str
    meaning: str


UNAUTHORIZED = ErrorKind(401, "unauthorized", "No API key, or not one that is configured.")
LOOPBACK_ONLY = ErrorKind(
    403,
    "loopback_only",
    "No keys are configured, and the request came from another machine or under another host name.",
)
PROXIED = ErrorKind(403, "proxied", "No keys are configured, and the request came through a proxy.")
CROSS_SITE = ErrorKind(
    403, "cross_site", "No keys are configured, and the request came from another site's page."
)
NOT_ENTITLED = ErrorKind(
    403,
    "not_entitled",
    "The API key may not read this relation or exchange; `message` has those that it may read.",
)
UNKNOWN_SYMBOL = ErrorKind(
    404,
    "unknown_symbol",
    "No row of one of the symbols was ever accepted (with `as_of`: up to there); of an output, of "
    "one of the values of its last key column. A known symbol without rows in the range is 200 and "
    "empty.",
)
NOT_FOUND = ErrorKind(404, "not_found", "There is no such path; `message` has those that exist.")
METHOD_NOT_ALLOWED = ErrorKind(405, "method_not_allowed", "The path takes GET and HEAD alone.")
QUERY_TOO_LONG = ErrorKind(
    413, "query_too_long", "The query string is too long; `message` has the limit."
)
HEADERS_TOO_LONG = ErrorKind(
    413, "headers_too_long", "The headers are too long; `message` has the limit."
)
BODY_NOT_ALLOWED = ErrorKind(413, "body_not_allowed", "The request has a body.")
BODY_TOO_LONG = ErrorKind(413, "body_too_long", "The body is too long; `message` has the limit.")
UNSUPPORTED_MEDIA_TYPE = ErrorKind(
    415, "unsupported_media_type", "The body is of another type; `message` has the one expected."
)
QUERY_TOO_LARGE = ErrorKind(
    413,
    "query_too_large",
    "The query needs more memory than one query may use: narrow it, or lower `limit`.",
)
INVALID_PARAMETER = ErrorKind(
    422, "invalid_parameter", "A parameter is not as described; `field` names it."
)
BEFORE_HISTORY = ErrorKind(
    422, "before_history", "No row had been accepted by the time of `known_at`."
)
RATE_LIMITED = ErrorKind(429, "rate_limited", "The caller sends too many requests.")
INTERNAL = ErrorKind(500, "internal", "A fault of the server, logged under the correlation id.")
QUERY_FAILED = ErrorKind(
    500, "query_failed", "The query failed for no known reason, logged under the correlation id."
)
NOT_YET = ErrorKind(
    503,
    "not_yet",
    "The node has not read up to the offsets asked for, or not every partition past `known_at`: up "
    "to a newer record, or to an end found 20 s later.",
)
LAKE_BEHIND = ErrorKind(
    503, "lake_behind", "The snapshot that the node sees is older than the rows its tail evicted."
)
LAKE_UNAVAILABLE = ErrorKind(503, "lake_unavailable", "Catalog or files cannot be read.")
QUERY_TIMEOUT = ErrorKind(503, "query_timeout", "A statement exceeded its time limit.")
TIMEOUT = ErrorKind(503, "timeout", "The request exceeded its time limit.")
BUSY = ErrorKind(
    503,
    "busy",
    "The queries before this one take longer than it may wait, the answers being sent hold all the "
    "memory they may, or every connection is in use.",
)
NOT_READY = ErrorKind(503, "not_ready", "Queries should not be sent here now.")

#: Every kind, in the order of the reference page.
KINDS = tuple(value for value in tuple(globals().values()) if isinstance(value, ErrorKind))
_BY_CODE = {kind.code: kind for kind in KINDS}


class ApiError(Exception):
    """A request that gets no answer; becomes the error body where the middleware catches it."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.field = field
        self.headers = dict(headers or {})


def retry_later(kind: ErrorKind, message: str, retry_after_s: float = 1) -> ApiError:
    """429 or 503: the same request may be answered after `retry_after_s`, at least 1."""
    return ApiError(kind, message, headers={"Retry-After": str(max(1, round(retry_after_s)))})


def of_query(error: QueryError) -> ApiError:
    """The error of a query as an error of HTTP."""
    kind = _BY_CODE.get(error.code, QUERY_FAILED)
    if isinstance(error, InvalidParameter):
        return ApiError(kind, error.message, field=error.field)
    if isinstance(error, RetryLaterError):
        if kind is QUERY_FAILED:
            kind = ErrorKind(503, error.code, "")
        return retry_later(kind, str(error), error.retry_after_s or 1)
    if kind is QUERY_FAILED:
        return ApiError(kind, "the query failed; see the server log for this correlation id")
    field = error.column if isinstance(error, UnknownSymbolError) else None
    return ApiError(kind, str(error), field=field)


class ErrorDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """The inside of an error."""

    code: str
    message: str
    field: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: ErrorDetail
    correlation_id: str


def response_of(error: ApiError, request: web.Request) -> web.Response:
    """The error as a response. It is never stored by a cache."""
    detail = ErrorDetail(error.kind.code, error.message, error.field)
    return web.Response(
        status=error.kind.status,
        body=msgspec.json.encode(ErrorBody(detail, correlation_id(request))),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **error.headers},
    )
