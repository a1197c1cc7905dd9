"""What a refused request is told: `{"error": {"code", "message", "field"?}, "correlation_id"}`.

The code is a stable word for programs, the message is for people, the field names the parameter at
fault. Grouped as HTTP groups them: 4xx is for the caller to mend, 503 to ask again later.
"""

from collections.abc import Mapping

import msgspec
from aiohttp import web

from k2_streams.web.http.correlation import correlation_id


class ApiError(Exception):
    """A request that gets no answer; becomes the error body where the middleware catches it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.headers = dict(headers or {})


def bad_parameter(field: str, message: str) -> ApiError:
    """422: the parameter `field` is not as the OpenAPI document has it."""
    return ApiError(422, "invalid_parameter", message, field=field)


def unavailable(code: str, message: str, retry_after_s: int = 1) -> ApiError:
    """503: the same request may be answered after `retry_after_s`."""
    return ApiError(503, code, message, headers={"Retry-After": str(retry_after_s)})


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
    detail = ErrorDetail(error.code, error.message, error.field)
    return web.Response(
        status=error.status,
        body=msgspec.json.encode(ErrorBody(detail, correlation_id(request))),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **error.headers},
    )
