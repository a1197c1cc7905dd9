"""A user's own pages: functions of a request that read relations, served below `/pages`.

A page is an endpoint like any other: keys, rates, limits, correlation id and error bodies are the
server's. What it may show is bounded by a Content-Security-Policy, so that text of a record that
reaches a page unescaped cannot run as a script.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from k2_streams.query.answer import Answer
from k2_streams.query.errors import InvalidParameter
from k2_streams.web.declaration.endpoint import (
    AnyParameters,
    Body,
    Call,
    Endpoint,
    EndpointError,
    PageAnswer,
    UndeclaredRelationError,
)
from k2_streams.web.endpoints.rows import ROWS_ERRORS, rows_request
from k2_streams.web.http.formats import Format, encode_json

#: Where every page is.
PREFIX = "/pages"
HTML = "text/html"
#: Scripts come from a page of their own, never from within HTML; nothing comes from another site.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
#: A value of a parameter of `PageRequest.rows`; None is as if it was not given.
Value = str | int | Sequence[str | int] | None


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows where it is neither JSON nor HTML.

    Attributes:
        content: text is sent as UTF-8.
        content_type: its media type, as `text/csv`, `image/png` or `text/javascript`.
    """

    content: str | bytes
    content_type: str = HTML


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request to a page.

    Attributes:
        path: of the page, as `/pages/alerts-today`.
        parameters: of the query string: per name its values, in the order in which they were given.
    """

    path: str
    parameters: Mapping[str, tuple[str, ...]]
    _call: Call[AnyParameters] = field(repr=False)

    def parameter(self, name: str, default: str | None = None) -> str | None:
        """The value of a parameter that may be given once.

        Raises:
            InvalidParameter: it is given more than once; the caller gets 422.
        """
        values = self.parameters.get(name, ())
        if len(values) > 1:
            raise InvalidParameter(name, f"expected once, found {len(values)} times")
        return values[0] if values else default

    async def rows(self, relation: str, /, **parameters: Value) -> Answer:
        """Rows of a log that the worker serves, with their proof.

        Takes the parameters of `/v1/<relation>`, with the same meaning:
        `await request.rows("alerts", exchange="X", symbol="A", window="15m", limit=10)`.

        Returns:
            `rows`, an Arrow table, and `meta`, the proof with the token.

        Raises:
            QueryError: a parameter is not as described, or the query got no answer; unless the page
                catches it the caller gets the error that `/v1/<relation>` gives.
            UndeclaredRelationError: the worker serves no such log.
        """
        site = self._call.site
        rows_path = f"/v1/{relation}"
        endpoint = next((one for one in site.endpoints if one.path == rows_path), None)
        if endpoint is None or endpoint.relations != (relation,):
            raise UndeclaredRelationError(
                f"page {self.path} reads relation {relation!r}, which this worker does not serve: "
                f"expected one of {', '.join(sorted(site.services.by_name))}"
            )
        given = {name: _texts(value) for name, value in parameters.items() if value is not None}
        asked = endpoint.call(given, site)
        return await self._call.rows(relation, rows_request(asked.parameters, asked.given))


PageFunction = Callable[[PageRequest], Awaitable[Any]]


def page_endpoints(
    pages: Iterable[tuple[str, PageFunction]], relations: Iterable[str]
) -> tuple[Endpoint[Any], ...]:
    """The endpoints of pages.

    A page returns a dict, a list or a struct (JSON), a str (HTML), or a `Page`.

    Args:
        pages: per page its path below `/pages`, as `/alerts-today`, and its function.
        relations: that the worker serves, all of which a page may read.

    Raises:
        EndpointError: a path cannot be one, or a function is not `async def`.
    """
    names = tuple(relations)
    return tuple(_endpoint(path, function, names) for path, function in pages)


def _endpoint(path: str, function: PageFunction, relations: tuple[str, ...]) -> Endpoint[Any]:
    if not path.startswith("/"):
        raise EndpointError(f"page {path!r}: expected a path that begins with /, as /alerts-today")
    if not inspect.iscoroutinefunction(function):
        raise EndpointError(f"page {path}: expected a function declared with async def")

    async def answered(call: Call[AnyParameters]) -> Body:
        request = PageRequest(call.endpoint.path, call.parameters.values, call)
        return _body(call.endpoint.path, await function(request))

    about = (inspect.getdoc(function) or "").partition("\n")[0]
    return Endpoint(
        path=f"{PREFIX}{path}",
        summary=about or f"The page {path} of the app.",
        handler=answered,
        parameters=AnyParameters,
        answer=PageAnswer(),
        relations=relations,
        errors=ROWS_ERRORS,
    )


def _texts(value: str | int | Sequence[str | int]) -> list[str]:
    """A value as a query string has it."""
    values = [value] if isinstance(value, str | int) else list(value)
    return [str(one) for one in values]


def _body(path: str, result: Any) -> Body:
    match result:
        case Page(content=content, content_type=content_type):
            pass
        case str():
            content, content_type = result, HTML
        case dict() | list() | msgspec.Struct():
            content, content_type = encode_json(result), Format.JSON.value
        case _:
            raise TypeError(
                f"page {path}: expected a dict, a list, a str or a k2.Page, found "
                f"{type(result).__name__}"
            )
    if isinstance(content, str) and "charset" not in content_type:
        content_type = f"{content_type}; charset=utf-8"
    return Body(content, {"Content-Type": content_type, "Content-Security-Policy": POLICY})
