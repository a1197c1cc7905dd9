"""What becomes of whatever a view raises: the error body."""

from collections.abc import Iterable

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from k2_streams.query.errors import QueryError
from k2_streams.web.http.errors import (
    INTERNAL,
    NOT_FOUND,
    QUERY_FAILED,
    ApiError,
    ErrorKind,
    of_query,
    response_of,
)

_log = structlog.get_logger(__name__)


def errors(paths: Iterable[str]) -> Middleware:
    """The middleware that turns whatever a view raises into the error body.

    Args:
        paths: that exist, named where another one is asked for.
    """
    not_found = f"there is no such path: expected one of {', '.join(sorted(paths))}"

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return response_of(error, request)
        except QueryError as error:
            refused = of_query(error)
            if refused.kind is QUERY_FAILED:
                _log.error("query failed", error=str(error), code=error.code)
            return response_of(refused, request)
        except web.HTTPNotFound:
            return response_of(ApiError(NOT_FOUND, not_found), request)
        except web.HTTPException as error:
            return response_of(_of_http(error), request)
        except Exception:  # noqa: BLE001 (a fault of ours must not reach the caller as text)
            _log.exception("view failed", path=request.path)
            message = "internal error; see the server log for this correlation id"
            return response_of(ApiError(INTERNAL, message), request)

    return middleware


def _of_http(error: web.HTTPException) -> ApiError:
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    code = error.reason.lower().replace(" ", "_")
    return ApiError(ErrorKind(error.status, code, ""), error.reason, headers=headers)
