"""An endpoint as data: path, parameters, handler, answer and errors.

The built-in endpoints (`k2_streams.web.endpoints`) and a user's own views are the same thing.
Access rules, limits, the correlation id, the time limit, error bodies, metrics and the OpenAPI
document apply to every endpoint and are never written by one.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec
import pyarrow as pa

from k2_streams.core.records.struct_tables import schema_of
from k2_streams.query.answer import Answer
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.relations import Relation
from k2_streams.query.request import RowsRequest
from k2_streams.query.subscription.subscription import Subscription
from k2_streams.web.declaration.parameters import ParameterSet
from k2_streams.web.declaration.shared_parameters import (
    MAX_LIMIT,
    FormatName,
    FormatParameter,
    FrameFormatName,
    FrameFormatParameter,
)
from k2_streams.web.http.errors import ErrorKind
from k2_streams.web.services import Services

Parameters = TypeVar("Parameters", bound=msgspec.Struct)
_PATH = re.compile(r"/(?:[a-z0-9_][a-z0-9_.-]*(?:/[a-z0-9_][a-z0-9_.-]*)*)?")
#: Paths below these are the product's.
RESERVED = ("/v1/", "/health/", "/page/")


class EndpointError(ValueError):
    """An endpoint that cannot be served; the text says what to change in its declaration."""


class NoParameters(msgspec.Struct, frozen=True):
    """Of an endpoint that takes no parameter."""


class AnyParameters(msgspec.Struct, frozen=True):
    """Of an endpoint that takes whatever the caller sends, and reads it itself."""

    values: dict[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class TableAnswer:
    """The endpoint answers with rows and their `meta`, in the format that the caller wants.

    Attributes:
        row: the name of a row in the OpenAPI document.
        columns: of a row: a schema, or a struct whose fields are the columns; None: each request
            says them.
        meta: describes the rows.
    """

    row: str
    columns: pa.Schema | type[msgspec.Struct] | None
    meta: type[msgspec.Struct]

    @property
    def schema(self) -> pa.Schema | None:
        """The columns of a row, where they are known."""
        if self.columns is None:
            return None
        return self.columns if isinstance(self.columns, pa.Schema) else schema_of(self.columns)


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """The endpoint answers with one JSON object: of a struct, or as a JSON schema has it."""

    schema: type[msgspec.Struct] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """The endpoint answers with text, as a page."""

    media_type: str = "text/html"


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """The endpoint answers with what its handler gives: a body with a content type of its own."""


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """The endpoint answers with frames for as long as its caller reads.

    Attributes:
        row: the name of a row in the OpenAPI document.
        columns: of a row.
        frames: what frames there are beside those of rows, by their names.
    """

    row: str
    columns: pa.Schema
    frames: Mapping[str, type[msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class Pinned:
    """An answer whose rows are the same for ever, so that a cache may keep it.

    Attributes:
        query: all that the rows depend on, as text.
        complete, gaps: of its proof, which may change.
        settled: that is not expected to change any more.
    """

    query: str
    complete: bool
    gaps: Any
    settled: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """What a handler returns whose answer is a table."""

    table: pa.Table
    meta: msgspec.Struct
    pinned: Pinned | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """An answer that is text, or JSON that is encoded already, with headers of its own."""

    content: str | bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Result = Rows | Body | Subscription | msgspec.Struct | dict[str, Any]


class UndeclaredRelationError(LookupError):
    """A handler reads a relation that its endpoint does not declare."""


@dataclass(frozen=True, eq=False)
class Endpoint(Generic[Parameters]):
    """A path and what it does. Register one, and it has the access rules of all others.

    Attributes:
        path: as `/bars`; a user's own is not below `/v1/` or `/health/`.
        summary: one sentence for the OpenAPI document and the reference.
        handler: answers on the event loop, where it must not block; the time limit of a request
            applies. A `QueryError` or `ApiError` becomes its error body, anything else is
            logged and becomes 500 `internal`.
        parameters: a struct whose fields are the query string's parameters.
        answer: what the handler returns.
        relations: whose rows the handler may read with `Call.rows`.
        relation: the one whose rows and proof it answers with; None: its rows are of its own.
        errors: those that not every endpoint has.
        without: fields of `parameters` that this endpoint does not offer.
        body: the parameter that a POST may send as its body; None: no request has a body.
        prefix: parameters that begin so are the caller's own: `Call.named`; None: there are none.
        is_public: needs no API key and has no rate limit; such an endpoint reads no relation.
        granted_as: what the relations of an API key must name for it, as it reads none of them;
            None: what it reads is checked where it is read.

    Raises:
        EndpointError: the path has another form, or a public endpoint reads a relation.
    """

    path: str
    summary: str
    handler: "Callable[[Call[Parameters]], Awaitable[Result]]"
    parameters: type[Parameters]
    answer: TableAnswer | JsonAnswer | TextAnswer | PageAnswer | StreamAnswer
    relations: tuple[str, ...] = ()
    relation: str | None = None
    errors: tuple[ErrorKind, ...] = ()
    without: frozenset[str] = frozenset()
    is_public: bool = False
    body: str | None = None
    prefix: str | None = None
    granted_as: str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without the worker."""
        if not _PATH.fullmatch(self.path):
            raise EndpointError(f"endpoint path {self.path!r}: expected lower case, as /bars/daily")
        if self.is_public and self.relations:
            raise EndpointError(
                f"endpoint {self.path} is public, so it cannot read {self.relations}"
            )

    @classmethod
    def of(
        cls,
        relation: Relation,
        handler: "Callable[[Call[Parameters]], Awaitable[Result]]",
        parameters: type[Parameters],
        *,
        errors: tuple[ErrorKind, ...] = (),
        without: frozenset[str] = frozenset(),
    ) -> "Endpoint[Parameters]":
        """The endpoint of a relation, whose rows and proof it answers with."""
        return cls(
            path=f"/v1/{relation.path_name}",
            summary=relation.summary,
            handler=handler,
            parameters=parameters,
            answer=TableAnswer(relation.row, relation.columns, relation.proof),
            relations=(relation.name,) if relation.is_log else (),
            relation=relation.name,
            errors=errors,
            without=without,
        )

    @cached_property
    def parameter_set(self) -> ParameterSet:
        """All parameters, those of its kind of answer included."""
        of_answer = [struct for kind, struct in _OF_ANSWER.items() if isinstance(self.answer, kind)]
        declared = [] if self.takes_any else [self.parameters]
        return ParameterSet([*declared, *of_answer], self.without)

    @property
    def takes_any(self) -> bool:
        """Whether it takes parameters that are not declared."""
        return issubclass(self.parameters, AnyParameters)

    def call(
        self,
        query: Mapping[str, Sequence[str]],
        site: "Site",
        reserve: Callable[[int], None] = lambda _rows: None,
    ) -> "Call[Parameters]":
        """A call with the parameters of a query string, each a list of texts.

        Raises:
            InvalidParameter: with the name of the first parameter that is wrong.
        """
        given = frozenset(query)
        if self.takes_any:
            texts = {name: tuple(values) for name, values in query.items()}
            return Call(self, self.parameters(values=texts), given, site, reserve)
        named: dict[str, str] = {}
        if self.prefix is not None:
            named = _named(query, self.prefix)
            query = {name: one for name, one in query.items() if not name.startswith(self.prefix)}
        values = self.parameter_set.read(query)
        fields = {one.encode_name: one.name for one in msgspec.structs.fields(self.parameters)}
        own = {fields[name]: value for name, value in values.items() if name in fields}
        return Call(self, self.parameters(**own), given, site, reserve, values.get("format"), named)


@dataclass(frozen=True, slots=True)
class Site:
    """What is served: the services, every endpoint, and the OpenAPI document of them all."""

    services: Services
    endpoints: tuple[Endpoint[Any], ...]
    document: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[Parameters]):
    """One request to an endpoint.

    Attributes:
        parameters: their values.
        given: the names of those that the caller sent.
        site: what is served.
        reserve: takes room in memory for so many rows until the answer is sent; raises 503 `busy`.
        format: of a table, if the caller named one.
        named: the caller's own parameters, by their names behind the endpoint's prefix.
        accept: the media types that the caller takes, as the request has them.
    """

    endpoint: Endpoint[Parameters]
    parameters: Parameters
    given: frozenset[str]
    site: Site
    reserve: Callable[[int], None]
    format: FormatName | FrameFormatName = None
    named: Mapping[str, str] = field(default_factory=dict)
    accept: str = ""

    @property
    def services(self) -> Services:
        """The web's connections to the process."""
        return self.site.services

    async def rows(self, relation: str, request: RowsRequest) -> Answer:
        """Rows of a relation that the endpoint declares, with their proof.

        Raises:
            UndeclaredRelationError: the endpoint does not declare it.
            ValueError: more rows are asked for than an answer may have.
            QueryError: the query got no answer.
            ApiError: 503, there is no room for so many rows.
        """
        if relation not in self.endpoint.relations:
            raise UndeclaredRelationError(
                f"endpoint {self.endpoint.path} reads relation {relation!r}: add it to its "
                f"relations, which are {self.endpoint.relations}"
            )
        if not 1 <= request.limit <= MAX_LIMIT:
            raise ValueError(f"expected a limit from 1 to {MAX_LIMIT}, found {request.limit}")
        self.reserve(request.limit)
        return await self.services.by_name[relation].query.rows(request)


#: What every endpoint takes whose answer is of this kind.
_OF_ANSWER: Mapping[type, type[msgspec.Struct]] = {
    TableAnswer: FormatParameter,
    StreamAnswer: FrameFormatParameter,
}


def _named(query: Mapping[str, Sequence[str]], prefix: str) -> dict[str, str]:
    """The caller's own parameters.

    Raises:
        InvalidParameter: one is given twice.
    """
    found = {}
    for name, texts in query.items():
        if name.startswith(prefix):
            if len(texts) > 1:
                raise InvalidParameter(name, f"expected once, found {len(texts)} times")
            found[name.removeprefix(prefix)] = texts[0]
    return found


def check_endpoints(
    built_in: Iterable[Endpoint[Any]], views: Iterable[Endpoint[Any]], relations: Iterable[str]
) -> None:
    """Refuse views that cannot be served.

    Raises:
        EndpointError: a path is reserved or used twice, or a relation is not served.
    """
    paths = {endpoint.path for endpoint in built_in}
    known = set(relations)
    for view in views:
        if view.path.startswith(RESERVED):
            raise EndpointError(
                f"view {view.path}: paths below {' and '.join(RESERVED)} are reserved"
            )
        if view.path in paths:
            raise EndpointError(f"view {view.path}: the path is served already, choose another")
        paths.add(view.path)
        for name in view.relations:
            if name not in known:
                raise EndpointError(
                    f"view {view.path} reads relation {name!r}, which this worker does not serve: "
                    f"expected one of {', '.join(sorted(known))}"
                )
